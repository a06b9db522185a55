"""Any of torchvision's image data sets, by the name of its class, through torchvision's own reader and download.

`{source: torchvision, dataset: EMNIST, options: {split: letters}}`: the options are those of the class
(docs.pytorch.org/vision/stable/datasets.html). A class with an option `train` has an official training and an official
test set, one with `split` those called "train" and "test"; where they are called otherwise the study says so:
`{dataset: ImageNet, test_options: {split: val}}`. Where the options for both come to the same, train, fit and test
images are dealt from one pool. Files lie in data_dir/torchvision, as torchvision lays them out. A study is planned
without importing torchvision: its classes are read as text. The classes of images are known to the job alone.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from immature_ood.config import Label
from immature_ood.config_file import StudyError
from immature_ood.datasets import Images, deal, deal_official
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageDatasetConfig
from immature_ood.registry import did_you_mean

__all__ = ["CLASSES", "ENVIRONMENT", "EXAMPLE", "PACKAGES", "Class", "Config", "classes", "load"]

PACKAGES = ("torchvision", "torch", "pillow")
CLASSES: tuple[Label, ...] = ()  # the job will know
ENVIRONMENT = "torch"
EXAMPLE = {"dataset": "FakeData", "options": {"size": 150, "image_size": [3, 32, 32]}}
OURS = {"root", "download", "loader", "transform", "target_transform", "transforms"}  # arguments that no study gives
NO_SETS = {"VisionDataset", "DatasetFolder", "ImageFolder"}  # what classes are made of, and folders: see folder.py
PARTS = {"train": {"train": True, "split": "train"}, "test": {"train": False, "split": "test"}}


@dataclass(frozen=True)
class Class:
    """What torchvision's text says of a data set.

    arguments: by name, whether it must be given. page: its address, as in the docstring.
    """

    arguments: Mapping[str, bool]
    page: str

    @property
    def options(self) -> list[str]:
        """The arguments that a study may give."""
        return [name for name in self.arguments if name not in OURS and not name.startswith("_")]


@cache
def classes() -> dict[str, Class]:
    """The data sets of the torchvision that is here, by name; none if there is none. Nothing is imported."""
    found = find_spec("torchvision")
    if not found or not found.origin:
        return {}
    folder = Path(found.origin).parent / "datasets"
    known: dict[str, Class] = {}
    for node in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (file := folder / f"{node.module}.py").is_file():
            text = ast.parse(file.read_text(encoding="utf-8"))
            inside = {each.name: each for each in text.body if isinstance(each, ast.ClassDef)}
            known |= {name.name: _described(name.name, inside) for name in node.names if name.name in inside}
    return {name: each for name, each in sorted(known.items()) if name not in NO_SETS}


def _described(name: str, inside: Mapping[str, ast.ClassDef]) -> Class:
    text = ast.get_docstring(inside[name]) or ""
    return Class(_arguments(name, inside), text.partition("<")[2].partition(">")[0])


def _arguments(name: str, inside: Mapping[str, ast.ClassDef]) -> dict[str, bool]:
    """The arguments of a class's __init__, and whether each must be given; **kwargs are those of the class below it."""
    functions = [each for each in inside[name].body if isinstance(each, ast.FunctionDef)]
    given = next((each.args for each in functions if each.name == "__init__"), None)
    found: dict[str, bool] = {}
    if given is None or given.kwarg:
        bases = [base.id for base in inside[name].bases if isinstance(base, ast.Name) and base.id in inside]
        found = {argument: needed for base in bases for argument, needed in _arguments(base, inside).items()}
    if given:
        last = len(given.args) - len(given.defaults)
        found |= {each.arg: place < last for place, each in enumerate(given.args) if place}
        found |= {each.arg: default is None for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)}
    return found


