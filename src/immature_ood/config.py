"""What a section of a study is made of: the types of its values, and the sections that plug-ins build on.

A plug-in's `Config` is a subclass of DatasetConfig, ModelConfig, DetectorConfig or RuleConfig, or of KindOfData (see
kinds); its fields, each with a default and a sentence below it, are the plug-in's options in a study. Needs no torch
and no numpy.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

__all__ = [
    "OF_FLOWS",
    "POOLED",
    "SAMPLES",
    "AugmentationConfig",
    "Change",
    "ChangedConfig",
    "Config",
    "DatasetConfig",
    "DetectorConfig",
    "Kept",
    "Label",
    "ModelConfig",
    "Name",
    "NonNegative",
    "Place",
    "Positive",
    "Real",
    "RuleConfig",
    "SamplesConfig",
    "Whole",
    "whole",
]

POOLED = "all"  # in the place of a seed: of all of them together
SAMPLES = "samples"  # the source of a data set whose training images are drawn from a model

MOST = 2**31 - 1  # no count, seed or epoch is larger
LARGEST = 1e9  # nor any other number
NAME = "[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?"  # the letters of a name: paths and file names are made of them
LONGEST = 64  # and how many
OF_FLOWS = ("latents", "log_prior", "log_singular_values")  # what derived.DERIVED has for them
LABELS = {"all", "mean"}  # words that stand for every set, or for none, in tables and in the report


def _name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError("a name has letters, digits, _, . and -, begins with a letter or digit and does not end in .")
    if len(name) > LONGEST:
        raise ValueError(f"a name has at most {LONGEST} letters")
    if name.lower() in LABELS:
        raise ValueError(f"a name is not {' or '.join(sorted(LABELS))}, which mean something else in tables")
    return name


def whole(value: Any) -> Any:
    """Numbers inside lists and sections, which Snakemake's --config gives as strings; anything else as it is."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,18}", value) else value


def _real(value: Any) -> Any:
    """Snakemake gives these as strings too; and YAML reads 1e-3 as one."""
    number = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
    return float(value) if isinstance(value, str) and re.fullmatch(number, value, re.ASCII) else value


def _not_huge(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"a number is at most {LARGEST:g}")
    return value


Label = tuple[str, ...]  # of an image: the names of the classes that it is of, the narrowest first


def _as_text(value: Any) -> Any:
    """Numbers are names too, of classes: 3 is "3"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[
    str, BeforeValidator(_as_text), Field(min_length=1), WithJsonSchema({"type": ["string", "integer"]})
]
Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$", "maxLength": LONGEST})
]
Whole = Annotated[int, BeforeValidator(whole), Field(le=MOST)]
Positive = Annotated[Whole, Field(gt=0)]
NonNegative = Annotated[Whole, Field(ge=0)]
Real = Annotated[float, BeforeValidator(_real), Field(allow_inf_nan=False), AfterValidator(_not_huge)]


class Config(BaseModel):
    """Unknown keys are errors; numbers are not read from other words; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any, info: ValidationInfo) -> Any:
        """Snakemake's --config gives true, false and null inside sections as strings."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)}
        meaning: dict[str, bool | None] = {"true": True, "false": False} if bool in kinds else {}
        meaning |= {"null": None} if NoneType in kinds else {}
        return meaning.get(value, value) if isinstance(value, str) else value


class AugmentationConfig(Config):
    """Random changes of the training samples; those that are scored are never changed. Kinds of data add their own."""

    frozen: bool = False
    """The change of a sample is drawn once for all epochs, as the released code has it for ImageNet32."""

    @property
    def changes(self) -> bool:
        """Whether any sample may be changed."""
        return False


class SamplesConfig(Config):
    """Where a data set's training images are drawn: a kept checkpoint of this study."""

    dataset: str
    """The model was trained on this data set, whose fit and test images are those of the samples too."""
    model: str = "glow"
    """This model of the study is drawn from."""
    seed: NonNegative = 0
    """This is the seed of the model, one of the study's seeds."""
    epoch: NonNegative
    """The images are drawn after this epoch, one of the study's epochs."""
    temperature: Annotated[Real, Field(gt=0)] = 1.0
    """The standard deviation of every latent is multiplied by this."""


