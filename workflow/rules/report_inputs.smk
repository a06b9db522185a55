# What the report is made from, and what the study asked for; functions stand apart, as snakemake --lint asks.
import hashlib
import shlex

REPORTED = [
    "auroc",
    "claim",
    "immature",
    "means",
    "detectors",
    "training",
    "datasets",
    "published",
]
OVERLAP = ["overlap", "overlap_correlation"] if "likelihood" in study.detectors else []
LAYERED = study.id_datasets if "gradient_norms" in study.detectors else []


def settings_of_page():
    """What the page says of the study, but for its kind of data."""
    return {
        "name": study.name,
        "models": [*study.models],
        "detectors": [*study.detectors],
        "batch_sizes": study.features.batch_sizes,
        "command": command_of_study(),
        "folder": RESULTS,
        "controls": study.controls,
        "reference": study.reference,
        "one_pass": study.training.epochs_per_pass,
        "margin": study.evaluation.margin,
    }


def command_of_study():
    """What runs the study from here; a file elsewhere is named by its name alone."""
    files = [os.path.relpath(file) for file in workflow.configfiles]
    named = [Path(file).name if file.startswith("..") else file for file in files]
    return shlex.join(
        ["snakemake", "--cores", "1", *(["--configfile", *named] if named else [])]
    )


def parts_of_page():
    """A hash of the files that the page is made with, which are no Python."""
    parts = sorted((SOURCE / "immature_ood/report/parts").iterdir())
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[
        :12
    ]
