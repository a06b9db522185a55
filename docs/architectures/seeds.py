"""After one pass against the lowest held-out bits/dim, seed by seed: the table of this page.

    python docs/architectures/seeds.py docs/architectures/claim.csv docs/architectures/claim-seed-*.csv

prints, for each detector and model, the mean difference over pairs of each seed's claim.csv, and their mean with the
95 % interval for other seeds (Student's t over the seeds, whose models are independent; the pairs are held fixed).
"""

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

MODELS = {"glow": "Glow", "realnvp": "Real NVP", "vae": "VAE", "diffusion": "diffusion", "pixelcnn": "PixelCNN"}
DETECTORS = {
    "gradient_norms": "gradient norms, the paper's",
    "gradient_norms_mahalanobis": "— Mahalanobis",
    "gradient_norms_knn": "— nearest neighbours",
    "likelihood": "likelihood",
    "typicality": "typicality",
    "likelihood_regret": "likelihood regret",
    "denoising_error": "denoising error",
    "diffusion_path": "path",
}


def signed(value: float) -> str:
    """A difference as this page writes it.

    >>> signed(-0.0741)
    '−.074'
    """
    return f"{value:+.3f}".replace("-", "−").replace("0.", ".", 1)


def cell(differences: np.ndarray) -> str:
    """The (seeds,) differences of one detector and model, and their mean with its interval."""
    if np.isnan(differences).any():
        return ""
    reach = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    low, mean, high = (signed(differences.mean() + side * reach) for side in (-1, 0, 1))
    return f"{' '.join(map(signed, differences))}: **{mean}** [{low}, {high}]"


def rows(tables: list[pd.DataFrame]) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield f"| detector | b | {' | '.join(MODELS.values())} |"
    yield f"|---|---|{'---|' * len(MODELS)}"
    chosen = [each[(each["moment"] == "one pass") & (each["over"] == "all")] for each in tables]
    keyed = [each.set_index(["detector", "batch_size", "model"])["difference"] for each in chosen]
    for detector, name in DETECTORS.items():
        for b in (1, 5):
            found = (np.array([each.get((detector, b, model), np.nan) for each in keyed]) for model in MODELS)
            yield f"| {name} | {b} | {' | '.join(map(cell, found))} |"


if __name__ == "__main__":
    print(*rows([pd.read_csv(path) for path in sys.argv[1:]]), sep="\n")
