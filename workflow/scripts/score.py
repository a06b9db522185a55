"""Scores every test set of one checkpoint with the fitted detectors."""

from immature_ood.job import job
from immature_ood.scores import save_scores, score_all

with job(snakemake.log):
    scores = score_all(snakemake.input.fitted, [*snakemake.input.fit, *snakemake.input.test])
    save_scores(snakemake.output[0], scores)
