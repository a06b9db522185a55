"""What choosing an epoch by ID data alone costs: each rule against the best epoch and against one epoch for all."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.controls import solved_pairs
from immature_ood.epoch_choice import epoch_choice_summary, epoch_choice_table
from immature_ood.job import job
from immature_ood.scores import load_scores
from immature_ood.storage import write_bytes
from immature_ood.study import EvaluationConfig
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params = snakemake.params
    config = EvaluationConfig.model_validate(params.evaluation)
    solved = solved_pairs(pd.concat(map(read_table, snakemake.input.auroc)), params.controls)
    chosen = pd.concat(map(read_table, snakemake.input.choices), ignore_index=True)
    table = epoch_choice_table(map(load_scores, snakemake.input.scores), chosen, params.names, config, solved)
    write_csv(table, snakemake.output.csv)
    summary = epoch_choice_summary(table, params.rule_controls, config.confidence)
    write_bytes(snakemake.output.text, f"{summary}\n".encode())
