"""Checks the tables of the pocket study: complete, sane, and saying what any honest run of it says.

Usage: check_table.py results/pocket/tables
"""

import sys
from pathlib import Path

import pandas as pd

DATASETS, EPOCHS, BATCH_SIZES = {"digits", "photos", "glyphs"}, [0, 1, 2, 4, 8, 16], {1, 5}
PAPER = {"gradient_norms", "likelihood", "typicality"}
DETECTORS = PAPER | {"gradient_norms_knn", "combined", "image_statistics"}
VERDICTS = {"better", "equivalent", "worse", "undecided", "saturated"}
METRICS = ("auroc", "aupr", "fpr95")


def main(folder: Path) -> None:
    """Ends with the first check that fails."""
    table = pd.read_csv(folder / "auroc.csv")
    keys = ["id_dataset", "ood_dataset", "epoch", "batch_size", "detector"]
    assert not table.duplicated(keys).any(), "a row stands twice"
    assert len(table) == len(DATASETS) ** 2 * len(EPOCHS) * len(BATCH_SIZES) * len(DETECTORS), len(table)
    assert [{*table[key]} for key in keys] == [DATASETS, DATASETS, {*EPOCHS}, BATCH_SIZES, DETECTORS]
    for metric in METRICS:
        low, value, high = (table[f"{metric}{end}"] for end in ("_low", "", "_high"))
        assert value.between(0, 1).all(), metric
        known = low.notna()  # there is no interval where too few units are independent
        assert (known == high.notna()).all(), metric
        assert ((low <= value) & (value <= high))[known].all(), metric
    pairs = table[table["id_dataset"] != table["ood_dataset"]]
    calibration = table[table["id_dataset"] == table["ood_dataset"]]
    # What the numbers must say, with room for another machine's rounding.
    for dataset, rows in pairs.groupby("id_dataset"):
        bits = rows.groupby("epoch")["bits_per_dim"].first()
        assert bits[16] < bits[4] < bits[0], f"training on {dataset} did not fit: {bits.to_dict()}"
    photos = pairs[(pairs["ood_dataset"] == "photos") & (pairs["detector"] == "gradient_norms")]
    assert photos["auroc"].min() > 0.9, "photographs are told from digits and glyphs at every epoch"
    few_parameters = calibration["detector"].isin(PAPER)  # the others know each group that they were fitted on
    assert calibration["auroc"][few_parameters].between(0.35, 0.65).all(), "ID test images look like ID fit images"
    trained = table[(table["detector"] == "gradient_norms") & (table["epoch"] > 0)]
    assert (trained["dead_layers"] == 1).all(), "only the weight of the top prior is dead after training"
    claim = pd.read_csv(folder / "immature.csv")
    verdicts = claim["verdict"]
    assert {*verdicts, *claim["corrected"]} <= VERDICTS
    for training, rows in claim.groupby(["id_dataset", "seed"]):
        (reference,) = {*rows["reference_epoch"]}
        assert reference in (8, 16), f"{training}: the lowest held-out bits/dim are at epoch {reference}"
    moments = pd.read_csv(folder / "claim.csv")
    assert {"untrained", "one pass"} <= {*moments["moment"]}
    counted = moments[[*VERDICTS, "same"]].sum(axis=1)
    assert (counted == moments["pairs"] * moments["seeds"]).all(), "each pair and seed has one verdict"
    print(f"{folder}: {len(table)} rows, {len(verdicts)} verdicts, as they should be")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