class DatasetConfig(Config):
    """One data set: where it comes from and how many images each split gets.

    Where images that are in two splits are left out, the splits are smaller by so many.
    """

    source: str = ""
    """Images are read by this file of datasets/, or by one of your own at this path; by default that of its name."""
    train: NonNegative = 3000
    """A model is trained on so many images, if the set is in-distribution."""
    fit: NonNegative = 1000
    """So many images are held out to fit the detectors on."""
    test: Positive = 1000
    """So many images can be scored."""
    fit_from: Literal["test", "train"] = "test"
    """Fit images come from this official set, if the source has one."""
    seed: NonNegative = 0
    """This seeds the permutation of the images before they are dealt into splits."""
    augmentation: SerializeAsAny[AugmentationConfig] = AugmentationConfig()
    """Training images are changed at random."""
    unit: str | None = None
    """Images that share this, such as a "block" or a "letter", belong together; by default as the source says."""
    classes: Annotated[list[ClassName], Field(min_length=1)] | None = None
    """Only images of these classes are taken, by name or number; by default those of all."""
    without: list[ClassName] = []
    """Images of these classes are left out, by name or number."""
    near: Name | None = None
    """Sets with the same word here are near one another, such as some classes of a source and others of it."""
    samples_of: SamplesConfig | None = None
    """Training images are drawn from a model of this study, instead of read."""
    stands_for: Name | None = None
    """The set takes the random numbers of the set of this name, and its place in comparisons; by default its own."""

    def faults(self) -> Iterator[str]:
        """What is wrong with the section that its values alone do not tell, each beginning with one of its keys."""
        return iter(())

    @property
    def chooses_classes(self) -> bool:
        """Whether images of some classes alone are taken."""
        return self.classes is not None or bool(self.without)

    def takes(self, label: Label) -> bool:
        """Whether images of a label are taken.

        >>> animals = DatasetConfig(classes=["animals"], without=["frog"])
        >>> [animals.takes(label) for label in (("cat", "animals"), ("frog", "animals"), ("ship", "vehicles"))]
        [True, False, False]
        """
        chosen = self.classes is None or not {*self.classes}.isdisjoint(label)
        return chosen and {*self.without}.isdisjoint(label)

    def labels(self) -> Collection[Label]:
        """The labels of the images that there are, where the section tells; by default what the source's file says."""
        return ()

    def contents(self) -> str | None:
        """A hash of what of a user's own the images are made from, None if there is none; another makes them anew."""
        return None

    def available(self) -> Mapping[str, int | None]:
        """How many images there are, of "all" or of the official "train" and "test" sets; None: only the job will know.

        Empty for a source that does not say it of a section: images are asked for as the section has it.
        """
        return {}

    def dealt(self) -> dict[str, list[str]]:
        """By each set of `available`, the splits whose images come from it."""
        places = {"train": "train", "fit": self.fit_from, "test": "test"}
        return {each: [split for split in places if each in ("all", places[split])] for each in self.available()}

    def shortages(self, what: str) -> Iterator[str]:
        """A fault for each set of which more images are asked for than there are. what: such as "pictures in mine"."""
        available = self.available()
        for each, splits in self.dealt().items():
            asked, there = [int(getattr(self, split)) for split in splits], available[each]
            if there is not None and there < sum(asked):
                sizes, named = " + ".join(f"{size:,}" for size in asked), what if each == "all" else f"{each} {what}"
                yield (
                    f"{', '.join(splits)}: {sizes} images asked for, but there are {there:,} {named}; lower them, or "
                    "leave all three out for shares"
                )

    def parts_of(self) -> Mapping[str, "DatasetConfig"]:
        """The sets that its images are made from, by the keys of the section that lead to them; mostly none."""
        return {}

    def with_parts(self, key: str = "") -> Iterator[tuple[str, "DatasetConfig"]]:
        """Itself by a key, then what it is made from, by longer ones."""
        yield key, self
        for part, config in self.parts_of().items():
            yield from config.with_parts(f"{key}.{part}")

    def remarks(self, data_dir: Path) -> Iterator[str]:
        """What a person should know before the images are had, such as where from, a licence, a size; a line each."""
        return iter(())


class ChangedConfig(DatasetConfig):
    """A data set of the images of another one, changed; a plug-in's Config adds how.

    It has as many images as the other set, dealt alike.
    """

    ALIKE: ClassVar[tuple[str, ...]] = ("train", "fit", "test", "fit_from", "seed")
    """The keys that both have, which a study fills in, too."""

    of: str
    """Images are those of this data set of the study."""
    section: dict[str, Any] = {}
    """The section of that data set stands here, which a study fills in, whatever is given."""


