"""The claim as the paper means it: moments of training against the minimum of the held-out bits/dim, over all pairs."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.claim import claim_table
from immature_ood.controls import solved_pairs
from immature_ood.job import job
from immature_ood.maturity import chains_of
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params = snakemake.params
    config = EvaluationConfig.model_validate(params.evaluation)
    solved = solved_pairs(pd.concat(map(read_table, snakemake.input.auroc)), params.controls)
    chains = chains_of(map(read_table, snakemake.input.training))
    scores, immature = map(load_scores, snakemake.input.scores), read_table(snakemake.input.immature)
    table = claim_table(scores, immature, chains, config, params.names, solved, params.one_pass)
    write_csv(table, snakemake.output[0])
