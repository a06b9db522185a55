# The table of contents of a study: images -> checkpoints -> layer-wise gradient norms -> scores -> tables and plots.
# The study is config.yaml, or the file given by --configfile.
from snakemake.utils import min_version

min_version("9.0")

if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/plots.smk"


report: "workflow/report/workflow.rst"


# On a cluster these run where Snakemake does: seconds each, and the download needs the internet.
localrules:
    all,
    data,
    checkpoints,
    features,
    scores,
    tables,
    plots,
    download,
    fit,
    score,
    render_table,
    immature,
    means,
    training_log,
    summary,
    provenance,
    dataset_table,
    overlap,
    published,
    samples_table,
    audit,
    plot_overlap,
    plot_auroc,
    plot_headline,
    plot_scores,
    plot_layers,
    plot_training,
    plot_samples,
    plot_datasets,


rule all:
    default_target: True
    input:
        TABLES,
        PLOTS,


rule data:
    input:
        expand(f"{DATA}/manifest.json", dataset=study.datasets),


rule checkpoints:
    input:
        every_checkpoint(f"{CHECKPOINT}/weights.safetensors"),


rule features:
    input:
        every_checkpoint(f"{FEATURES}/fit.safetensors"),


rule scores:
    input:
        every_checkpoint(f"{SCORES}/scores.safetensors"),


rule tables:
    input:
        TABLES,


rule plots:
    input:
        PLOTS,
