"""Training images, and images drawn from the model at each kept epoch."""

from typing import TYPE_CHECKING

from immature_ood import plots, registry
from immature_ood.job import job
from immature_ood.storage import load_split

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    data = registry.parse("kinds", snakemake.params.data)
    drawn = {
        epoch: load_split(path, data.check)
        for epoch, path in zip(snakemake.params.epochs, snakemake.input.drawn, strict=True)
    }
    training = load_split(snakemake.input.training, data.check)
    plots.save(plots.samples(data, training, drawn, snakemake.wildcards.id), *snakemake.output)
