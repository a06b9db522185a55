"""The claim in one figure: AUROC against epoch for every pair."""

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    figure = plots.headline(table)
    plots.save(figure, snakemake.output.png)
    plots.save(figure, snakemake.output.pdf)
