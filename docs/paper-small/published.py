"""The authors' table beside ours: is the order of the pairs the same, and what moves with training?

    python docs/paper-small/published.py results/paper-small-rgb > docs/paper-small/published-rgb.csv

prints a row an epoch of ours, b and published epoch, of the paper's score (gradient_norms): pairs; ours and published,
the mean AUROC over pairs; rank_correlation (Spearman's) of the two over pairs, with lowest and highest where one of the
data sets is left out (which is no confidence interval); below_half_both, _ours, _published: pairs below 0.5 in both, in
ours alone, in theirs alone. To the standard error: the published and our means with their sets' epoch nearest in images
seen, since an epoch of ours has at most 7,000 images. tiny_imagenet stands beside imagenet32, which it is not.
"""

import sys
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

PAIR = ["id_dataset", "ood_dataset", "batch_size"]
TRAINING_IMAGES = {
    "svhn": 73257,
    "celeba": 162770,
    "gtsrb": 39209,
    "cifar10": 50000,
    "tiny_imagenet": 128116,
}  # the authors' ImageNet32: one of its ten files, it seems
SETS = [*TRAINING_IMAGES]


def both(results: Path) -> pd.DataFrame:
    """Ours beside theirs: a row a pair, b, epoch of ours and epoch of theirs."""
    ours = pd.read_csv(results / "tables/auroc.csv")
    ours = ours[(ours["detector"] == "gradient_norms") & (ours["id_dataset"] != ours["ood_dataset"])]
    ours = ours.groupby([*PAIR, "epoch"], as_index=False)["auroc"].mean()  # over seeds
    theirs = pd.read_csv("reference/author_auroc_rgb.csv").replace("imagenet32", "tiny_imagenet")
    return ours.merge(theirs, on=PAIR, suffixes=("_ours", "_published"))


def row(pairs: pd.DataFrame) -> dict[str, float]:
    """What is printed of the pairs of one pair of epochs."""
    ours, theirs = pairs["auroc_ours"], pairs["auroc_published"]
    without = [pairs[(pairs["id_dataset"] != each) & (pairs["ood_dataset"] != each)] for each in SETS]
    correlations = [_correlation(each) for each in without]
    return {
        **{"pairs": len(pairs), "ours": ours.mean(), "published": theirs.mean()},
        **{"rank_correlation": _correlation(pairs), "lowest": min(correlations), "highest": max(correlations)},
        "below_half_both": ((ours < 0.5) & (theirs < 0.5)).sum(),
        "below_half_ours": ((ours < 0.5) & (theirs >= 0.5)).sum(),
        "below_half_published": ((ours >= 0.5) & (theirs < 0.5)).sum(),
    }


def _correlation(pairs: pd.DataFrame) -> float:
    return spearmanr(pairs["auroc_ours"], pairs["auroc_published"]).statistic


def by_images_seen(table: pd.DataFrame, images: int = 7000) -> pd.DataFrame:
    """Of each pair that epoch of ours whose images seen are nearest to the published epoch's."""
    seen = table["epoch_published"] * table["id_dataset"].map(TRAINING_IMAGES) / images
    distance = (table["epoch_ours"].clip(lower=0.1) / seen).map(lambda ratio: max(ratio, 1 / ratio))
    nearest = distance.groupby([table[key] for key in (*PAIR, "epoch_published")]).transform("min") == distance
    return table[nearest]


if __name__ == "__main__":
    table = both(Path(sys.argv[1]))
    keys = ["batch_size", "epoch_ours", "epoch_published"]
    rows = [dict(zip(keys, key, strict=True)) | row(pairs) for key, pairs in table.groupby(keys)]
    pd.DataFrame(rows).to_csv(sys.stdout, index=False, float_format="%.3f")
    for key, pairs in by_images_seen(table).groupby(["batch_size", "epoch_published"]):
        print(
            "by images seen", dict(zip(["b", "published epoch"], map(int, key), strict=True)), end=" ", file=sys.stderr
        )
        print({name: round(float(value), 3) for name, value in row(pairs).items()}, file=sys.stderr)
