"""AUROC by dial and amount, of all ID sets that have dials."""

from typing import TYPE_CHECKING

from immature_ood.dial_table import dial_table
from immature_ood.job import job
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    write_csv(dial_table(map(read_table, snakemake.input), snakemake.params.dials), snakemake.output[0])
