"""The claim in one figure: AUROC against epoch for every pair."""

import pandas as pd

from immature_ood import plots
from immature_ood.job import job

with job(snakemake.log):
    table = pd.read_csv(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    figure = plots.headline(table)
    plots.save(figure, snakemake.output.png)
    plots.save(figure, snakemake.output.pdf)
