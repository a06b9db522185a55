"""Means over all pairs of AUROC, and of AUROC(epoch) − AUROC(last epoch): for these data sets and for new ones."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.controls import solved_pairs
from immature_ood.job import job
from immature_ood.means import means_table
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    solved = solved_pairs(pd.concat(map(read_table, snakemake.input.auroc)), snakemake.params.controls)
    scores = map(load_scores, snakemake.input.scores)
    write_csv(means_table(scores, snakemake.params.names, config, solved), snakemake.output[0])
