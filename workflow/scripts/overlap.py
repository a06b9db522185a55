"""The overlap of ID and OOD log-likelihoods, and its rank correlation with AUROC."""

from typing import TYPE_CHECKING

from immature_ood.job import job
from immature_ood.overlap import correlation_table, overlap_table
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    overlap = overlap_table(map(load_scores, snakemake.input.scores), snakemake.params.dimensions)
    write_csv(overlap, snakemake.output.overlap)
    table = correlation_table(overlap, read_table(snakemake.input.auroc), config, snakemake.params.names)
    write_csv(table, snakemake.output.correlation)
