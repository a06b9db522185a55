"""AUROC of every single layer, for all checkpoints of one ID data set."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.detectors import load_fitted
from immature_ood.evaluation import layer_auroc_table
from immature_ood.features import Features, load_features
from immature_ood.job import job
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    tests: dict[CheckpointId, list[Features]] = {}
    for path in snakemake.input.test:
        checkpoint, features = load_features(path)
        tests.setdefault(checkpoint, []).extend(features.values())
    fitted = {one.checkpoint: one for one in map(load_fitted, snakemake.input.fitted)}
    rows = [layer_auroc_table(checkpoint, fitted[checkpoint], tests[checkpoint]) for checkpoint in fitted]
    write_csv(pd.concat(rows, ignore_index=True), snakemake.output[0])
