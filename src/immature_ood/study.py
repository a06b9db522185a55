"""What a study is: a typed config and the single source of every default. Needs neither torch nor numpy.

`python -m immature_ood.study config.yaml` prints the name of a study, or what is wrong with it.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from immature_ood import registry
from immature_ood.config_file import StudyError, read_config

__all__ = [
    "MODEL",
    "SAMPLES",
    "AugmentationConfig",
    "DatasetConfig",
    "EvaluationConfig",
    "FeatureConfig",
    "GlowConfig",
    "ImageConfig",
    "ModelConfig",
    "SamplesConfig",
    "Study",
    "StudyError",
    "TiedFlowConfig",
    "TrainingConfig",
    "retired",
]

RETIRED = {  # keys of older configs: where they went, or None where nothing follows from them any more
    ("training", "samples"): "samples",
    ("evaluation", "resamples"): None,
    ("evaluation", "seed"): None,
}
SAMPLES = "samples"  # the source of a data set whose training images are drawn from a model

MOST = 2**31 - 1  # no count, seed or epoch is larger
LARGEST = 1e9  # nor any other number
LONGEST = 64  # letters of a name: paths and file names are made of them
LABELS = {"all", "mean"}  # words that stand for every set, or for none, in tables and in the report


def _name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?", name):
        raise ValueError("a name has letters, digits, _, . and -, begins with a letter or digit and does not end in .")
    if len(name) > LONGEST:
        raise ValueError(f"a name has at most {LONGEST} letters")
    if name.lower() in LABELS:
        raise ValueError(f"a name is not {' or '.join(sorted(LABELS))}, which mean something else in tables")
    return name


def _whole(value: Any) -> Any:
    """Snakemake's --config gives the numbers inside lists and sections as strings."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,18}", value) else value


def _real(value: Any) -> Any:
    """So does it these; and YAML reads 1e-3 as a string."""
    number = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
    return float(value) if isinstance(value, str) and re.fullmatch(number, value, re.ASCII) else value


def _not_huge(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"a number is at most {LARGEST:g}")
    return value


Name = Annotated[str, AfterValidator(_name)]
Whole = Annotated[int, BeforeValidator(_whole), Field(le=MOST)]
Positive = Annotated[Whole, Field(gt=0)]
NonNegative = Annotated[Whole, Field(ge=0)]
Real = Annotated[float, BeforeValidator(_real), Field(allow_inf_nan=False), AfterValidator(_not_huge)]


class Config(BaseModel):
    """Unknown keys are errors; numbers are not read from other words; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _from_command_line(cls, value: Any, info: ValidationInfo) -> Any:
        """Snakemake's --config gives true, false and null inside sections as strings."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        kinds = {annotation, *get_args(annotation)}
        meaning: dict[str, bool | None] = {"true": True, "false": False} if bool in kinds else {}
        meaning |= {"null": None} if NoneType in kinds else {}
        return meaning.get(value, value) if isinstance(value, str) else value


class ImageConfig(Config):
    """The one shape all data sets of a study share, uint8."""

    channels: Annotated[Literal[1, 3], BeforeValidator(_whole)] = 1
    side: Positive = 28
    resize: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"  # of all sets that are resized, antialiased

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.side, self.side


class AugmentationConfig(Config):
    """Random changes of the training images, fresh at every step; images that are scored are never changed."""

    translation: Annotated[Real, Field(ge=0, lt=1)] = 0.0  # the furthest shift, as a share of the side; zeros come in
    flip: bool = False  # left and right change places, every second time
    frozen: bool = False  # drawn once for each image instead, as the released code has it for ImageNet32


class SamplesConfig(Config):
    """Where a data set's training images are drawn: a kept checkpoint of this study."""

    dataset: str  # the model was trained on it; its fit and test images are this data set's too
    model: str = "glow"
    seed: NonNegative = 0
    epoch: NonNegative
    temperature: Annotated[Real, Field(gt=0)] = 1.0  # multiplies the deviation of every latent


