"""What all results of the study follow from."""

from typing import TYPE_CHECKING

from immature_ood.job import job
from immature_ood.provenance import describe
from immature_ood.storage import write_json

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    given = snakemake.input
    described = describe(snakemake.params.study, snakemake.params.sources, given.manifests, given.sidecars)
    write_json(snakemake.output[0], described)
