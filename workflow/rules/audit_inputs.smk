# The studies that audit.smk compares with this one, and their scores; functions stand apart, as snakemake --lint asks.
import subprocess

from immature_ood.config_file import read_config
from immature_ood.counterparts import audit_faults, choice, counterparts


@cache
def audited(path):
    """The study of a config file that is compared with this one."""
    try:
        return plan(read_config(Path(workflow.basedir) / path), here=False)
    except StudyError as error:
        raise WorkflowError(f"audits: {path} is not a study:\n{error}") from None


if found := audit_faults(study, [(path, audited(path)) for path in study.audits]):
    raise WorkflowError("\n".join(["the study is not valid:", *found]))


def scores_of_audit(path):
    """An input function: the scores of another study, which has been run as its config has it now."""

    def files(wildcards):
        other = audited(path)
        pattern = SCORES.replace(RESULTS, f"results/{other.name}")
        found = expand(
            f"{pattern}/scores.safetensors",
            id=other.id_datasets,
            model=other.models,
            seed=other.seeds,
            epoch=other.epochs,
        )
        run_first = f"run first: snakemake scores --configfile {path} --cores 1"
        missing = [file for file in found if not Path(file).exists()]
        if missing and other.name != study.name:
            raise WorkflowError(f"{missing[0]} is not there; {run_first}")
        if other.name != study.name and to_be_done(path):
            raise WorkflowError(
                f"results/{other.name}: its scores are not those of {path} as it is now; {run_first}"
            )
        return found

    return files


@cache
def to_be_done(path):
    """Whether a dry run of another study finds a job for its scores: asked once, where the graph is built."""
    if not workflow.is_main_process:
        return False
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "host"]
    files = [
        "--snakefile",
        workflow.main_snakefile,
        "--configfile",
        Path(workflow.basedir) / path,
    ]
    done = subprocess.run(
        [*command, *files, "--cores", "1", "--", "scores"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise WorkflowError(f"audits: {path}:\n{done.stdout}{done.stderr}")
    return "Nothing to be done" not in done.stdout + done.stderr
