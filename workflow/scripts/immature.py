"""The claim: AUROC of every epoch against that of the lowest held-out bits/dim, with paired intervals and verdicts."""

from typing import TYPE_CHECKING

from immature_ood.evaluation import immature_table
from immature_ood.job import job
from immature_ood.maturity import chains_of
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    chains = chains_of(map(read_table, snakemake.input.training))
    write_csv(immature_table(map(load_scores, snakemake.input.scores), chains, config), snakemake.output[0])
