"""Images of each data set."""

from immature_ood import plots
from immature_ood.job import job
from immature_ood.storage import load_split

with job(snakemake.log):
    images = dict(zip(snakemake.params.datasets, map(load_split, snakemake.input), strict=True))
    plots.save(plots.dataset_images(images), snakemake.output[0])
