"""AUROC against epoch and against cost, for one ID data set and model."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    output, id_dataset = snakemake.output, snakemake.wildcards.id
    plots.save(plots.auroc_by_epoch(table, id_dataset), output.by_epoch, output.by_epoch_pdf)
    by_cost = plots.auroc_by_cost(table, id_dataset, snakemake.params.samples)
    plots.save(by_cost, output.by_cost, output.by_cost_pdf)
