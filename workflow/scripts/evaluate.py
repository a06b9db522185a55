"""AUROC, AUPR and FPR95 with intervals of all checkpoints of one ID data set."""

from typing import TYPE_CHECKING

from immature_ood.evaluation import auroc_table
from immature_ood.job import job
from immature_ood.maturity import chains_of
from immature_ood.scores import load_scores
from immature_ood.sidecars import read_checkpoints
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    scores = [load_scores(path) for path in snakemake.input.scores]
    chains = chains_of([read_table(snakemake.input.training)])
    write_csv(auroc_table(scores, read_checkpoints(snakemake.input.sidecars), chains, config), snakemake.output[0])
