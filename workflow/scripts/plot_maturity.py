"""AUROC against excess bits/dim, all detectors of one model."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    figure = plots.auroc_by_excess(table, snakemake.params.unit)
    plots.save(figure, *snakemake.output)
