"""Makes the splits of one data set."""

from pathlib import Path
from typing import TYPE_CHECKING

from immature_ood import datasets, registry
from immature_ood.job import job

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    data = registry.parse("kinds", snakemake.params.data)
    config = registry.parse("datasets", snakemake.params.config, data.dataset)
    folder = Path(snakemake.output.manifest).parent
    needed = {
        "train": ("training.batch_size", snakemake.resources.train_images),
        "fit": ("features.fit_images", snakemake.resources.fit_images),
    }
    made_from = {key: value for key, value in snakemake.params.items() if key != "data_dir"}
    name, data_dir = snakemake.wildcards.dataset, Path(snakemake.params.data_dir)
    datasets.make(name, config, data, folder, data_dir, needed, snakemake.resources.together, made_from)
