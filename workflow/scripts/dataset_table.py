"""What the data sets are, and how their files store images."""

from typing import TYPE_CHECKING

from immature_ood.cues import dataset_table
from immature_ood.job import job
from immature_ood.storage import read_json
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    write_csv(dataset_table(map(read_json, snakemake.input)), snakemake.output[0])
