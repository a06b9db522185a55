"""How many images each split of a folder of one's own pictures gets, where the study does not say."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from immature_ood.config import DatasetConfig
from immature_ood.datasets import SPLITS, folder
from immature_ood.study import FeatureConfig

__all__ = ["with_shares"]

FIFTHS = {"train": 3, "fit": 1, "test": 1}  # of a folder's pictures, and no more than the defaults


def with_shares(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with numbers of images for folders that say none.

    An in-distribution folder without train, fit and test gets shares of its pictures, and features.fit_images and
    test_images, if they are not said either, what these shares can give. A folder that is only ever out-of-distribution
    gets no training and fit images, and as many test images as there are, at most the default.
    """
    datasets = config.get("datasets")
    if not isinstance(datasets, Mapping):
        return dict(config)
    named = config.get("id_datasets")
    id_datasets = named if isinstance(named, list) and named else [*datasets]
    sizes = {
        name: _sizes(options, name in id_datasets)
        for name, options in datasets.items()
        if isinstance(options, Mapping) and options.get("source") == "folder"
    }
    filled = {name: {**sizes[name], **options} if name in sizes else options for name, options in datasets.items()}
    return {**config, "datasets": filled, **_features(config, [*sizes.values()])}


def _sizes(options: Mapping[str, Any], in_distribution: bool) -> dict[str, int]:
    """Images for those splits of a folder of which it does not say how many."""
    there = len(folder.look(Path(str(options.get("path")))).pictures)
    most = {split: int(DatasetConfig.model_fields[split].default) for split in SPLITS}
    if not there or (in_distribution and not most.keys().isdisjoint(options)):
        return {}
    if in_distribution:
        return {split: max(1, min(most[split], there * FIFTHS[split] // 5)) for split in SPLITS}
    given = {"train": 0, "fit": 0, "test": min(most["test"], there)}
    return {split: size for split, size in given.items() if split not in options}


def _features(config: Mapping[str, Any], sizes: list[dict[str, int]]) -> dict[str, Any]:
    """The section `features` with caps that the shares can fill with groups, where it has none."""
    try:
        given = config.get("features") or {}
        together = math.lcm(*FeatureConfig.model_validate(given).batch_sizes)
    except ValidationError:  # which the study will say
        return {}
    caps = {}
    for split in ("fit", "test"):
        least = min((each[split] for each in sizes if each.get(split)), default=math.inf)
        if least < FeatureConfig.model_fields[f"{split}_images"].default:
            caps[f"{split}_images"] = max(int(least) // together, 1) * together
    return {"features": {**caps, **given}} if caps else {}
