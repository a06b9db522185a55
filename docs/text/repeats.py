"""Does a language model prefer text that repeats itself? Of the checkpoints of studies/text.yaml, from their results.

    python docs/text/repeats.py results/text english > docs/text/repeats.csv

A row an epoch: bits a byte of the ID test windows, of these shuffled, and of these with their first 16 bytes repeated;
how often −log p of a changed window is above that of an ID one (AUROC); and the rank correlation of −log p and of the
length after zlib, over the ID windows.
"""

import csv
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from immature_ood.checkpoints import load_model
from immature_ood.kinds.tokens.changes import repeated, shuffled
from immature_ood.metrics import auroc

PERIOD = 16


def main(results: Path, id_dataset: str, windows: int = 200) -> None:
    """Writes the table to the standard output."""
    text = np.load(results / f"data/{id_dataset}/test.npy")[:windows]
    sets = {"id": text, "shuffled": shuffled(text), "repeated": repeated(text, PERIOD)}
    lengths = [len(zlib.compress(window.tobytes(), 9)) for window in text]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["epoch", *sets, "auroc_shuffled", "auroc_repeated", "rank_correlation"])
    checkpoints = (results / f"checkpoints/{id_dataset}").glob("*/seed=0/epoch=*/weights.safetensors")
    for path in sorted(checkpoints, key=_epoch):
        model, _ = load_model(path)
        nats = {name: -model.log_prob(torch.from_numpy(each).long()).detach().numpy() for name, each in sets.items()}
        bits = [nats[name].mean() / text.shape[1] / np.log(2) for name in sets]
        aurocs = [auroc(nats["id"], nats[name]) for name in ("shuffled", "repeated")]
        correlation = spearmanr(nats["id"], lengths).statistic
        table.writerow([_epoch(path), *(f"{number:.3f}" for number in (*bits, *aurocs, correlation))])


def _epoch(path: Path) -> int:
    return int(path.parent.name.removeprefix("epoch="))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
