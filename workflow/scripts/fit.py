"""Fits every detector that has scores at one place of the study on the ID fit set of the checkpoints that it reads."""

from dataclasses import replace
from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.config import POOLED, Place
from immature_ood.detectors import fit_all, save_fitted
from immature_ood.features import load_features
from immature_ood.job import job

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    features = dict(map(load_features, snakemake.input))
    at = {Place(one.model, one.seed, one.epoch, one.id_dataset): one for one in features}
    reads = {name: [at[Place(*place)] for place in places] for name, places in snakemake.params.reads.items()}
    detectors = {name: registry.parse("detectors", snakemake.params.detectors[name]) for name in reads}
    own, *_ = features
    pooled = snakemake.wildcards.seed == POOLED
    fitted = fit_all(replace(own, seed=POOLED) if pooled else own, detectors, features, reads)
    for (name, batch_size), detector in fitted.detectors.items():
        say(f"{name} b={batch_size}: {len(detector.dead_layers)} dead layers {', '.join(detector.dead_layers)}")
    save_fitted(snakemake.output[0], fitted)