class ModelConfig(Config):
    """A density model; a plug-in's Config adds its options."""

    architecture: str
    """It is made by this file of models/, or at this path to one of your own; by default that of its name, or glow."""
    mutation_rate: Annotated[Real, Field(ge=0, le=1)] = 0.0
    """In training this share of all numbers is replaced by any, as for a background model (Ren et al. 2019)."""

    training: dict[str, Any] = {}
    """The model is trained by these options of the section training in place of the study's."""

    def objectives(self) -> Mapping[str, tuple[str, ...]]:
        """What can be differentiated of the model, and the statistics that each gives, as DensityModel.objectives."""
        return {"log_prob": ("log_prob",)}

    def scored_by(self) -> tuple[str, ...]:
        """The objectives whose gradients are taken where a study names none; by default the first of them."""
        return (next(iter(self.objectives())),)

    def statistics(self) -> frozenset[str]:
        """All that can be had of a sample, of whatever objective or by passes of their own."""
        return frozenset(self.derived()).union(*self.objectives().values())

    def derived(self) -> tuple[str, ...]:
        """The statistics that can be had of the model by passes of their own, of derived.DERIVED; mostly none."""
        return ()

    @classmethod
    def examples(cls) -> Iterator[tuple[Self, tuple[int, ...]]]:
        """Small models and the shapes of their samples, with which tests try what every model promises."""
        return iter(())

    def faults(self, shape: tuple[int, ...]) -> Iterator[str]:
        """Why there is no such model of samples of a shape, each beginning with one of the section's keys.

        An option called `vocabulary` is compared with the data's tokens by the study itself.
        """
        return iter(())


class Place(NamedTuple):
    """Where in a study weights stand; POOLED stands for all seeds together. id: the data set they are trained on."""

    model: str
    seed: int | str
    epoch: int
    id: str = ""


@dataclass(frozen=True)
class Kept:
    """The names of a study's models, its seeds, its kept epochs, and its ID data sets with images of their own."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: tuple[int, ...]
    id_datasets: tuple[str, ...] = ()


class DetectorConfig(Config):
    """A detector; a plug-in's Config adds its options."""

    pools_seeds: ClassVar[bool] = False
    """Whether it reads all seeds together; its rows then have the seed "all"."""
    control: ClassVar[bool] = False
    """Whether it reads no trained model, so that a pair which it solves says nothing of models."""

    detector: str
    """It is fitted by this file of detectors/, or at this path to one of your own; by default that of its name."""

    def reads(self, own: Place, kept: Kept) -> Sequence[Place]:
        """The places whose features it is given for the row of its own; by default that one.

        A detector may read earlier epochs, all seeds (with `pools_seeds`), another model, or one that was trained on
        another ID data set, as it sees the images of the row's; none: it has no row there.
        """
        return [own._replace(seed=seed) for seed in (kept.seeds if self.pools_seeds else [own.seed])]

    def faults(self, kept: Kept) -> Iterator[str]:
        """What is wrong with the section in a study of these, each beginning with one of its keys."""
        return iter(())

    def reads_weights(self) -> bool:
        """Whether, of log_norms, it reads those of weights; a study in which none does extracts all others alone.

        A detector that is made of others reads what they read.
        """
        parts = self.parts_of().values()
        return any(part.reads_weights() for part in parts) if parts else "log_norms" in self.needs()

    def parts_of(self) -> Mapping[str, "DetectorConfig"]:
        """The detectors that it is made of, by the keys of the section that lead to them, "parts.mine"; mostly none."""
        return {}

    def with_parts(self, key: str = "") -> Iterator[tuple[str, "DetectorConfig"]]:
        """Itself by a key, then its parts, their parts and so on by longer ones."""
        yield key, self
        for part, config in self.parts_of().items():
            yield from config.with_parts(f"{key}.{part}")

    def needs(self) -> tuple[str, ...]:
        """The statistics of features (see Features) that the detector reads; a model that gives them not is refused."""
        return ("log_norms",)


class Change(NamedTuple):
    """What is done to held-out ID images that stand in for OOD ones: a dial (see dials) is turned by an amount."""

    dial: str
    amount: float

    @property
    def name(self) -> str:
        """As files are called.

        >>> Change("blur", 0.25).name
        'blur=0.25'
        """
        return f"{self.dial}={self.amount:g}"


class RuleConfig(Config):
    """A rule that chooses a kept epoch by ID data alone; a plug-in's Config adds its options."""

    ahead: ClassVar[int | None] = None
    """How many kept epochs past the chosen one it must have seen to choose it; by default all."""
    control: ClassVar[bool] = False
    """Whether it looks at nothing of a training, so that it is what other rules must be better than."""

    rule: str
    """It is chosen by this file of epoch_rules/, or at this path to one of your own; by default that of its name."""

    def needs(self) -> tuple[str, ...]:
        """What of the evidence (see epoch_rules.Evidence) the rule reads; bits/dim and their noise are always there."""
        return ()

    def changes(self) -> Sequence[Change]:
        """What is done to the fit images that stand in for OOD ones, where it needs "changed"."""
        return ()

    def faults(self, kept: Kept) -> Iterator[str]:
        """What is wrong with the section in a study of these, each beginning with one of its keys."""
        return iter(())
