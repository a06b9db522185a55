"""One table of the training logs of all runs."""

import json
from pathlib import Path

import pandas as pd

from immature_ood.job import job
from immature_ood.tables import write_csv

with job(snakemake.log):
    tables = []
    for log, sidecar in zip(snakemake.input.logs, snakemake.input.sidecars, strict=True):
        run = json.loads(Path(sidecar).read_text())["checkpoint"]
        table = pd.read_json(log, lines=True)
        for place, key in enumerate(("id_dataset", "model", "seed")):
            table.insert(place, key, run[key])
        tables.append(table)
    write_csv(pd.concat(tables, ignore_index=True), snakemake.output[0])
