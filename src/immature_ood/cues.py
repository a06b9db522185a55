"""What one must know of data sets beside their pictures: how they were stored, what was left out, what they share."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, combinations_with_replacement
from typing import Any

import pandas as pd

from immature_ood.datasets import SPLITS

__all__ = ["cues", "dataset_table", "left_out"]

WORDS = {"train": "training", "fit": "fit", "test": "test"}
COLUMNS = ("lossy", "resized", "inverted", "jpeg_quality", "fit_from", "seed")  # some are of images alone
CUES = {
    "lossy": ("some or all images stored with loss (JPEG)", "stored without loss"),
    "resized": ("some or all images resampled to the size of the study", "not resampled"),
}


def dataset_table(manifests: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a data set, from its manifest: what it is, how many images it has, how they are stored.

    dropped: images left out because they are in a later split, too. repeated: images that repeat another of their
    split, which stay. left_out: "<reason> <number>, …" of what else the source has. unit: the kind of what belongs
    together, test_units: how many of it the test images are of. formats: "<format> <images>, …" of the source's files.
    resized: whether any image was resampled. jpeg_quality: of the JPEG that images were put through, if any.
    """
    return pd.DataFrame([_row(manifest) for manifest in manifests])


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    splits = manifest["splits"]
    return {
        "name": manifest["name"],
        "source": manifest["source"],
        **{split: splits[split]["count"] for split in SPLITS},
        **{key: sum(splits[split][key] for split in SPLITS) for key in ("dropped", "repeated")},
        "left_out": _counted(manifest["left_out"]),
        "unit": manifest["unit"],
        "test_units": len({*splits["test"]["units"]}),
        "formats": _counted(manifest["formats"]),
        **{key: manifest[key] for key in COLUMNS if key in manifest},
    }


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(numbers.items()))


def left_out(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each data set of which something was left out, by reason, or which repeats images within a split."""
    lines = []
    for manifest in manifests:
        splits = manifest["splits"].values()
        dropped = sum(split["dropped"] for split in splits)
        repeated = sum(split["repeated"] for split in splits)
        reasons = _counted({**manifest["left_out"], **({"images of a later split": dropped} if dropped else {})})
        said = [f"left out: {reasons}"] if reasons else []
        if repeated:
            said.append(f"{repeated} images repeat another of their split, and count as one unit with it")
        if said:
            lines.append(f"{manifest['name']}: {'; '.join(said)}.")
    return lines


def _shared(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """A line for each two splits of two data sets that have the same images, to the pixel, the later split's first."""
    for later, earlier in combinations_with_replacement(reversed(SPLITS), 2):
        for first, second in ((one, other), (other, one))[: 1 if later == earlier else 2]:
            here, there = first["splits"][later]["hashes"], {*second["splits"][earlier]["hashes"]}
            if common := sum(digest in there for digest in here):
                yield (
                    f"{common:,} of {first['name']}'s {len(here):,} {WORDS[later]} images are also in "
                    f"{second['name']}'s {WORDS[earlier]} images."
                )


def cues(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Warnings: each property without a content that some data sets have and others have not, and images in two sets.

    >>> splits = {split: {"hashes": []} for split in SPLITS}
    >>> sets = [{"name": name, "lossy": name == "faces", "resized": True} for name in ("faces", "digits")]
    >>> cues({**each, "formats": {}, "splits": splits} for each in sets)
    ['faces: some or all images stored with loss (JPEG); digits: stored without loss. This alone may tell them apart.']
    """
    known = list(manifests)
    lines = []
    for key, (so, otherwise) in CUES.items():
        have, lack = ([each["name"] for each in known if each.get(key) == value] for value in (True, False))
        if have and lack:
            lines.append(f"{', '.join(have)}: {so}; {', '.join(lack)}: {otherwise}. This alone may tell them apart.")
    for manifest in known:
        if dark := sum(count for stored, count in manifest["formats"].items() if stored.endswith("of 16 bits)")):
            lines.append(
                f"{manifest['name']}: {dark:,} pictures use 12 of their 16 bits at most, and are nearly black."
            )
    return [*lines, *(line for one, other in combinations(known, 2) for line in _shared(one, other))]
