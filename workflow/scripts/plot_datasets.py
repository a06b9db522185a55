"""Images of each data set."""

from functools import partial
from typing import TYPE_CHECKING

from immature_ood import plots, registry
from immature_ood.job import job
from immature_ood.storage import load_split

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    data = registry.parse("kinds", snakemake.params.data)
    stored = map(partial(load_split, check=data.check), snakemake.input)
    by_name = dict(zip(snakemake.params.datasets, stored, strict=True))
    plots.save(plots.dataset_samples(data, by_name), *snakemake.output)
