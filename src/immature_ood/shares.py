"""How many images each split of a user's own images gets, where the study does not say."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from immature_ood import registry
from immature_ood.config import DatasetConfig
from immature_ood.datasets import SPLITS
from immature_ood.study import FeatureConfig

__all__ = ["with_shares"]

PARTS = {"train": 3, "fit": 1, "test": 1}  # of the images that there are, and no more than the defaults


def with_shares(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with numbers of images for data sets that say none, of sources that can tell how many there are.

    An in-distribution set without train, fit and test gets shares of its images, and features.fit_images and
    test_images, if they are not said either, what these shares can give. A set that is only ever out-of-distribution
    gets no training and fit images, and as many test images as there are, at most the default.
    """
    datasets = config.get("datasets")
    if not isinstance(datasets, Mapping):
        return dict(config)
    named = config.get("id_datasets")
    id_datasets = named if isinstance(named, list) and named else [*datasets]
    sizes = {
        name: _sizes(section, options, name in id_datasets)
        for name, options in datasets.items()
        if isinstance(options, Mapping) and (section := _section(name, options)) and _known(section)
    }
    filled = {name: {**sizes[name], **options} if name in sizes else options for name, options in datasets.items()}
    return {**config, "datasets": filled, **_features(config, [*sizes.values()])}


def _section(name: Any, options: Mapping[str, Any]) -> DatasetConfig | None:
    """The section of a data set; None if it is at fault, which the study will say, or its images are drawn."""
    source = options.get("source", name)
    if not isinstance(source, str) or options.get("samples_of"):
        return None
    try:
        section: DatasetConfig = registry.parse("datasets", {**options, "source": source})
    except (registry.PluginError, ValidationError):
        return None
    return section


def _known(section: DatasetConfig) -> bool:
    """Whether its source tells how many images there are."""
    available = section.available()
    return bool(available) and None not in available.values()


def _sizes(section: DatasetConfig, options: Mapping[str, Any], in_distribution: bool) -> dict[str, int]:
    """Images for those splits of which the options do not say how many."""
    if in_distribution:
        return {} if any(split in options for split in SPLITS) else _shares(section, SPLITS)
    given = {"train": 0, "fit": 0, **_shares(section, ("test",))}
    return {split: size for split, size in given.items() if split not in options}


def _shares(section: DatasetConfig, splits: Sequence[str]) -> dict[str, int]:
    """What these splits get of the sets that they are dealt from."""
    available = section.available()
    shares = {}
    for each, dealt in section.dealt().items():
        among = [split for split in dealt if split in splits]
        for split in among:
            share = (available[each] or 0) * PARTS[split] // sum(PARTS[other] for other in among)
            shares[split] = max(1, min(share, int(DatasetConfig.model_fields[split].default)))
    return shares


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
