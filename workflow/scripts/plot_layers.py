"""Heat maps of AUROC by layer and epoch, for one ID data set and model."""

import pandas as pd

from immature_ood import plots
from immature_ood.job import job

with job(snakemake.log):
    table = pd.read_csv(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    for b, path in zip(snakemake.params.batch_sizes, snakemake.output, strict=True):
        plots.save(plots.layer_heat_map(table, snakemake.wildcards.id, b), path)
