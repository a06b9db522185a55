"""Makes the splits of one data set."""

from pathlib import Path

from immature_ood import datasets
from immature_ood.job import job
from immature_ood.study import DatasetConfig, ImageConfig

with job(snakemake.log):
    config = DatasetConfig.model_validate(snakemake.params.config)
    image = ImageConfig.model_validate(snakemake.params.image)
    folder = Path(snakemake.output.manifest).parent
    needed = {
        "train": ("training.batch_size", snakemake.resources.train_images),
        "fit": ("features.fit_images", snakemake.resources.fit_images),
    }
    datasets.make(
        snakemake.wildcards.dataset,
        config,
        image,
        folder,
        Path(snakemake.params.data_dir),
        needed,
        snakemake.resources.together,
    )
