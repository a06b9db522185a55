"""What may tell data sets apart that is not in the pictures: how they were stored, and whether they were resampled."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from immature_ood.datasets import SPLITS

__all__ = ["cues", "dataset_table"]

CUES = {
    "lossy": ("some or all images stored with loss (JPEG)", "stored without loss"),
    "resized": ("some or all images resampled to the size of the study", "not resampled"),
}


def dataset_table(manifests: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a data set, from its manifest: what it is, how many images it has, how they are stored.

    dropped: images left out because they are in a later split, too. formats: "<format> <images>, …" of the source's
    files. resized: whether any image was resampled. jpeg_quality: of the JPEG that images were put through, if any.
    """
    return pd.DataFrame([_row(manifest) for manifest in manifests])


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    splits = manifest["splits"]
    return {
        "name": manifest["name"],
        "source": manifest["source"],
        **{split: splits[split]["count"] for split in SPLITS},
        "dropped": sum(splits[split]["dropped"] for split in SPLITS),
        "formats": ", ".join(f"{stored} {count}" for stored, count in sorted(manifest["formats"].items())),
        **{key: manifest[key] for key in ("lossy", "resized", "inverted", "jpeg_quality", "fit_from", "seed")},
    }


def cues(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """A warning for each property without a content that some data sets have and others have not.

    >>> cues({"name": name, "lossy": name == "faces", "resized": True} for name in ("faces", "digits"))
    ['faces: some or all images stored with loss (JPEG); digits: stored without loss. This alone may tell them apart.']
    """
    known = list(manifests)
    lines = []
    for key, (so, otherwise) in CUES.items():
        have, lack = ([each["name"] for each in known if each[key] == value] for value in (True, False))
        if have and lack:
            lines.append(f"{', '.join(have)}: {so}; {', '.join(lack)}: {otherwise}. This alone may tell them apart.")
    return lines
