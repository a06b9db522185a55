"""The training logs of all runs of one ID data set, and how mature each kept checkpoint is."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.job import job
from immature_ood.maturity import CHAIN, HeldOut, check_held_out, with_maturity
from immature_ood.sidecars import read_checkpoint
from immature_ood.storage import load_split, read_json, read_json_lines
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    units = read_json(snakemake.input.manifest)["splits"]["fit"]["units"]
    chains: dict[tuple[object, ...], dict[int, HeldOut]] = {}
    for sidecar, path in zip(snakemake.input.sidecars, snakemake.input.held_out, strict=True):
        checkpoint, bits = read_checkpoint(sidecar).checkpoint, load_split(path, check_held_out)
        run = tuple(getattr(checkpoint, key) for key in CHAIN)
        chains.setdefault(run, {})[checkpoint.epoch] = HeldOut.of(bits, units)
    tables = []
    for (run, held_out), log in zip(chains.items(), snakemake.input.logs, strict=True):
        table = with_maturity(pd.DataFrame(read_json_lines(log)), held_out, snakemake.params.confidence)
        for place, (key, value) in enumerate(zip(CHAIN, run, strict=True)):
            table.insert(place, key, value)
        tables.append(table)
    write_csv(pd.concat(tables, ignore_index=True), snakemake.output[0])
