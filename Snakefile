# The table of contents of a study: images -> checkpoints -> layer-wise gradient norms -> scores -> tables and plots.
# The study is the config.yaml beside this file, wherever Snakemake runs, or the file given by --configfile.
from pathlib import Path

from snakemake.logging import logger
from snakemake.utils import min_version

min_version("9.0")

if not workflow.config_settings.configfiles:

    configfile: f"{workflow.basedir}/config.yaml"

    if workflow.is_main_process and not Path(workflow.basedir).samefile("."):
        logger.info(f"The study is that of {workflow.basedir}/config.yaml.")
        if Path("config.yaml").exists():
            logger.warning(
                "The config.yaml here is not read: give --configfile config.yaml."
            )


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/alarms.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/epoch_choice.smk"
include: "workflow/rules/elsewhere.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/validity.smk"


# localrule: on a cluster the job runs where Snakemake does: it takes seconds, or (make_images) needs the internet.
report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        TABLES,
        PLOTS,
        f"{RESULTS}/report.html",
    localrule: True


rule data:
    input:
        expand(f"{DATA}/manifest.json", dataset=study.datasets),
    localrule: True


rule jobs:
    input:
        f"{RESULTS}/jobs.json",
    localrule: True


rule checkpoints:
    input:
        every_checkpoint(f"{CHECKPOINT}/weights.safetensors"),
    localrule: True


rule features:
    input:
        every_checkpoint(f"{FEATURES}/fit.safetensors"),
        [file for run in every_run() for file in features_of_changed(run)],
        [FIT_ELSEWHERE.format(**run) for run in every_fit_elsewhere()],
        [CALIBRATION_FEATURES.format(**run) for run in CALIBRATED],
    localrule: True


rule scores:
    input:
        every_scored(f"{SCORES}/scores.safetensors"),
        [f"{SCORES}/calibration.safetensors".format(**run) for run in CALIBRATED],
    localrule: True


rule tables:
    input:
        TABLES,
    localrule: True


rule plots:
    input:
        PLOTS,
    localrule: True
