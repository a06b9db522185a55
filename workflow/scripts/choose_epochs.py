"""The epoch that each rule chooses for one training, by ID data alone."""

from typing import TYPE_CHECKING

from immature_ood import registry
from immature_ood.evidence import Training, choices
from immature_ood.features import Features, load_features
from immature_ood.job import job
from immature_ood.tables import read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params, (own, model, seed) = snakemake.params, (snakemake.wildcards[key] for key in ("id", "model", "seed"))
    log = read_table(snakemake.input.training)
    log = log[(log["model"] == model) & (log["seed"] == int(seed))]
    changed: dict[int, dict[str, dict[int, Features]]] = {}
    for checkpoint, features in map(load_features, snakemake.input.changed):
        changed.setdefault(checkpoint.epoch, {})[next(iter(features.values())).split] = features
    fit = {checkpoint.epoch: features for checkpoint, features in map(load_features, snakemake.input.fit)}
    rules = {name: registry.parse("epoch_rules", section) for name, section in params.rules.items()}
    detectors = {name: registry.parse("detectors", section) for name, section in params.detectors.items()}
    table = choices(Training(log, fit, changed), rules, detectors, params.reads)
    for place, (column, value) in enumerate((("id_dataset", own), ("model", model), ("seed", seed))):
        table.insert(place, column, value)
    write_csv(table, snakemake.output[0])
