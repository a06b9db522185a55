"""Changes fit images of one data set by every dial that epoch rules ask for: they stand in for OOD images."""

import hashlib
from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.dials import turn
from immature_ood.evidence import stand_in_places
from immature_ood.job import job
from immature_ood.storage import load_split, read_json, write_array, write_json

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params, fit = snakemake.params, read_json(snakemake.input.manifest)["splits"]["fit"]
    images = load_split(snakemake.input.fit, registry.parse("kinds", params.data).check)[: params.fit_images]
    units = fit["units"][: params.fit_images]
    places = stand_in_places(units, params.batch_sizes, params.images)
    changed = [turn(images[places], *change) for change in params.changes]
    for each, path in zip(changed, snakemake.output.images, strict=True):
        write_array(path, each)
    described = {
        "name": snakemake.wildcards.dataset,
        "places": places.tolist(),
        "units": [units[place] for place in places],
        "sha256": [hashlib.sha256(each.tobytes()).hexdigest() for each in changed],
        "made_from": dict(params.items()) | {"pixels": {f"{snakemake.wildcards.dataset}/fit": fit["sha256"]}},
    }
    write_json(snakemake.output.manifest, described)