def _typed(value: Any) -> Any:
    """Snakemake's --config gives numbers and words inside sections as strings.

    >>> _typed({"split": "letters", "size": "60", "train": "true", "image_size": ["3", "8", "8"]})
    {'split': 'letters', 'size': 60, 'train': True, 'image_size': [3, 8, 8]}
    """
    if isinstance(value, Mapping):
        return {key: _typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if not isinstance(value, str):
        return value
    return int(value) if value.isdecimal() else {"true": True, "false": False, "null": None}.get(value, value)


Options = Annotated[dict[str, Any], BeforeValidator(_typed)]


class Config(ImageDatasetConfig):
    """A data set of torchvision."""

    source: str = "torchvision"
    dataset: str
    """The name of a class of torchvision.datasets."""
    options: Options = Field(default={})
    """Of the class, for training and test images."""
    train_options: Options = Field(default={})
    """As options, for the official training set alone."""
    test_options: Options = Field(default={})
    """As options, for the official test set alone."""

    def faults(self) -> Iterator[str]:
        """Unknown names, if torchvision is here to be read."""
        known = classes()
        if known and self.dataset not in known:
            yield f"dataset: torchvision {version('torchvision')} has no {self.dataset!r}{self._nearest(known)}"
        elif known:
            yield from self._bad_options(known[self.dataset])

    def _nearest(self, known: Mapping[str, Class]) -> str:
        by_case = {name.lower(): name for name in known}
        close = by_case.get(self.dataset.lower())
        return f"; did you mean {close!r}?" if close else did_you_mean(self.dataset, [*known])

    def _bad_options(self, known: Class) -> Iterator[str]:
        for key in ("options", "train_options", "test_options"):
            for name in getattr(self, key):
                if name not in known.options:
                    hint = did_you_mean(name, known.options) if known.options else "; it has none"
                    yield f"{key}.{name}: {self.dataset} has no such option{hint}"
        for name in known.options:
            if known.arguments[name] and any(name not in self.arguments(part) for part in PARTS):
                yield f"options.{name}: is missing; {self.dataset} needs it"

    def available(self) -> dict[str, int | None]:
        """Whether there are official sets: how many images they have is known when they are here."""
        if not classes():
            return {}
        return dict.fromkeys(PARTS if self.arguments("train") != self.arguments("test") else ["all"])

    def arguments(self, part: str) -> dict[str, Any]:
        """What the class is called with for the official "train" or "test" set, beside where and whether to download.

        Raises StudyError for a class that torchvision has not.
        """
        for known in filter(None, [classes().get(self.dataset)]):
            default = next((name for name in PARTS[part] if name in known.options), None)
            chosen = {default: PARTS[part][default]} if default else {}
            return chosen | self.options | getattr(self, f"{part}_options")
        return {}

    def remarks(self, data_dir: Path) -> Iterator[str]:
        """Where its files come from and go."""
        if known := classes().get(self.dataset):
            place, page = data_dir / "torchvision", known.page or "torchvision's documentation"
            if "download" in known.arguments:
                yield f"torchvision downloads {self.dataset} to {place} if it is not there (size not known)"
            elif "root" in known.arguments:
                yield f"torchvision reads {self.dataset} in {place}, and has no download of it: put it there by hand"
            yield f"terms of use of {self.dataset}: torchvision does not tell; see {page}"


def load(config: Config, image: ImageConfig, data_dir: Path) -> dict[str, Images]:
    """Origins are "<class>/<train or test>#<number>", or "<class>#<number>" without official sets.

    Raises StudyError for a name or option that torchvision has not, StorageError if images cannot be had or read.
    """
    if not classes():
        raise StudyError(
            "source: torchvision is not installed where this job runs: pip install torchvision, of the release that "
            "goes with the torch that is there; or give Snakemake --use-conda"
        )
    for fault in config.faults():
        raise StudyError(fault)
    from immature_ood.datasets._torchvision import open_pool

    root = data_dir / "torchvision"
    if "all" in config.available():
        return deal(open_pool(config, config.arguments("train"), "", root, image), config)
    return deal_official(lambda part: open_pool(config, config.arguments(part), f"/{part}", root, image), image, config)
