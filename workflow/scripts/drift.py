"""Streams in which ID images change step by step: false alarms, detections, and when to refit."""

from typing import TYPE_CHECKING

from immature_ood.drift import drift_table
from immature_ood.job import job
from immature_ood.scores import load_scores
from immature_ood.study import DriftConfig
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    drifts = {name: DriftConfig.model_validate(section) for name, section in snakemake.params.drift.items()}
    scores = zip(map(load_scores, snakemake.input.scores), map(load_scores, snakemake.input.calibration), strict=True)
    write_csv(drift_table(scores, drifts), snakemake.output[0])
