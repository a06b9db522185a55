"""Scores every test set of one checkpoint with the fitted detectors, and says what that cost."""

from typing import TYPE_CHECKING

from immature_ood.costs import ScoreCosts, Stopwatch, write_score_costs
from immature_ood.detectors import load_fitted
from immature_ood.job import job
from immature_ood.scores import save_scores, score_all

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    watch = Stopwatch()
    scores = score_all(snakemake.input.fitted, [*snakemake.input.fit, *snakemake.input.test], watch)
    save_scores(snakemake.output.scores, scores)
    reads = load_fitted(snakemake.input.fitted).reads
    write_score_costs(snakemake.output.costs, ScoreCosts(scores.checkpoint, watch.seconds, reads))
