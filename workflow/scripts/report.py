"""The report: the study's claim, tables, figures and samples as one page."""

from pathlib import Path
from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.job import job
from immature_ood.report import Images, Results, Settings, Tables, page
from immature_ood.scores import load_scores
from immature_ood.storage import load_split, read_json, write_bytes
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake


with job(snakemake.log):
    given, params = snakemake.input, snakemake.params
    data = registry.parse("kinds", params.data)
    tables = {name: read_table(given[name]) for name in params.tables}
    overlap = dict(zip(("overlap", "correlation"), map(read_table, given.overlap), strict=False))
    layers = dict(zip(params.layers, map(read_table, given.layers), strict=True))
    scored = params.features
    test = {
        name: Images(
            load_split(images, data.check)[:scored],
            read_json(manifest)["splits"]["test"]["units"][:scored],
        )
        for name, images, manifest in zip(params.datasets, given.images, given.manifests, strict=True)
    }
    test |= {drawn: test[original] for drawn, original in params.originals.items()}
    results = Results(
        Settings(**params.settings, data=data),
        Tables(**tables, **overlap, layers=layers),
        [*map(load_scores, given.scores)],
        test,
        {Path(path).relative_to(params.settings["folder"]).as_posix(): Path(path) for path in given.figures},
        read_json(given.provenance),
    )
    write_bytes(snakemake.output[0], page(results).encode())
