"""False alarms in streams that drift, for each b of one model."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    for b, *paths in zip(snakemake.params.batch_sizes, snakemake.output.png, snakemake.output.pdf, strict=True):
        plots.save(plots.drift(table, b), *paths)
