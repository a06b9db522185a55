"""The study's figures, one visual language, drawn from tables and small arrays alone. Needs no torch."""

from immature_ood.plots.auroc import auroc_by_cost, auroc_by_epoch
from immature_ood.plots.costs import auroc_by_total_cost
from immature_ood.plots.dials import dial_heat_map
from immature_ood.plots.drift import drift
from immature_ood.plots.epoch_choice import regret_by_rule
from immature_ood.plots.false_alarms import false_alarms
from immature_ood.plots.headline import headline
from immature_ood.plots.histograms import score_histograms
from immature_ood.plots.layers import layer_heat_map
from immature_ood.plots.maturity import auroc_by_excess, models_by_excess
from immature_ood.plots.overlap import overlap_and_auroc
from immature_ood.plots.saving import save
from immature_ood.plots.strips import dataset_samples, samples
from immature_ood.plots.training import bits_per_dim_by_epoch

__all__ = [
    "auroc_by_cost",
    "auroc_by_epoch",
    "auroc_by_excess",
    "auroc_by_total_cost",
    "bits_per_dim_by_epoch",
    "dataset_samples",
    "dial_heat_map",
    "drift",
    "false_alarms",
    "headline",
    "layer_heat_map",
    "models_by_excess",
    "overlap_and_auroc",
    "regret_by_rule",
    "samples",
    "save",
    "score_histograms",
]
