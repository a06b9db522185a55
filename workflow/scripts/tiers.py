"""What detectors add to the best control, on pairs that a control solves, near pairs, and the others."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.controls import solved_pairs
from immature_ood.job import job
from immature_ood.maturity import chains_of
from immature_ood.scores import load_scores
from immature_ood.storage import write_bytes
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv
from immature_ood.tiers import Asked, tiers_summary, tiers_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params = snakemake.params
    asked = Asked(
        config=EvaluationConfig.model_validate(params.evaluation),
        controls=params.controls,
        solved=solved_pairs(pd.concat(map(read_table, snakemake.input.auroc)), params.controls),
        near=[(own, other) for own, other in params.near],
        names=params.names,
        one_pass=params.one_pass,
    )
    chains = chains_of(map(read_table, snakemake.input.training))
    table = tiers_table(map(load_scores, snakemake.input.scores), chains, asked)
    write_csv(table, snakemake.output.csv)
    write_bytes(snakemake.output.text, (tiers_summary(table, always=True) + "\n").encode())
