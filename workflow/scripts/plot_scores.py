"""Histograms of the scores, ID against OOD, epoch by epoch, for each detector and batch size."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.scores import load_scores

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    scores = list(map(load_scores, snakemake.input))
    id_dataset = snakemake.wildcards.id
    for (detector, b), *paths in zip(snakemake.params.panels, snakemake.output.png, snakemake.output.pdf, strict=True):
        by_epoch = {
            one.checkpoint.epoch: (
                one.of(detector, b, id_dataset),
                {ood: one.of(detector, b, ood) for ood in one.ood_datasets},
            )
            for one in scores
            if (detector, b) in one.dead_layers
        }
        plots.save(plots.score_histograms(by_epoch, id_dataset, detector, b, snakemake.params.drop_minimum), *paths)
