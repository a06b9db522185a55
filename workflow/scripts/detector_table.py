"""All detectors side by side: how well each does over the pairs, against the paper's score, and what it costs."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.controls import solved_pairs
from immature_ood.costs import read_feature_costs, read_score_costs
from immature_ood.detector_table import Asked, Spent, detector_table
from immature_ood.job import job
from immature_ood.scores import load_scores
from immature_ood.sidecars import read_checkpoints
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params = snakemake.params
    asked = Asked(
        EvaluationConfig.model_validate(params.evaluation),
        params.reference,
        params.controls,
        solved_pairs(pd.concat(map(read_table, snakemake.input.auroc)), params.controls),
        params.names,
    )
    spent = Spent(
        read_checkpoints(snakemake.input.sidecars),
        read_feature_costs(snakemake.input.features),
        [*map(read_score_costs, snakemake.input.costs)],
    )
    write_csv(detector_table(map(load_scores, snakemake.input.scores), asked, spent), snakemake.output[0])
