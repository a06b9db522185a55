"""Lists the jobs of training and of features for immature_ood.run."""

from typing import TYPE_CHECKING

from immature_ood.job import job
from immature_ood.storage import write_json

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    write_json(snakemake.output[0], {"jobs": snakemake.params.jobs})
