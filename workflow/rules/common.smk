# The checked study, the paths (which read like the graph), and the functions that the rules share.
import os
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

from immature_ood.provenance import source_hashes
from immature_ood.storage import StorageError, check_writable
from immature_ood.study import Study, StudyError

try:
    study = Study.parse(config)
except StudyError as error:
    raise WorkflowError(f"the study is not valid:\n{error}") from None

RESULTS = f"results/{study.name}"
try:
    check_writable(RESULTS)
except StorageError as error:
    raise WorkflowError(str(error)) from None

# For a scheduler; a site that wants another form: see docs/cluster.md.
GPUS = 1 if study.device == "cuda" else 0

DATA = f"{RESULTS}/data/{{dataset}}"
RUN = "{id}/{model}/seed={seed}"
CHECKPOINT = f"{RESULTS}/checkpoints/{RUN}/epoch={{epoch}}"
FEATURES = f"{RESULTS}/features/{RUN}/epoch={{epoch}}"
SCORES = f"{RESULTS}/scores/{RUN}/epoch={{epoch}}"
TABLE = f"{RESULTS}/tables"
PLOT = f"{RESULTS}/plots/{{model}}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"

TABLES = [
    f"{TABLE}/auroc.csv",
    f"{TABLE}/immature.csv",
    f"{TABLE}/training.csv",
    f"{TABLE}/summary.txt",
    f"{TABLE}/summary.html",
    *expand(
        f"{TABLE}/auroc_{{id}}.{{form}}",
        id=study.id_datasets,
        form=["csv", "md", "html"],
    ),
    *expand(f"{TABLE}/layers_{{id}}.csv", id=study.id_datasets),
    f"{RESULTS}/provenance.json",
]
PLOTS = [
    f"{RESULTS}/plots/datasets.png",
    *expand(
        f"{PLOT}/{{figure}}.{{form}}",
        model=study.models,
        figure=["headline", "bits_per_dim"],
        form=["png", "pdf"],
    ),
    *expand(
        f"{PLOT}/{{figure}}_{{id}}.png",
        model=study.models,
        id=study.id_datasets,
        figure=["auroc_by_epoch", "auroc_by_cost", "samples"],
    ),
    *expand(
        f"{PLOT}/{{figure}}_b={{b}}.png",
        model=study.models,
        figure=[
            f"{kind}_{id}" + (f"_{detector}" if kind == "scores" else "")
            for id in study.id_datasets
            for kind in ("layers", "scores")
            for detector in (study.detectors if kind == "scores" else [None])
        ],
        b=study.features.batch_sizes,
    ),
]


wildcard_constraints:
    dataset="|".join(map(re.escape, study.datasets)),
    id="|".join(map(re.escape, study.id_datasets)),
    model="|".join(map(re.escape, study.models)),
    seed=r"\d+",
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


def of_id_dataset(pattern):
    """An input function: the paths of a pattern for all checkpoints of the wildcard {id}."""
    return lambda wildcards: every_checkpoint(pattern, id=wildcards.id)


@cache
def sources(script, *modules):
    """Hashes of the syntax of everything a script reaches: an edit of it reruns the rule, a docstring does not."""
    paths = [Path(workflow.basedir) / "workflow/scripts" / script]
    return source_hashes(
        *paths, *(SOURCE / "immature_ood" / f"{module}.py" for module in modules)
    )


def memory(megabytes):
    """Memory that grows with each retry."""
    return lambda wildcards, attempt: megabytes * attempt


def previous_checkpoint(wildcards):
    """The files of the kept epoch before this one; none for the first."""
    epoch = study.previous_epoch(int(wildcards.epoch))
    files = ("weights.safetensors", "state.safetensors", "log.jsonl")
    return (
        []
        if epoch is None
        else expand(
            f"{CHECKPOINT}/{{file}}", **{**wildcards, "epoch": epoch}, file=files
        )
    )


def detector_sources(script):
    """As sources(), with the detectors that the study names."""
    return sources(script, *(f"detectors/{detector}" for detector in study.detectors))


def all_sources():
    """As sources(), of all that the numbers follow from: not of the plots."""
    named = [
        *(f"models/{model.architecture}" for model in study.models.values()),
        *(f"datasets/{dataset.source}" for dataset in study.datasets.values()),
        *(f"detectors/{detector}" for detector in study.detectors),
    ]
    stages = (
        "download",
        "train",
        "extract",
        "fit",
        "score",
        "evaluate",
        "layer_auroc",
        "immature",
    )
    scripts = (
        Path(workflow.basedir) / f"workflow/scripts/{stage}.py" for stage in stages
    )
    return source_hashes(
        *scripts,
        *(SOURCE / "immature_ood" / f"{module}.py" for module in named),
    )
