"""Scores every test set of one checkpoint with the fitted detectors."""

from typing import TYPE_CHECKING

from immature_ood.job import job
from immature_ood.scores import save_scores, score_all

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    scores = score_all(snakemake.input.fitted, [*snakemake.input.fit, *snakemake.input.test])
    save_scores(snakemake.output[0], scores)