class DatasetConfig(Config):
    """One data set: where it comes from and how many images each split gets.

    Where images that are in two splits are left out, the splits are smaller by so many.
    """

    source: str = ""  # a file of datasets/; by default the name of the data set itself
    path: str | None = None  # of the source "folder": the folder of images
    train: NonNegative = 3000  # images a model is trained on, if this set is in-distribution
    fit: NonNegative = 1000  # held-out images the detectors are fitted on
    test: Positive = 1000  # images that are scored
    fit_from: Literal["test", "train"] = "test"  # where fit images come from, if the source has an official test set
    seed: NonNegative = 0  # of the permutation before splitting
    inverted: bool = False  # dark becomes bright: 255 minus each pixel
    jpeg_quality: Annotated[Whole, Field(ge=1, le=100)] | None = None  # images are stored as JPEG and read again
    augmentation: AugmentationConfig = AugmentationConfig()
    unit: str | None = None  # what belongs together, such as "block" or "letter"; by default as the source says
    samples_of: SamplesConfig | None = None  # the training images are drawn from a model
    stands_for: Name | None = None  # the set whose random numbers and place in comparisons it takes


class GlowConfig(Config):
    """Glow (Kingma & Dhariwal 2018)."""

    architecture: Literal["glow"] = "glow"
    blocks: Positive = 2  # L
    steps: Positive = 4  # K, flow steps a block
    hidden_channels: Positive = 64  # of the coupling networks


class TiedFlowConfig(Config):
    """The grey model of the code released with arXiv 2502.00820: one MLP coupling, used by every step."""

    architecture: Literal["tied_flow"] = "tied_flow"
    steps: Positive = 10
    hidden_layers: Positive = 10  # between the first and the last of each of the two networks
    hidden_features: Positive = 1000
    unit_range: bool = False  # the flow begins with pixels / 255, as in the released code, not with pixels / 256


def _architecture(config: Any) -> str:
    return str(config.get("architecture", "glow") if isinstance(config, Mapping) else "glow")


ModelConfig = GlowConfig | TiedFlowConfig
AnyModel = Annotated[
    Annotated[GlowConfig, Tag("glow")] | Annotated[TiedFlowConfig, Tag("tied_flow")], Discriminator(_architecture)
]
_ARCHITECTURES = {str(config.model_fields["architecture"].default): config for config in get_args(ModelConfig)}
MODEL: TypeAdapter[ModelConfig] = TypeAdapter(AnyModel)  # MODEL.validate_python(mapping) is the config of a model


class TrainingConfig(Config):
    """Maximum likelihood."""

    optimizer: Literal["adamax", "adamw"] = "adamax"
    dequantisation: Literal["uniform", "none"] = "uniform"  # none: pixels as they are, as the released grey model
    learning_rate: Annotated[Real, Field(gt=0)] = 1e-3
    weight_decay: Annotated[Real, Field(ge=0)] = 5e-5
    batch_size: Positive = 64
    warmup_epochs: NonNegative = 1  # linear warm-up of the learning rate
    warmup: Literal["step", "epoch"] = "step"  # when the rate is raised; epoch: once an epoch, as the public Glow's
    initialisation_images: Positive = 256  # of the batch that sets the actnorms; 512 in the released code
    gradient_clip: Annotated[Real, Field(gt=0)] | None = None  # largest norm of the whole gradient, bits/dim
    precision: Literal["fp32", "tf32", "bf16-coupling"] = "fp32"  # bf16: of the networks inside the couplings alone
    compile: bool = False  # by torch.compile: minutes at the start, for a GPU, where small steps wait for launches


class FeatureConfig(Config):
    """Layer-wise gradient norms."""

    batch_sizes: Annotated[list[Positive], Field(min_length=1)] = [1, 5]  # b, images a group
    fit_images: Positive = 1000  # cap on the ID fit set
    test_images: Positive = 1000  # cap on each test set
    chunk_images: Positive | None = None  # images worked on at once: memory, not results; by default what suits
    tf32: bool = False  # on a GPU, products rounded to TF32: faster, and not what the scores were checked with
    objective: Literal["log_prob", "sum_z"] = "log_prob"  # whose gradient is taken; sum_z: the paper's released code
    noise: Literal["fixed", "fresh", "none"] = "fixed"  # of dequantisation; fresh: another at every checkpoint


