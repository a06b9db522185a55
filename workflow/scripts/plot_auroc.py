"""AUROC against epoch and against cost, for one ID data set and model."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    for figure, kind in ((plots.auroc_by_epoch, "by_epoch"), (plots.auroc_by_cost, "by_cost")):
        drawn = figure(table, snakemake.wildcards.id)
        plots.save(drawn, snakemake.output[kind])
        plots.save(drawn, snakemake.output[f"{kind}_pdf"])
