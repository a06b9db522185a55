"""One table of the training logs of all runs."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.job import job
from immature_ood.sidecars import read_checkpoint
from immature_ood.storage import read_json_lines
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    tables = []
    for log, sidecar in zip(snakemake.input.logs, snakemake.input.sidecars, strict=True):
        run = read_checkpoint(sidecar).checkpoint
        table = pd.DataFrame(read_json_lines(log))
        for place, key in enumerate(("id_dataset", "model", "seed")):
            table.insert(place, key, getattr(run, key))
        tables.append(table)
    write_csv(pd.concat(tables, ignore_index=True), snakemake.output[0])
