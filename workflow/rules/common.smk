# The checked study, the paths (which read like the graph), and the functions that the rules share.
import itertools
import math
import os
import shutil
import sys

from functools import cache
from pathlib import Path

SOURCE = Path(workflow.basedir) / "src"
sys.path.insert(0, str(SOURCE))
os.environ.update(
    PYTHONPATH=os.pathsep.join(
        [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
)

from snakemake.exceptions import WorkflowError
from snakemake.io import apply_wildcards
from snakemake.iocontainers import Wildcards
from snakemake.logging import logger

from immature_ood.config import POOLED, Place
from immature_ood import registry, validity
from immature_ood.planning import (
    faults_of_processor,
    faults_of_threads,
    plan,
    results_folders,
)
from immature_ood.provenance import source_hashes
from immature_ood.storage import read_json
from immature_ood.study import StudyError, retired

try:  # a job of a cluster reads the study once more, and the files need not be there
    study = plan(config, workflow.configfiles if workflow.is_main_process else [])
except StudyError as error:
    raise WorkflowError(f"the study is not valid:\n{error}") from None

if workflow.is_main_process:
    for line in retired(config):
        logger.warning(line)

RESULTS = results_folders(study)[0]
SHARED = results_folders(study)[-1]  # images and checkpoints
CHOOSING_SCRIPTS = (
    "make_stand_ins",
    "extract_stand_ins",
    "choose_epochs",
    "epoch_choice",
)
KIND = registry.file_of("kinds", study.data.kind)  # the file of its kind of data

# For a scheduler; a site that wants another form: see docs/cluster.md.
GPUS = 1 if study.device == "cuda" else 0

DATA = f"{SHARED}/data/{{dataset}}"
RUN = "{id}/{model}/seed={seed}"
CHECKPOINT = f"{SHARED}/checkpoints/{RUN}/epoch={{epoch}}"
FEATURES = f"{RESULTS}/features/{RUN}/epoch={{epoch}}"
FIT_ELSEWHERE = f"{FEATURES}/fit-{{dataset}}.safetensors"
CALIBRATION_FEATURES = f"{FEATURES}/calibration.safetensors"
SCORES = f"{RESULTS}/scores/{RUN}/epoch={{epoch}}"
TABLE = f"{RESULTS}/tables"
PLOT = f"{RESULTS}/plots/{{model}}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"

TABLES = [
    f"{TABLE}/auroc.csv",
    f"{TABLE}/claim.csv",
    f"{TABLE}/immature.csv",
    f"{TABLE}/means.csv",
    f"{TABLE}/detectors.csv",
    f"{TABLE}/training.csv",
    f"{TABLE}/tiers.csv",
    f"{TABLE}/tiers.txt",
    f"{TABLE}/summary.txt",
    f"{TABLE}/summary.html",
    *expand(
        f"{TABLE}/auroc_{{id}}.{{form}}",
        id=study.id_datasets,
        form=["csv", "md", "html"],
    ),
    f"{TABLE}/datasets.csv",
    f"{TABLE}/published.csv",
    f"{RESULTS}/provenance.json",
]
FORMS = ["png", "pdf"]  # of a figure: for the screen, and for a paper
PLOTS = [
    *expand(f"{RESULTS}/plots/datasets.{{form}}", form=FORMS),
    *expand(
        f"{PLOT}/{{figure}}.{{form}}",
        model=study.models,
        figure=["headline", "bits_per_dim", "auroc_by_excess", "auroc_by_total_cost"],
        form=FORMS,
    ),
    *expand(
        f"{PLOT}/samples_{{id}}.{{form}}",
        model=study.models,
        id=study.id_datasets,
        form=FORMS,
    ),
]
# A panel, or a row of panels, an OOD set: of many, as of dials, they are too many.
PANELS = len(study.real_datasets) - 1 <= 12
if PANELS:
    PLOTS += [
        f"{PLOT}/scores_{id}_{detector}_b={b}.{form}".format(model=model)
        for model in study.models
        for id in study.id_datasets
        for detector in study.detectors_of(model)
        for b in study.features.batch_sizes
        for form in FORMS
    ]
    PLOTS += expand(
        f"{PLOT}/{{figure}}_{{id}}.{{form}}",
        model=study.models,
        id=study.id_datasets,
        figure=["auroc_by_epoch", "auroc_by_cost"],
        form=FORMS,
    )
# Models side by side, where two have a detector in common that reads them.
COMPARED = [
    {name for name in study.detectors_of(model) if name not in study.controls}
    for model in study.models
]
if any(one & other for one, other in itertools.combinations(COMPARED, 2)):
    PLOTS += expand(f"{RESULTS}/plots/models_by_excess.{{form}}", form=FORMS)
# Sets with the images of an ID set, changed by a dial, and those ID sets.
DIALS = {
    name: study.datasets[name].model_dump(include={"of", "dial", "amount"})
    for name in study.changed
    if study.datasets[name].source == "dial"
    and study.changed[name] in study.id_datasets
}
DIALLED = [*dict.fromkeys(each["of"] for each in DIALS.values())]
if DIALLED:
    TABLES.append(f"{TABLE}/dials.csv")
    PLOTS += expand(
        f"{PLOT}/dials_{{id}}_b={{b}}.{{form}}",
        model=study.models,
        id=DIALLED,
        b=study.features.batch_sizes,
        form=FORMS,
    )
READ_BY_LIKELIHOOD = [m for m in study.models if "likelihood" in study.detectors_of(m)]
if study.epoch_rules:
    TABLES += [f"{TABLE}/epoch_choice.csv", f"{TABLE}/epoch_choice.txt"]
    PLOTS += expand(
        f"{PLOT}/epoch_choice.{{form}}",
        model=[model for model in study.models if study.choosable(model)],
        form=FORMS,
    )
SAMPLED = [name for name in study.datasets if name not in study.real_datasets]
if SAMPLED:
    TABLES.append(f"{TABLE}/samples.csv")
if "likelihood" in study.detectors:
    TABLES += [f"{TABLE}/overlap.csv", f"{TABLE}/overlap_correlation.csv"]
    PLOTS += expand(f"{PLOT}/overlap.{{form}}", model=READ_BY_LIKELIHOOD, form=FORMS)
if "gradient_norms" in study.detectors:
    TABLES += expand(f"{TABLE}/layers_{{id}}.csv", id=study.id_datasets)
if "gradient_norms" in study.detectors and PANELS:
    PLOTS += expand(
        f"{PLOT}/layers_{{id}}_b={{b}}.{{form}}",
        model=study.models,
        id=study.id_datasets,
        b=study.features.batch_sizes,
        form=FORMS,
    )
# Where calibration images are scored, and the models that have such places.
CALIBRATED = [
    place._asdict()
    for place in study.places()
    if study.evaluation.calibration_images and study.calibrated(place)
]
ALARMS = ("extract_calibration", "score_calibration", "false_alarms", "drift")
if CALIBRATED:
    TABLES += expand(f"{TABLE}/false_alarms.{{form}}", form=["csv", "txt", "html"])
    PLOTS += expand(
        f"{PLOT}/false_alarms.{{form}}",
        model=dict.fromkeys(place["model"] for place in CALIBRATED),
        form=FORMS,
    )
if study.evaluation.drift:
    TABLES.append(f"{TABLE}/drift.csv")
    PLOTS += expand(
        f"{PLOT}/drift_b={{b}}.{{form}}",
        model=dict.fromkeys(place["model"] for place in CALIBRATED),
        b=study.features.batch_sizes,
        form=["png", "pdf"],
    )


def one_of(names):
    """A wildcard that is one of the names; of none, nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    dataset=one_of(study.real_datasets),
    samples=one_of(SAMPLED),
    id=one_of(study.id_datasets),
    model=one_of(study.models),
    seed=rf"\d+|{POOLED}",
    epoch=r"\d+",


def every_checkpoint(pattern, **chosen):
    """The paths of a pattern for all checkpoints of the study, or those with the chosen wildcards."""
    wildcards = {
        "id": study.id_datasets,
        "model": study.models,
        "seed": study.seeds,
        "epoch": study.epochs,
    }
    return expand(pattern, **{**wildcards, **chosen})


SCORED = [place._asdict() for place in study.places()]


def every_scored(pattern, id=study.id_datasets, **chosen):
    """The paths of a pattern for all places that have scores, those of all seeds together too, or of the chosen."""
    return [
        path
        for place in SCORED
        if place["id"] in ([id] if isinstance(id, str) else id)
        and chosen.items() <= place.items()
        for path in expand(pattern, **place)
    ]


def place_of(wildcards):
    """The place of the study that wildcards name."""
    seed = wildcards.seed if wildcards.seed == POOLED else int(wildcards.seed)
    return Place(wildcards.model, seed, int(wildcards.epoch), wildcards.id)


def features_read(wildcards, file):
    """The paths of a file of features for all checkpoints that are read at a place; first that of the place itself.

    What another ID data set's model says of the fit images has a file of another name there.
    """
    elsewhere = FIT_ELSEWHERE if file == "fit.safetensors" else f"{FEATURES}/{file}"
    return [
        path
        for place in study.reads(place_of(wildcards))
        for path in expand(
            f"{FEATURES}/{file}" if place.id == wildcards.id else elsewhere,
            dataset=wildcards.id,
            **place._asdict(),
        )
    ]


def statistics_of(wildcards):
    """What the features of a checkpoint hold: what the detectors need; features that are there and hold more stay."""
    needed = study.statistics(wildcards.model)
    features = f"{FEATURES}/fit.safetensors".format(**wildcards)
    there = validity.metadata_of(features).get("made_from", {}).get("statistics", [])
    return there if {*needed} <= {*there} else needed


@cache
def layers_of_features():
    """Of which layers features hold norms, None for all: what the detectors need, or all if any that are there do.

    A detector may read several checkpoints, which must have the same layers.
    """
    files = (f"{FEATURES}/fit.safetensors".format(**run) for run in every_run())
    there = [
        made for file in files if (made := validity.metadata_of(file).get("made_from"))
    ]
    all_are_there = any(made.get("layers") is None for made in there)
    return None if study.layers == "all" or all_are_there else study.layers


def of_original(pattern):
    """An input function: a path of a pattern for the data set whose fit and test images the wildcard {id} has."""
    return lambda wildcards: pattern.format(
        **{**wildcards, "dataset": study.original(wildcards.id)}
    )


def of_id_dataset(pattern):
    """An input function: the paths of a pattern for all checkpoints of the wildcard {id}."""
    return lambda wildcards: every_checkpoint(pattern, id=wildcards.id)


@cache
def sources(script, *plugins):
    """Hashes of the syntax of everything a script reaches, and of the files of plug-ins, which it finds by their names.

    An edit of it reruns the rule, a docstring does not.
    """
    return source_hashes(Path(workflow.basedir) / "workflow/scripts" / script, *plugins)


def memory(megabytes):
    """Memory that grows with each retry."""
    return lambda wildcards, attempt: megabytes * attempt


def previous_checkpoint(wildcards):
    """The files of the kept epoch before this one; none for the first.

    A checkpoint that is there keeps the epoch that it was trained from, so that other kept epochs, or other
    epochs_per_job, train nothing anew: its weights are the same however the chain was cut.
    """
    sidecar = Path(CHECKPOINT.format(**wildcards), "checkpoint.json")
    try:
        known = read_json(sidecar) if sidecar.exists() else {}
    except StorageError as error:
        raise WorkflowError(str(error)) from None
    epoch = known.get("previous", study.previous_epoch(int(wildcards.epoch)))
    files = ("weights.safetensors", "state.safetensors", "log.jsonl")
    return (
        []
        if epoch is None
        else expand(
            f"{CHECKPOINT}/{{file}}", **{**wildcards, "epoch": epoch}, file=files
        )
    )


def images_needed(dataset, split):
    """How many images of a split the study uses at least."""
    return study.images_needed(dataset).get(split, 0)


def environment_of(dataset):
    """The conda environment in which the images of a data set are made: its source's ENVIRONMENT, or analysis."""
    dataset = study.changed.get(dataset, dataset)
    sections = (part for _, part in study.datasets[dataset].with_parts())
    loaded = (registry.load("datasets", section.source) for section in sections)
    asked = [source.ENVIRONMENT for source in loaded if hasattr(source, "ENVIRONMENT")]
    return f"../../envs/{[*asked, 'analysis'][0]}.yaml"


def source_files(dataset):
    """The files of the sources that the images of a data set come from: of others too that it is made from."""
    names = dict.fromkeys([dataset, study.changed.get(dataset, dataset)])
    parts = (part for name in names for _, part in study.datasets[name].with_parts())
    return [registry.file_of("datasets", section.source) for section in parts]


def model_of_samples(dataset):
    """The config of the model that the training images of a data set are drawn from."""
    return study.models[study.datasets[dataset].samples_of.model]


def checkpoint_of_samples(dataset):
    """The weights that they are drawn from."""
    samples = study.datasets[dataset].samples_of
    return expand(
        f"{CHECKPOINT}/weights.safetensors",
        id=samples.dataset,
        model=samples.model,
        seed=samples.seed,
        epoch=samples.epoch,
    )


def detector_sources(script):
    """As sources(), with the detectors that the study names."""
    return sources(
        script,
        *(registry.file_of("detectors", file) for file in study.detector_files()),
    )


def all_sources():
    """As sources(), of all that the numbers follow from: not of the plots."""
    named = [
        ("kinds", study.data.kind),
        *(("models", model.architecture) for model in study.models.values()),
        *(
            ("datasets", section.source)
            for name in study.real_datasets
            for _, section in study.datasets[name].with_parts()
        ),
        *(("detectors", file) for file in study.detector_files()),
        *(("epoch_rules", rule.rule) for rule in study.epoch_rules.values()),
    ]
    stages = (
        "make_images",
        "train",
        "extract",
        *(["extract_changed"] if study.changed else []),
        "fit",
        "score",
        "evaluate",
        "layer_auroc",
        "immature",
        *(ALARMS if CALIBRATED else ()),
        *(CHOOSING_SCRIPTS if study.epoch_rules else ()),
    )
    scripts = (
        Path(workflow.basedir) / f"workflow/scripts/{stage}.py" for stage in stages
    )
    return source_hashes(*scripts, *(registry.file_of(*plugin) for plugin in named))


onstart:
    if workflow.executor_plugin.name == "slurm" and shutil.which("sbatch") is None:
        raise WorkflowError(
            "there is no sbatch here, which --profile slurm needs: run it on a login node of the cluster, or here "
            "without: snakemake --cores 2"
        )
    validity.remember(RESULTS)
    validity.remember(SHARED, anew=False)
    if workflow.local_exec:
        found = [
            *faults_of_threads(study, workflow.cores),
            *faults_of_processor(study),
        ]
        if found:
            raise WorkflowError("\n".join(found))
    # Snakemake 9 wakes its scheduler once more each second for every job that has finished, to keep to a limit of jobs a
    # timespan; in a study of hundreds of jobs that takes a good part of a core. What a person limits stays.
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def settings(rule, left_out=(), **wildcards):
    """All that the output of one of the rules follows from for some wildcards, but for its input: its params."""
    chosen = Wildcards(fromdict={key: str(value) for key, value in wildcards.items()})
    return {
        key: value(chosen) if callable(value) else value
        for key, value in workflow.get_rule(rule).params.items()
        if key not in left_out
    }


def settings_of_images(dataset):
    """All that the images of a data set follow from, read or drawn, but for a model that they are drawn from."""
    if dataset in SAMPLED:
        return settings("make_samples", samples=dataset)
    return settings("make_images", ["data_dir"], dataset=dataset)


def listed_jobs():
    """Each job as immature_ood.run takes it; those of one chain follow one another, and features their checkpoint."""
    for rule, wildcards in jobs_of_models():
        declared = workflow.get_rule(rule)
        wildcards = {key: str(value) for key, value in wildcards.items()}
        yield {
            "rule": rule,
            "script": Path(declared.script).name,
            "architecture": study.models[wildcards["model"]].architecture,
            "kind": study.data.kind,
            "wildcards": wildcards,
            "input": files_of(declared.input, wildcards),
            "output": files_of(declared.output, wildcards),
            "params": {
                name: (
                    apply_wildcards(value, wildcards)
                    if isinstance(value, str)
                    else value
                )
                for name, value in settings(rule, **wildcards).items()
            },
            "log": files_of(declared.log, wildcards),
            "benchmark": [apply_wildcards(declared.benchmark, wildcards)],
        }


def jobs_of_models():
    """(rule, wildcards) of all that is trained, and of all features."""

    def place(run):
        return tuple(run[key] for key in ("id", "model", "seed", "epoch"))

    calibrated = {place(run) for run in CALIBRATED}
    with_stand_ins = {place(run) for _, run in every_stand_in()}
    elsewhere = {}
    for run in every_fit_elsewhere():
        elsewhere.setdefault(place(run), []).append(("extract_elsewhere", run))
    for run in every_run():
        yield "train", run
        yield "extract", run
        if study.changed:
            yield "extract_changed", run
        if place(run) in calibrated:
            yield "extract_calibration", run
        if place(run) in with_stand_ins:
            yield "extract_stand_ins", run
        yield from elsewhere.get(place(run), [])


def files_of(declared, wildcards):
    """What is declared, for some wildcards: by name, or, where nothing has a name, as a list."""

    def found(item):
        if isinstance(item, list):
            return [found(each) for each in item]
        if callable(item):
            return item(Wildcards(fromdict=wildcards))
        return apply_wildcards(item, wildcards)

    named = {name: found(item) for name, item in declared.items()}
    return named or [found(item) for item in declared]


def claims():
    """What data, checkpoints and features say they were made from, and what this study makes them from."""
    for dataset in study.datasets:
        manifest = f"{DATA}/manifest.json".format(dataset=dataset)
        yield validity.Claim(
            manifest,
            lambda file=manifest: validity.metadata_of(file).get("made_from"),
            lambda dataset=dataset: settings_of_images(dataset),
            DATA.format(dataset=dataset),
        )
    for run in every_run():
        weights, features = (
            place.format(**run)
            for place in (
                f"{CHECKPOINT}/weights.safetensors",
                f"{FEATURES}/fit.safetensors",
            )
        )
        yield validity.Claim(
            weights,
            lambda file=weights: validity.metadata_of(file).get("run"),
            lambda run=run: settings("train", ["scratch"], **run),
            f"{SHARED}/checkpoints",
        )
        yield claim_of_features(features, "extract", run)
        for file in features_of_changed(run)[:1]:
            yield claim_of_features(file, "extract_changed", run)
    for run in every_fit_elsewhere():
        yield claim_of_features(FIT_ELSEWHERE.format(**run), "extract_elsewhere", run)
    for dataset in REAL if study.changes else []:
        manifest = f"{STAND_INS}/manifest.json".format(dataset=dataset)
        yield validity.Claim(
            manifest,
            lambda file=manifest: validity.metadata_of(file).get("made_from"),
            lambda dataset=dataset: settings("make_stand_ins", dataset=dataset),
            STAND_INS.format(dataset=dataset),
        )
    for file, run in every_stand_in():
        yield claim_of_features(file, "extract_stand_ins", run)
    for run in CALIBRATED:
        file = CALIBRATION_FEATURES.format(**run)
        yield claim_of_features(file, "extract_calibration", run)


def claim_of_features(file, rule, run):
    """What a file of features says it was made from, and what its rule makes it from."""
    return validity.Claim(
        file,
        lambda: validity.metadata_of(file).get("made_from"),
        lambda: settings(rule, **run),
        f"{RESULTS}/features",
    )


def every_fit_elsewhere():
    """The wildcards of the features of fit images under the model of another ID data set that some detector reads."""
    return list(
        {
            (place, own.id): place._asdict() | {"dataset": own.id}
            for own in study.places()
            for place in study.reads(own)
            if place.id != own.id
        }.values()
    )


def every_stand_in():
    """(file, wildcards) of the features of changed fit images that some epoch rule reads."""
    return [
        (f"{folder}/stand_in-{change}.safetensors", run)
        for run in every_run()
        if run["id"] in REAL and run["model"] in CHOOSING["model"]
        for folder in [FEATURES.format(**run)]
        for change in CHANGES
    ]


def features_of_changed(run):
    """The features of the sets that have another's images, changed, which are extracted together."""
    return expand(
        f"{FEATURES}/test-{{dataset}}.safetensors", dataset=study.changed, **run
    )


def every_run():
    """The wildcards of every checkpoint."""
    return (
        {"id": id, "model": model, "seed": seed, "epoch": epoch}
        for id in study.id_datasets
        for model in study.models
        for seed in study.seeds
        for epoch in study.epochs
    )


def date_back_what_other_images_made():
    """Weights of other training images, and features of other fit and test images, than are there are made anew.

    Also where a clock that was behind makes them look newer.
    """
    there = {
        f"{dataset}/{split}": described["sha256"]
        for dataset in study.datasets
        for split, described in validity.splits_of(
            f"{DATA}/manifest.json".format(dataset=dataset)
        )
    }
    for run in every_run():
        weights = f"{CHECKPOINT}/weights.safetensors".format(**run)
        of_run = validity.metadata_of(weights).get("run", {})
        used = {f"{run['id']}/train": of_run.get("train_sha256")}
        validity.date_back_if_other(weights, used, there)
    for features in (
        *(f"{FEATURES}/fit.safetensors".format(**run) for run in every_run()),
        *(file for run in every_run() for file in features_of_changed(run)),
        *(FIT_ELSEWHERE.format(**run) for run in every_fit_elsewhere()),
        *(file for file, _ in every_stand_in()),
        *(CALIBRATION_FEATURES.format(**run) for run in CALIBRATED),
    ):
        used = validity.metadata_of(features).get("made_from", {}).get("pixels", {})
        validity.date_back_if_other(features, used, there)
