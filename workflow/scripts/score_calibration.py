"""Scores the calibration images of one checkpoint with the fitted detectors."""

from typing import TYPE_CHECKING

from immature_ood.calibration import score_calibration
from immature_ood.job import job
from immature_ood.scores import save_scores

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    save_scores(snakemake.output[0], score_calibration(snakemake.input.fitted, snakemake.input.features))
