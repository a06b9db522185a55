"""Training images, and images drawn from the model at each kept epoch."""

from immature_ood import plots
from immature_ood.job import job
from immature_ood.storage import load_split

with job(snakemake.log):
    drawn = {
        epoch: load_split(path) for epoch, path in zip(snakemake.params.epochs, snakemake.input.drawn, strict=True)
    }
    plots.save(plots.samples(load_split(snakemake.input.training), drawn, snakemake.wildcards.id), snakemake.output[0])