class EvaluationConfig(Config):
    """Intervals and the test of the claim."""

    confidence: Annotated[Real, Field(gt=0, lt=1)] = 0.95
    margin: Annotated[Real, Field(ge=0)] = 0.02  # AUROC differences within it are equivalent
    drop_minimum: bool = False  # AUROC without each set's smallest score: the paper's released code


class Study(Config):
    """A whole study. Every key but `name`, `datasets` and `epochs` has a default."""

    name: Name
    shares: Name | None = None  # another study, whose images and checkpoints are used, and made if they are missing
    audits: list[str] = []  # config files of studies that differ from this one in one choice, for tables/audit.csv
    baselines: dict[str, str] = {}  # of a study in `audits`: what a detector or model of it is compared with
    data_dir: str = "data"  # original files: those that you put there, and downloads
    image: ImageConfig = ImageConfig()
    datasets: Annotated[dict[Name, DatasetConfig], Field(min_length=1)]
    id_datasets: list[str] = []  # in-distribution sets; by default all
    models: Annotated[dict[Name, AnyModel], Field(min_length=1)] = {"glow": GlowConfig()}
    seeds: Annotated[list[NonNegative], Field(min_length=1)] = [0]
    epochs: Annotated[list[NonNegative], Field(min_length=1)]  # kept epochs; 0 is the untrained control
    epochs_per_job: Positive | None = None  # the most a training job makes, for queues with a time limit
    threads: Positive = 1  # of each training and feature job, set in-process: results depend on it
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one; cuda: one a job is asked for
    training: TrainingConfig = TrainingConfig()
    samples: Positive = 16  # images drawn from the model at each kept epoch, to be looked at
    features: FeatureConfig = FeatureConfig()
    fit_set: Literal["held_out", "test"] = "held_out"  # test: detectors are fitted on the ID images that are scored
    detectors: Annotated[list[str], Field(min_length=1)] = ["gradient_norms", "likelihood", "typicality"]
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="before")
    @classmethod
    def _name_defaults(cls, config: Any) -> Any:
        """A data set without a source is named after its source; no id_datasets means all."""
        config = _without_retired(config)
        if not isinstance(config, Mapping) or not isinstance(config.get("datasets"), Mapping):
            return config
        datasets = {}
        for name, options in config["datasets"].items():
            given = {} if options is None else options
            if isinstance(given, Mapping) and isinstance(name, str):
                given = {"source": SAMPLES if given.get("samples_of") else name, **given}
            datasets[name] = given
        return {"id_datasets": [name for name in datasets if isinstance(name, str)], **config, "datasets": datasets}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = [*self._unknown_names(), *self._bad_lists()]
        if not faults:  # these look names up
            faults = [*self._bad_sources(), *self._bad_sizes(), *self._bad_shapes()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _unknown_names(self) -> list[str]:
        return [
            f"{key}: unknown name {name!r}{registry.did_you_mean(name, valid)}"
            for key, name, valid in self._names()
            if name not in valid
        ]

    def _names(self) -> Iterator[tuple[str, str, list[str]]]:
        """(key path, name, valid names) of every name that the study mentions."""
        originals = [name for name in self.id_datasets if name in self.datasets and not self.datasets[name].samples_of]
        for name, dataset in self.datasets.items():
            if samples := dataset.samples_of:
                yield f"datasets.{name}.samples_of.dataset", samples.dataset, originals
                yield f"datasets.{name}.samples_of.model", samples.model, [*self.models]
            else:
                yield f"datasets.{name}.source", dataset.source, registry.names("datasets")
        for i, name in enumerate(self.id_datasets):
            yield f"id_datasets.{i}", name, [*self.datasets]
        for i, name in enumerate(self.detectors):
            yield f"detectors.{i}", name, registry.names("detectors")
        for name in self.baselines:
            yield "baselines", name, [*self.detectors, *self.models]

    def _bad_lists(self) -> list[str]:
        faults = []
        if any(later <= earlier for earlier, later in pairwise(self.epochs)):
            faults.append(f"epochs: must increase, got {self.epochs}")
        for key, values in (
            ("seeds", self.seeds),
            ("id_datasets", self.id_datasets),
            ("detectors", self.detectors),
            ("features.batch_sizes", self.features.batch_sizes),
        ):
            if len(set(values)) < len(values):
                faults.append(f"{key}: holds a value twice, got {values}")
        if (self.training.dequantisation == "none") != (self.features.noise == "none"):
            faults.append("features.noise: none goes with training.dequantisation: none, and only with it")
        if not self.id_datasets:
            faults.append("id_datasets: name at least one data set, or leave the key out for all")
        if len(self.real_datasets) < 2:
            faults.append("datasets: name at least two with images of their own, or nothing is out of distribution")
        return [*faults, *self._alike("datasets", self.datasets), *self._alike("models", self.models)]

    def _alike(self, key: str, names: Iterable[str]) -> list[str]:
        """Names that are one file where upper and lower case are the same."""
        by_case: dict[str, list[str]] = {}
        for name in names:
            by_case.setdefault(name.lower(), []).append(name)
        return [
            f"{key}: {' and '.join(same)} differ in case alone, and some file systems make no difference; rename one"
            for same in by_case.values()
            if len(same) > 1
        ]

    def _bad_sources(self) -> list[str]:
        faults = []
        for name, dataset in self.datasets.items():
            if (dataset.source == "folder") != (dataset.path is not None):
                mend = "name the folder of images" if dataset.path is None else "only the source 'folder' has one"
                faults.append(f"datasets.{name}.path: {mend}")
            if samples := dataset.samples_of:
                for key, chosen, kept in (("seed", samples.seed, self.seeds), ("epoch", samples.epoch, self.epochs)):
                    if chosen not in kept:
                        faults.append(f"datasets.{name}.samples_of.{key}: {chosen} is not among {key}s, {kept}")
        return faults

    def _bad_shapes(self) -> list[str]:
        return [
            f"models.{name}.blocks: {model.blocks} blocks halve the side {model.blocks} times, but image.side is "
            f"{self.image.side}"
            for name, model in self.models.items()
            if isinstance(model, GlowConfig) and self.image.side % 2**model.blocks
        ]

    def _bad_sizes(self) -> list[str]:
        faults = [
            f"features.{cap}: {getattr(self.features, cap)} is not a multiple of batch size {b}"
            for cap in ("fit_images", "test_images", "chunk_images")
            for b in self.features.batch_sizes
            if (getattr(self.features, cap) or 0) % b
        ]
        faults += self._too_few_groups()
        faults += [
            f"datasets.{name}.{split}: {getattr(dataset, split)} images, but the study uses {count}"
            for name, dataset in self.datasets.items()
            for split, count in self.images_needed(name).items()
            if getattr(dataset, split) < count
        ]
        return faults

    def images_needed(self, dataset: str) -> dict[str, int]:
        """The least number of images of each split of a data set that the study uses."""
        of_its_own = not self.datasets[dataset].samples_of
        needed = {"test": self.features.test_images} if of_its_own else {}
        if dataset in self.id_datasets:
            needed["train"] = self.training.batch_size
        if dataset in self.id_datasets and of_its_own:
            needed["fit"] = self.features.fit_images
        return needed

    def _too_few_groups(self) -> list[str]:
        """A layer varies over two groups at least."""
        images = self.features.fit_images if self.fit_set == "held_out" else self.features.test_images
        return [
            f"features.batch_sizes: {b} leaves {images // b} fit group; 2 are needed"
            for b in self.features.batch_sizes
            if images // b == 1
        ]

    def ood_datasets(self, id_dataset: str) -> list[str]:
        """The data sets that are out-of-distribution for a model trained on `id_dataset`."""
        return [name for name in self.real_datasets if name != self.original(id_dataset)]

    @property
    def real_datasets(self) -> list[str]:
        """The data sets with images of their own to score: all but those of samples."""
        return [name for name, dataset in self.datasets.items() if not dataset.samples_of]

    def stands_for(self, dataset: str) -> str:
        """The data set whose random numbers and place in comparisons a set takes: mostly its own."""
        return self.datasets[dataset].stands_for or self.original(dataset)

    def original(self, dataset: str) -> str:
        """The data set whose fit and test images a set has: its own, but for one of samples."""
        samples = self.datasets[dataset].samples_of
        return samples.dataset if samples else dataset

    def chain(self) -> list[int]:
        """The epochs at which a training job ends: those kept, and, with epochs_per_job, its multiples between.

        >>> Study(name="s", datasets={"digits": {}, "glyphs": {}}, epochs=[0, 1, 25], epochs_per_job=10).chain()
        [0, 1, 10, 20, 25]
        """
        between = range(self.epochs_per_job, self.epochs[-1], self.epochs_per_job) if self.epochs_per_job else []
        return sorted({*self.epochs, *between})

    def previous_epoch(self, epoch: int) -> int | None:
        """Where the job that trains to `epoch` goes on from, None for the first."""
        return max((end for end in self.chain() if end < epoch), default=None)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Self:
        """Checks a config as read from YAML; raises StudyError with one line a fault."""
        if not isinstance(config, Mapping):
            raise StudyError(f"a study is a mapping of keys to values, such as name: mine; got {_short(config)}")
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            raise StudyError("\n".join(_lines(cls, error))) from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The study of a config file; raises StudyError with one line a fault."""
        return cls.parse(read_config(path))


def retired(config: Any) -> list[str]:
    """A line for each key of an older config that is still read, or does nothing any more.

    >>> retired({"training": {"samples": 4}, "evaluation": {"resamples": 100}})
    ['training.samples: is now called samples', 'evaluation.resamples: does nothing any more']
    """
    return [
        f"{section}.{key}: {f'is now called {now}' if now else 'does nothing any more'}"
        for (section, key), now in RETIRED.items()
        if isinstance(config, Mapping) and isinstance(config.get(section), Mapping) and key in config[section]
    ]


def _without_retired(config: Any) -> Any:
    """A config with retired keys moved to where they went; a key that is there already has its value."""
    if not retired(config):
        return config
    config = {key: dict(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    for (section, key), now in RETIRED.items():
        if isinstance(config.get(section), dict) and key in config[section]:
            value = config[section].pop(key)
            if now:
                config.setdefault(now, value)
    return config


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 80 else f"{written[:77]}..."


def _lines(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Pydantic's faults as lines: key path, what is wrong, the nearest valid name."""
    return [line for fault in error.errors(include_url=False, include_context=False) for line in _fault(model, fault)]


def _fault(model: type[BaseModel], fault: Mapping[str, Any]) -> list[str]:
    place, kind = _without_tag(fault["loc"]), fault["type"]
    path, found = ".".join(map(str, place)), fault["input"]
    said = fault["msg"].removeprefix("Value error, ")
    if not path:  # from _consistent: its lines name their own keys
        return said.splitlines()
    if kind == "extra_forbidden":
        return [f"{path}: unknown key{registry.did_you_mean(str(place[-1]), _fields(model, fault['loc'][:-1]))}"]
    if kind == "missing":
        return [f"{path}: is missing"]
    if kind == "union_tag_invalid":
        name = str(found.get("architecture"))
        return [f"{path}.architecture: unknown name {name!r}{registry.did_you_mean(name, [*_ARCHITECTURES])}"]
    if place[-1] == "[key]":  # of a mapping of names, which is said before the key
        path = ".".join(map(str, (*place[:-2], found)))
    mend = "; write it in quotes if it is a name" if kind == "string_type" else ""
    return [f"{path}: {said}, got {_short(found)}{mend}"]


def _without_tag(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Pydantic puts a model's architecture after its name; a person wrote it elsewhere."""
    return path[:2] + path[3:] if path[:1] == ("models",) else path


def _fields(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the section of `model` at `path`."""
    for part in path:
        model = _ARCHITECTURES.get(str(part), model)
        field = model.model_fields.get(str(part))
        if field is None:  # a name in a mapping such as datasets: its section was reached with the mapping
            continue
        model = _section(field.annotation) or model
    return [*model.model_fields]


def _section(annotation: Any) -> type[BaseModel] | None:
    """The Config inside an annotation such as dict[str, GlowConfig]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section(argument) for argument in getattr(annotation, "__args__", ())]
    return next((section for section in inner if section), None)


def main() -> None:
    """Prints the name of the study in a config file; ends with 1 and one line a fault if there is none."""
    parser = argparse.ArgumentParser(prog="study", description=main.__doc__)
    parser.add_argument("config", type=Path, help="a study's config")
    path = parser.parse_args().config
    try:
        print(Study.read(path).name)
    except StudyError as error:
        sys.exit("\n".join(f"{path}: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
