"""Means over all pairs of AUROC, and of AUROC(epoch) − AUROC(last epoch): for these data sets and for new ones."""

from typing import TYPE_CHECKING

from immature_ood.job import job
from immature_ood.means import means_table
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    write_csv(means_table(map(load_scores, snakemake.input), snakemake.params.names, config), snakemake.output[0])
