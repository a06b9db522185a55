"""What a study is: a typed config and the single source of every default. Needs neither torch nor numpy.

`python -m immature_ood.study config.yaml` prints the name of a study, or what is wrong with it.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from immature_ood import registry
from immature_ood.config import (
    POOLED,
    SAMPLES,
    Change,
    ChangedConfig,
    Config,
    DatasetConfig,
    DetectorConfig,
    Kept,
    ModelConfig,
    Name,
    NonNegative,
    Place,
    Positive,
    RuleConfig,
)
from immature_ood.config_file import StudyError, read_config
from immature_ood.faults import faults_of, short, without_options
from immature_ood.kinds import KindOfData, images
from immature_ood.sections import DriftConfig, EvaluationConfig, FeatureConfig, TrainingConfig
from immature_ood.spelling import (
    DEFAULT_MODEL,
    DETECTORS,
    IMAGES,
    named,
    retired,
    said_twice,
    unknown_sets,
    without_retired,
)

__all__ = [
    "DEFAULT_MODEL",
    "DETECTORS",
    "DriftConfig",
    "EvaluationConfig",
    "FeatureConfig",
    "Study",
    "StudyError",
    "TrainingConfig",
    "faults_of",
    "retired",
]

SHARED = {"dequantisation", "epochs_per_pass"}  # of training, for all models of a study


def _plug_in(kind: registry.Kind) -> BeforeValidator:
    """A section of a plug-in is read with the plug-in's own Config; only those that a study names are imported.

    What names no plug-in is left for Study, which tells it together with other faults.
    """
    key = registry.KEYS[kind]

    def read(section: Any, info: ValidationInfo) -> Any:
        if not isinstance(section, Mapping) or not isinstance(section.get(key), str):
            return section
        common = without_options(kind, type(info.data.get("data", images.Config())))
        if section[key] == SAMPLES:
            return common.model_validate(dict(section))
        try:
            return registry.config_class(kind, section[key], common).model_validate(dict(section))
        except registry.PluginError:
            return common.model_validate({field: section[field] for field in common.model_fields if field in section})

    return BeforeValidator(read)


AnyDataset = Annotated[SerializeAsAny[DatasetConfig], _plug_in("datasets")]
AnyKind = Annotated[SerializeAsAny[KindOfData], _plug_in("kinds")]
AnyModel = Annotated[SerializeAsAny[ModelConfig], _plug_in("models")]
AnyDetector = Annotated[SerializeAsAny[DetectorConfig], _plug_in("detectors")]
AnyRule = Annotated[SerializeAsAny[RuleConfig], _plug_in("epoch_rules")]


class Study(Config):
    """A whole study. Every key but `name`, `datasets` and `epochs` has a default."""

    name: Name
    """All results lie in results/<name>."""
    shares: Name | None = None
    """The images and checkpoints of the study of this name are used, and made if they are missing."""
    audits: list[str] = []
    """These config files of studies that differ from this one in one choice are compared in tables/audit.csv."""
    baselines: dict[str, str] = {}
    """Where this study is one of `audits`: a detector or model of it is compared with that of this name."""
    data_dir: str = "data"
    """Original files lie in this folder: those that you put there, and downloads."""
    data: AnyKind = Field(default=images.Config(), validation_alias=AliasChoices("data", "image"))
    """All data sets hold samples of this kind and shape, by default images; the section may also be called image."""
    datasets: Annotated[dict[Name, AnyDataset], Field(min_length=1)]
    """The data sets by name; a set of the name of its source needs no options."""
    id_datasets: list[str] = []
    """A model is trained on each of these data sets; by default on all but those of another's images, changed."""
    models: Annotated[dict[Name, AnyModel], Field(min_length=1)] = Field(default={"glow": {}}, validate_default=True)
    """The models by name, each with its options; by default one Glow."""
    seeds: Annotated[list[NonNegative], Field(min_length=1)] = [0]
    """Each model is trained once from each seed."""
    epochs: Annotated[list[NonNegative], Field(min_length=1)]
    """Checkpoints of these epochs are kept and scored; 0 is the untrained control."""
    epochs_per_job: Positive | None = None
    """A training job makes at most so many epochs, for queues with a time limit; by default all to the next kept."""
    threads: Positive = 1
    """Each training and feature job uses so many threads, set in-process: results depend on it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Jobs use a GPU where there is one (auto), never (cpu), or ask for one each (cuda)."""
    training: TrainingConfig = TrainingConfig()
    """All models are trained so, but for what a model has of its own."""
    samples: Positive = 16
    """So many images are drawn from each checkpoint, to be looked at."""
    features: FeatureConfig = FeatureConfig()
    """All checkpoints are looked at so."""
    fit_set: Literal["held_out", "test"] = "held_out"
    """Detectors are fitted on held-out ID images, or, with test, on the ID images that are scored."""
    detectors: Annotated[dict[Name, AnyDetector], Field(min_length=1)]
    """The detectors by name, each with its options, or a list of names."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """All detectors are evaluated so."""
    epoch_rules: dict[Name, AnyRule] = {}
    """The rules that choose an epoch by ID data alone, by name, each with its options, or a list of names."""
    stand_in_images: Positive = 200
    """Where an epoch rule asks for fit images that are changed, it is at most so many."""

    @model_validator(mode="before")
    @classmethod
    def _name_defaults(cls, config: Any) -> Any:
        """What a section is of, where it does not say: mostly what it is called."""
        if faults := said_twice(config):
            raise ValueError(faults)
        config = named(without_retired(config))
        if faults := "\n".join(unknown_sets(config)):
            raise ValueError(faults)
        return config

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = [*self._unknown_plug_ins(), *self._unknown_names(), *self._bad_lists()]
        faults = faults or [*self._of_other_kinds()]  # which looks names up, as do the next
        faults = faults or [*self._bad_training()]  # which the sizes follow from
        faults = faults or [
            *self._bad_samples(),
            *self._bad_changed(),
            *self._bad_sizes(),
            *self._bad_models(),
            *self._bad_detectors(),
        ]
        faults = faults or [*self._bad_layers(), *self._bad_rules()]
        faults = faults or [*self._bad_objectives()]
        faults = faults or self._none_to_calibrate()
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _plug_ins(self) -> Iterator[tuple[str, registry.Kind, str]]:
        """(key path, kind, name or path) of every plug-in that the study names."""
        yield "data.kind", "kinds", self.data.kind
        sections: Mapping[registry.Kind, Mapping[str, Config]] = {
            "datasets": dict(
                each
                for name, section in self.datasets.items()
                if section.source != SAMPLES
                for each in section.with_parts(name)
            ),
            "models": self.models,
            "detectors": dict(each for name, config in self.detectors.items() for each in config.with_parts(name)),
            "epoch_rules": self.epoch_rules,
        }
        for kind, by_name in sections.items():
            key = registry.KEYS[kind]
            yield from ((f"{kind}.{name}.{key}", kind, getattr(section, key)) for name, section in by_name.items())

    def _unknown_plug_ins(self) -> Iterator[str]:
        for path, kind, plugin in self._plug_ins():
            try:
                registry.load(kind, plugin)
            except registry.PluginError as error:
                yield f"{path}: {error}"

    def _of_other_kinds(self) -> Iterator[str]:
        """Plug-ins that are of other kinds of data than the study: KINDS in their files.

        Sources and models that do not say are for images, detectors for all.
        """
        own = registry.own_name(self.data.kind)
        for path, kind, plugin in self._plug_ins():
            unsaid = (IMAGES,) if kind in ("datasets", "models") else (own,)
            known = getattr(registry.load(kind, plugin), "KINDS", unsaid)
            if own not in known:
                yield f"{path}: {plugin} is for {', '.join(known)}, but data.kind is {self.data.kind}"

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
            if isinstance(dataset, ChangedConfig):
                yield (
                    f"datasets.{name}.of",
                    dataset.of,
                    [each for each in self.real_datasets if each not in self.changed],
                )
            if samples := dataset.samples_of:
                yield f"datasets.{name}.samples_of.dataset", samples.dataset, originals
                yield f"datasets.{name}.samples_of.model", samples.model, [*self.models]
        for i, name in enumerate(self.id_datasets):
            yield f"id_datasets.{i}", name, [*self.datasets]
        for name in self.baselines:
            yield "baselines", name, [*self.detectors, *self.models]
        for i, name in enumerate(self.evaluation.controls or []):
            yield f"evaluation.controls.{i}", name, [*self.detectors]
        for name, drift in self.evaluation.drift.items():
            yield f"evaluation.drift.{name}.of", drift.of, [each for each in originals if each in self.id_datasets]
            others = [each for each in self.real_datasets if each != drift.of]
            yield from ((f"evaluation.drift.{name}.through.{i}", each, others) for i, each in enumerate(drift.through))
        if self.evaluation.reference is not None:
            yield "evaluation.reference", self.evaluation.reference, [*self.detectors]

    def _bad_lists(self) -> list[str]:
        faults = []
        if any(later <= earlier for earlier, later in itertools.pairwise(self.epochs)):
            faults.append(f"epochs: must increase, got {self.epochs}")
        for key, values in (
            ("seeds", self.seeds),
            ("id_datasets", self.id_datasets),
            ("features.batch_sizes", self.features.batch_sizes),
            ("features.objective", self.features.objective if isinstance(self.features.objective, list) else []),
        ):
            if len(set(values)) < len(values):
                faults.append(f"{key}: holds a value twice, got {values}")
        if (self.training.dequantisation == "none") != (self.features.noise == "none"):
            faults.append("features.noise: none goes with training.dequantisation: none, and only with it")
        faults += self._near_nothing()
        if not self.id_datasets:
            faults.append("id_datasets: name at least one data set, or leave the key out for all")
        if len(self.real_datasets) < 2:
            faults.append("datasets: name at least two with images of their own, or nothing is out of distribution")
        return [*faults, *self._alike("datasets", self.datasets), *self._alike("models", self.models)]

    def _near_nothing(self) -> Iterator[str]:
        """Words of `near` that one set alone has."""
        words = {name: dataset.near for name, dataset in self.datasets.items() if dataset.near}
        for name, word in words.items():
            others = sorted({each for other, each in words.items() if other != name})
            if word not in others:
                hint = registry.did_you_mean(word, others) if others else ""
                yield f"datasets.{name}.near: no other set is near {word!r}{hint}"

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

    def _bad_training(self) -> Iterator[str]:
        """What models have of the section training that it has not, or that all models must share."""
        for name, model in self.models.items():
            key = f"models.{name}.training"
            yield from (f"{key}.{shared}: is the same for all models" for shared in SHARED & {*model.training})
            try:
                self.training_of(name)
            except ValidationError as error:
                yield from (f"{key}.{fault}" for fault in faults_of(TrainingConfig, error, model.training))

    def training_of(self, model: str) -> TrainingConfig:
        """How a model is trained: as all are, but for what it has of its own."""
        return TrainingConfig.model_validate({**self.training.model_dump(), **self.models[model].training})

    def model_of_run(self, model: str) -> dict[str, Any]:
        """The section of a model as its weights have it, whose options of training are those of training_of."""
        return self.models[model].model_dump() | {"training": {}}

    def _bad_samples(self) -> list[str]:
        faults = []
        for name, dataset in self.datasets.items():
            if samples := dataset.samples_of:
                for key, chosen, kept in (("seed", samples.seed, self.seeds), ("epoch", samples.epoch, self.epochs)):
                    if chosen not in kept:
                        faults.append(f"datasets.{name}.samples_of.{key}: {chosen} is not among {key}s, {kept}")
        return faults

    def _bad_changed(self) -> Iterator[str]:
        """Sets of the images of another one that are dealt otherwise, drawn as well, or trained on."""
        for name, other in self.changed.items():
            for key in ChangedConfig.ALIKE:
                here, there = (getattr(self.datasets[each], key) for each in (name, other))
                if here != there:
                    yield f"datasets.{name}.{key}: is {here}, but {there} of {other}, whose images it has; leave it out"
            if self.datasets[name].samples_of:
                yield f"datasets.{name}.samples_of: its images are those of {other}, changed; leave one of the two out"
            if name in self.id_datasets:
                yield f"id_datasets: {name} has the images of {other}, changed, and is only ever tested; leave it out"

    def _bad_models(self) -> Iterator[str]:
        """Models that do not take samples of the data's shape, or all of its tokens."""
        levels = self.data.levels
        for name, model in self.models.items():
            yield from (f"models.{name}.{fault}" for fault in model.faults(self.data.shape))
            if (known := getattr(model, "vocabulary", levels)) < levels:
                yield f"models.{name}.vocabulary: the data has {levels} tokens, a model of {known} not all"

    def _bad_detectors(self) -> list[str]:
        return [
            f"detectors.{name}.{fault}" for name, config in self.detectors.items() for fault in config.faults(self.kept)
        ]

    def _bad_layers(self) -> list[str]:
        """Detectors that read what is not extracted."""
        if self.features.layers != "without_weights":
            return []
        return [
            f"detectors.{name}: reads gradient norms of weights, which features.layers: without_weights leaves out; "
            "take that away, or give the detector layers: without_weights"
            for name, config in self.detectors.items()
            if config.reads_weights()
        ]

    def _bad_rules(self) -> Iterator[str]:
        """What is wrong with epoch rules, and what they need that no model of the study gives."""
        largest = max(self.features.batch_sizes)
        for name, rule in self.epoch_rules.items():
            key = f"epoch_rules.{name}"
            yield from (f"{key}.{fault}" for fault in rule.faults(self.kept))
            if rule.changes() and self.data.kind != IMAGES:
                yield f"{key}: changes images, but data.kind is {self.data.kind}; leave the rule out"
            if rule.changes() and self.stand_in_images < 2 * largest:
                yield f"stand_in_images: {self.stand_in_images} make fewer than 2 groups of {largest}; take more"
            if not any(self.rules_of(model).get(name) for model in self.models):
                yield f"{key}: needs log_norms, which no detector reads; add gradient_norms, or leave the rule out"
        if self.epoch_rules and not any(self.choosable(model) for model in self.models):
            yield "epoch_rules: no detector's score follows from the epochs of one training; add gradient_norms"

    def rules_of(self, model: str) -> dict[str, RuleConfig]:
        """By name, the epoch rules that what is extracted of a model suffices for."""
        norms = "log_norms" in self.statistics(model)
        return {name: rule for name, rule in self.epoch_rules.items() if norms or "log_norms" not in rule.needs()}

    def choosable(self, model: str) -> dict[str, DetectorConfig]:
        """By name, the detectors whose epoch can be chosen, that read each training of a model by itself.

        Controls are alike at all epochs, and one that reads all seeds or another ID set's model is of no one training.
        """
        every = [Place(model, *rest) for rest in itertools.product(self.seeds, self.epochs, self.id_datasets)]
        reads = {
            name: [(own, read) for own in every for read in config.reads(own, self.kept)]
            for name, config in self.detectors_of(model).items()
            if not (_is_control(config) or config.pools_seeds)
        }
        return {
            name: self.detectors[name]
            for name, both in reads.items()
            if both and all(read._replace(epoch=own.epoch) == own for own, read in both)
        }

    @property
    def changes(self) -> list[Change]:
        """What epoch rules ask to be done to fit images, each once."""
        asked = (change for rule in self.epoch_rules.values() for change in rule.changes())
        return [*dict.fromkeys(asked)]

    @property
    def layers(self) -> str:
        """The layers whose norms features need to hold (see is_chosen)."""
        reads = [config.reads_weights() for config in self.detectors.values() if "log_norms" in config.needs()]
        return self.features.layers or ("without_weights" if reads and not any(reads) else "all")

    def _bad_objectives(self) -> Iterator[str]:
        """What a model is asked for and has not got."""
        for name, model in self.models.items():
            known = model.objectives()
            for objective in self.objectives(name):
                if objective not in known:
                    meant = registry.did_you_mean(objective, [*known])
                    yield f"features.objective: model {name!r} has no {objective!r}{meant}"
        for detector, config in self.detectors.items():
            missing = [self._missing(config, model) for model in self.models]
            if all(missing):
                which = ", nor ".join(map(repr, self.models))
                yield f"detectors.{detector}: needs {missing[0][0]!r}, which model {which} has not"
        yield from (f"models.{name}: no detector can read it" for name in self.models if not self.detectors_of(name))

    def _missing(self, config: DetectorConfig, model: str) -> list[str]:
        """What a detector needs and a model does not give."""
        given = {"log_norms", "pixels", *self.models[model].statistics()}
        return [need for need in config.needs() if need not in given]

    def detectors_of(self, model: str) -> dict[str, DetectorConfig]:
        """By name, the detectors that can read a model; the others have no rows of it."""
        return {name: config for name, config in self.detectors.items() if not self._missing(config, model)}

    def objectives(self, model: str) -> tuple[str, ...]:
        """The objectives whose gradients are taken of a model."""
        asked = self.features.objective
        return (asked,) if isinstance(asked, str) else tuple(asked or self.models[model].scored_by())

    def statistics(self, model: str) -> list[str]:
        """What features of a model hold: all that the detectors need, and log_prob if gradients give it too."""
        needed = {need for config in self.detectors_of(model).values() for need in config.needs()}
        given = self.models[model].objectives()
        return sorted(needed | {"log_prob"}.intersection(*(given[name] for name in self.objectives(model)[:1])))

    def _bad_sizes(self) -> list[str]:
        faults = [
            f"features.{cap}: {getattr(self.features, cap)} is not a multiple of batch size {b}"
            for cap in ("fit_images", "test_images", "chunk_images")
            for b in self.features.batch_sizes
            if (getattr(self.features, cap) or 0) % b
        ]
        faults += self._too_few_groups()
        faults += self._bad_calibration()
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
            needed["train"] = max(self.training_of(model).images_needed for model in self.models)
        if dataset in self.id_datasets and of_its_own:
            needed["fit"] = self.features.fit_images + self.evaluation.calibration_images
        return needed

    def _bad_calibration(self) -> Iterator[str]:
        """Calibration images fill groups, and nothing is fitted on the images whose false alarms are counted."""
        images, key = self.evaluation.calibration_images, "evaluation.calibration_images"
        yield from (
            f"{key}: {images} is not a multiple of batch size {b}" for b in self.features.batch_sizes if images % b
        )
        if self.evaluation.drift and not images:
            yield f"{key}: evaluation.drift has alarms by p-values; give so many images, such as 500"
        if images and self.fit_set == "test":
            yield (
                f"{key}: p-values of the test images say nothing where detectors are fitted on them; take fit_set: "
                "held_out, or leave it out"
            )

    def _too_few_groups(self) -> list[str]:
        """A layer varies over two groups at least."""
        images = self.features.fit_images if self.fit_set == "held_out" else self.features.test_images
        return [
            f"features.batch_sizes: {b} leaves {images // b} fit group; 2 are needed"
            for b in self.features.batch_sizes
            if images // b == 1
        ]

    def detector_files(self) -> list[str]:
        """The files of the detectors and of those that they are made of, as the study has them, each once."""
        every = (each for config in self.detectors.values() for _, each in config.with_parts())
        return list(dict.fromkeys(config.detector for config in every))

    @property
    def kept(self) -> Kept:
        """What checkpoints there are."""
        own = (name for name in self.id_datasets if name in self.real_datasets)
        return Kept(tuple(self.models), tuple(self.seeds), tuple(self.epochs), tuple(own))

    def places(self) -> list[Place]:
        """Where a model has scores: at each of its checkpoints, or over all seeds, as the detectors have it."""
        seeds: list[int | str] = [*self.seeds, POOLED]
        every = itertools.product(self.id_datasets, self.models, seeds, self.epochs)
        places = (Place(model, seed, epoch, own) for own, model, seed, epoch in every)
        return [place for place in places if self.readings(place)]

    def reads(self, place: Place) -> list[Place]:
        """The checkpoints whose features are read at a place, its own first."""
        own = [place._replace(seed=seed) for seed in (self.seeds if place.seed == POOLED else [place.seed])]
        return [*dict.fromkeys([*own, *itertools.chain.from_iterable(self.readings(place).values())])]

    def readings(self, place: Place) -> dict[str, list[Place]]:
        """By detector that has scores at a place, the places whose features it reads."""
        pooled = place.seed == POOLED
        found = {
            name: [*config.reads(place, self.kept)]
            for name, config in self.detectors_of(place.model).items()
            if config.pools_seeds == pooled
        }
        return {name: places for name, places in found.items() if places}

    def calibrated(self, place: Place) -> list[str]:
        """The detectors that calibration images are scored with at a place: those that read it and no other."""
        return [name for name, reads in self.readings(place).items() if reads == [place]]

    def _none_to_calibrate(self) -> list[str]:
        if not self.evaluation.calibration_images or any(map(self.calibrated, self.places())):
            return []
        return ["evaluation.calibration_images: no detector reads one checkpoint alone; add one, or leave the key out"]

    @property
    def controls(self) -> list[str]:
        """The detectors whose solved pairs are told apart."""
        chosen = self.evaluation.controls
        if chosen is None:
            return [name for name, config in self.detectors.items() if _is_control(config)]
        return [name for name in self.detectors if name in chosen]

    @property
    def reference(self) -> str | None:
        """The detector that the others are compared with, None if there is none."""
        return self.evaluation.reference or (DETECTORS[0] if DETECTORS[0] in self.detectors else None)

    def ood_datasets(self, id_dataset: str) -> list[str]:
        """The data sets that are out-of-distribution for a model trained on `id_dataset`."""
        return [name for name in self.real_datasets if name != self.original(id_dataset)]

    @property
    def near_pairs(self) -> list[tuple[str, str]]:
        """The pairs, ID set and OOD set, that the study says are near one another."""
        return [
            (own, other)
            for own in self.id_datasets
            for other in self.ood_datasets(own)
            if self.datasets[own].near and self.datasets[own].near == self.datasets[other].near
        ]

    @property
    def real_datasets(self) -> list[str]:
        """The data sets with images of their own to score: all but those of samples."""
        return [name for name, dataset in self.datasets.items() if not dataset.samples_of]

    @property
    def own_datasets(self) -> list[str]:
        """The data sets with images of their own that are not those of another one, changed."""
        return [name for name in self.real_datasets if name not in self.changed]

    @property
    def changed(self) -> dict[str, str]:
        """By data set of images of another one, changed, the name of the other."""
        sets = self.datasets.items()
        return {name: dataset.of for name, dataset in sets if isinstance(dataset, ChangedConfig)}

    def images_of(self, dataset: str) -> str:
        """The data set whose test images a set has, perhaps changed, so that the two are not independent."""
        return self.datasets[dataset].stands_for or self.stands_for(self.changed.get(dataset, dataset))

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
            raise StudyError(f"a study is a mapping of keys to values, such as name: mine; got {short(config)}")
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            raise StudyError("\n".join(faults_of(cls, error, named(without_retired(config))))) from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The study of a config file; raises StudyError with one line a fault."""
        return cls.parse(read_config(path))


def _is_control(config: DetectorConfig) -> bool:
    """Whether it reads no trained model, nor does any that it is made of."""
    parts = config.parts_of().values()
    return all(map(_is_control, parts)) if parts else config.control


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
