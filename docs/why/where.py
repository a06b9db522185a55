"""Where the signal lives: AUROC of single layers' log norms, by block, depth and kind of parameter, over epochs.

    python docs/why/where.py results/paper-small-rgb/tables/layers_*.csv > docs/why/where-rgb.csv

prints a row a b, block, step, kind and epoch: layers, their number (of one ID set); auroc, the mean over pairs, seeds
and layers of the AUROC of a layer's own Gaussian; best, the share of pairs whose best layer is among these.
"""

import re
import sys
from collections.abc import Sequence

import pandas as pd

LAYER = re.compile(r"blocks\.(?P<block>\d+)\.(?:steps\.(?P<step>\d+)\.(?P<of_step>.+)|(?P<of_block>.+))")
PAIR = ["id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size"]


def place(layer: str) -> tuple[str, str, str]:
    """(block, step, kind) of a layer of the Glow.

    >>> place("blocks.1.steps.0.coupling.first.actnorm.bias"), place("blocks.0.split.weight"), place("top.logs")
    (('1', '0', 'coupling first'), ('0', '', 'split'), ('', '', 'top'))
    """
    found = LAYER.fullmatch(layer)
    if found is None:
        return "", "", layer.split(".")[0]
    words = (found["of_step"] or found["of_block"]).split(".")
    return found["block"], found["step"] or "", " ".join(words[: 2 if words[0] == "coupling" else 1])


def main(paths: Sequence[str]) -> None:
    """Prints the table."""
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    places = pd.DataFrame([place(layer) for layer in table["layer"]], columns=["block", "step", "kind"])
    table = pd.concat([table, places], axis=1)
    table["best"] = table["auroc"] == table.groupby(PAIR)["auroc"].transform("max")
    by = ["batch_size", "block", "step", "kind", "epoch"]
    of_place = table.groupby(by)
    found = pd.DataFrame({"layers": of_place["layer"].nunique(), "auroc": of_place["auroc"].mean()})
    best = table[table["best"]].drop_duplicates(PAIR).groupby(by).size()
    pairs = table.drop_duplicates(PAIR).groupby(["batch_size", "epoch"]).size()
    found["best"] = (best / pairs).reindex(found.index).fillna(0)
    found.reset_index().to_csv(sys.stdout, index=False, float_format="%.3f")


if __name__ == "__main__":
    main(sys.argv[1:])
