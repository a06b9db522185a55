"""Fits every detector of the study on the ID fit set of one checkpoint."""

from immature_ood import registry
from immature_ood.detectors import fit_all, save_fitted
from immature_ood.features import load_features
from immature_ood.job import job

with job(snakemake.log) as say:
    checkpoint, features = load_features(snakemake.input[0])
    detectors = {
        name: registry.parse("detectors", section) for name, section in snakemake.params.detectors.items()
    }
    fitted = fit_all(detectors, features)
    for (name, batch_size), detector in fitted.items():
        say(f"{name} b={batch_size}: {len(detector.dead_layers)} dead layers {', '.join(detector.dead_layers)}")
    save_fitted(snakemake.output[0], checkpoint, detectors, fitted)
