"""AUROC against epoch and against cost, for one ID data set and model."""

import pandas as pd

from immature_ood import plots
from immature_ood.job import job

with job(snakemake.log):
    table = pd.read_csv(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    for figure, kind in ((plots.auroc_by_epoch, "by_epoch"), (plots.auroc_by_cost, "by_cost")):
        drawn = figure(table, snakemake.wildcards.id)
        plots.save(drawn, snakemake.output[kind])
        plots.save(drawn, snakemake.output[f"{kind}_pdf"])
