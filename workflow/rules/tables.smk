# Tables: AUROC with intervals for each ID data set, the test of the claim, AUROC layer by layer, and what
# it is compared with: overlap and published numbers.
import math

from immature_ood.counterparts import published_names

# What a table follows from that is not about controls or calibration images.
EVALUATION = study.evaluation.model_dump(
    exclude={"controls", "reference", "calibration_images", "drift"}
)
REAL = [name for name in study.id_datasets if name in study.real_datasets]


rule evaluate:
    input:
        scores=lambda wildcards: every_scored(
            f"{SCORES}/scores.safetensors", id=wildcards.id
        ),
        sidecars=of_id_dataset(f"{CHECKPOINT}/checkpoint.json"),
        training=f"{TABLE}/training_{{id}}.csv",
    output:
        f"{TABLE}/auroc_{{id}}.csv",
    log:
        f"{LOGS}/evaluate/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{id}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        source=sources("evaluate.py"),
    script:
        "../scripts/evaluate.py"


rule layer_auroc:
    input:
        fitted=of_id_dataset(f"{SCORES}/fitted.safetensors"),
        test=lambda wildcards: [
            f"{folder}/test-{dataset}.safetensors"
            for folder in every_checkpoint(FEATURES, id=wildcards.id)
            for dataset in study.real_datasets
        ],
    output:
        f"{TABLE}/layers_{{id}}.csv",
    log:
        f"{LOGS}/layer_auroc/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/layer_auroc/{{id}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        source=detector_sources("layer_auroc.py"),
    script:
        "../scripts/layer_auroc.py"


rule immature:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors"),
        training=expand(f"{TABLE}/training_{{id}}.csv", id=study.id_datasets),
    output:
        f"{TABLE}/immature.csv",
    log:
        f"{LOGS}/immature.log",
    benchmark:
        f"{BENCHMARKS}/immature.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        source=sources("immature.py"),
    script:
        "../scripts/immature.py"


rule means:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors", id=REAL),
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=REAL),
        training=expand(f"{TABLE}/training_{{id}}.csv", id=REAL),
    output:
        f"{TABLE}/means.csv",
    log:
        f"{LOGS}/means.log",
    benchmark:
        f"{BENCHMARKS}/means.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        controls=study.controls,
        names={name: study.images_of(name) for name in study.real_datasets},
        source=sources("means.py"),
    script:
        "../scripts/means.py"


rule claim:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors", id=REAL),
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=REAL),
        immature=f"{TABLE}/immature.csv",
        training=expand(f"{TABLE}/training_{{id}}.csv", id=REAL),
    output:
        f"{TABLE}/claim.csv",
    log:
        f"{LOGS}/claim.log",
    benchmark:
        f"{BENCHMARKS}/claim.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        controls=study.controls,
        names={name: study.images_of(name) for name in study.real_datasets},
        one_pass=study.training.epochs_per_pass,
        source=sources("claim.py"),
    script:
        "../scripts/claim.py"


rule tiers:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors", id=REAL),
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=REAL),
        training=expand(f"{TABLE}/training_{{id}}.csv", id=REAL),
    output:
        csv=f"{TABLE}/tiers.csv",
        text=f"{TABLE}/tiers.txt",
    log:
        f"{LOGS}/tiers.log",
    benchmark:
        f"{BENCHMARKS}/tiers.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        controls=study.controls,
        near=study.near_pairs,
        names={name: study.stands_for(name) for name in study.real_datasets},
        one_pass=study.training.epochs_per_pass,
        source=sources("tiers.py"),
    script:
        "../scripts/tiers.py"


rule detector_table:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors", id=REAL),
        costs=every_scored(f"{SCORES}/costs.json", id=REAL),
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=REAL),
        sidecars=every_checkpoint(f"{CHECKPOINT}/checkpoint.json", id=REAL),
        features=expand(f"{RESULTS}/costs/{{model}}.json", model=study.models),
    output:
        f"{TABLE}/detectors.csv",
    log:
        f"{LOGS}/detector_table.log",
    benchmark:
        f"{BENCHMARKS}/detector_table.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        controls=study.controls,
        reference=study.reference,
        names={name: study.images_of(name) for name in study.real_datasets},
        source=sources("detector_table.py"),
    script:
        "../scripts/detector_table.py"


rule training_log:
    input:
        logs=lambda wildcards: every_checkpoint(
            f"{CHECKPOINT}/log.jsonl", id=wildcards.id, epoch=study.epochs[-1]
        ),
        sidecars=of_id_dataset(f"{CHECKPOINT}/checkpoint.json"),
        held_out=of_id_dataset(f"{CHECKPOINT}/held_out.npy"),
        manifest=of_original(f"{DATA}/manifest.json"),
    output:
        f"{TABLE}/training_{{id}}.csv",
    log:
        f"{LOGS}/training_log/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/training_log/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        confidence=study.evaluation.confidence,
        source=sources("training_log.py"),
    script:
        "../scripts/training_log.py"


rule render_table:
    input:
        auroc=f"{TABLE}/auroc_{{id}}.csv",
    output:
        markdown=f"{TABLE}/auroc_{{id}}.md",
        html=report(
            f"{TABLE}/auroc_{{id}}.html",
            caption="../report/auroc_table.rst",
            category="Tables",
            labels={"ID": "{id}", "what": "AUROC"},
        ),
    log:
        f"{LOGS}/render_table/{{id}}.log",
    benchmark:
        f"{BENCHMARKS}/render_table/{{id}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        controls=study.controls,
        source=sources("render_table.py"),
    script:
        "../scripts/render_table.py"


rule summary:
    input:
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=study.id_datasets),
        claim=f"{TABLE}/claim.csv",
        means=f"{TABLE}/means.csv",
        detectors=f"{TABLE}/detectors.csv",
        tiers=f"{TABLE}/tiers.csv",
        training=expand(f"{TABLE}/training_{{id}}.csv", id=study.id_datasets),
        manifests=expand(f"{DATA}/manifest.json", dataset=study.real_datasets),
    output:
        auroc=f"{TABLE}/auroc.csv",
        training=f"{TABLE}/training.csv",
        text=f"{TABLE}/summary.txt",
        html=report(
            f"{TABLE}/summary.html",
            caption="../report/summary.rst",
            category="Tables",
            labels={"ID": "all", "what": "AUROC and the claim"},
        ),
    log:
        f"{LOGS}/summary.log",
    benchmark:
        f"{BENCHMARKS}/summary.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        study=study.name,
        margin=study.evaluation.margin,
        controls=study.controls,
        source=sources("summary.py"),
    script:
        "../scripts/summary.py"


rule dataset_table:
    input:
        expand(f"{DATA}/manifest.json", dataset=study.real_datasets),
    output:
        f"{TABLE}/datasets.csv",
    log:
        f"{LOGS}/dataset_table.log",
    benchmark:
        f"{BENCHMARKS}/dataset_table.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("dataset_table.py"),
    script:
        "../scripts/dataset_table.py"


rule overlap:
    input:
        scores=every_checkpoint(f"{SCORES}/scores.safetensors"),
        auroc=f"{TABLE}/auroc.csv",
    output:
        overlap=f"{TABLE}/overlap.csv",
        correlation=report(
            f"{TABLE}/overlap_correlation.csv",
            caption="../report/overlap_correlation.rst",
            category="Overlap",
            labels={
                "ID": "all",
                "model": "all",
                "what": "rank correlation with AUROC",
            },
        ),
    log:
        f"{LOGS}/overlap.log",
    benchmark:
        f"{BENCHMARKS}/overlap.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        dimensions=study.data.dimensions,
        names={name: study.images_of(name) for name in study.datasets},
        source=sources("overlap.py"),
    script:
        "../scripts/overlap.py"


rule published:
    input:
        auroc=f"{TABLE}/auroc.csv",
        overlap=[f"{TABLE}/overlap.csv"] if "likelihood" in study.detectors else [],
        reference=[
            os.path.relpath(
                f"{workflow.basedir}/reference/{file}"
            )  # the report shows it
            for file in (
                "author_auroc_rgb.csv",
                "author_bits_per_dim.csv",
                "baselines_glow_auroc.csv",
            )
        ],
    output:
        csv=f"{TABLE}/published.csv",
        html=report(
            f"{TABLE}/published.html",
            caption="../report/published.rst",
            category="Tables",
            labels={"ID": "all", "what": "beside published numbers"},
        ),
    log:
        f"{LOGS}/published.log",
    benchmark:
        f"{BENCHMARKS}/published.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        names=published_names(study),
        source=sources("published.py"),
    script:
        "../scripts/published.py"


rule samples_table:
    input:
        every_checkpoint(f"{SCORES}/scores.safetensors"),
    output:
        f"{TABLE}/samples.csv",
    log:
        f"{LOGS}/samples_table.log",
    benchmark:
        f"{BENCHMARKS}/samples_table.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        originals={
            name: study.original(name)
            for name in study.id_datasets
            if name not in study.real_datasets
        },
        evaluation=EVALUATION,
        source=sources("samples_table.py"),
    script:
        "../scripts/samples_table.py"


rule dial_table:
    input:
        expand(f"{TABLE}/auroc_{{id}}.csv", id=DIALLED),
    output:
        f"{TABLE}/dials.csv",
    log:
        f"{LOGS}/dial_table.log",
    benchmark:
        f"{BENCHMARKS}/dial_table.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        dials=DIALS,
        source=sources("dial_table.py"),
    script:
        "../scripts/dial_table.py"


rule provenance:
    input:
        manifests=expand(f"{DATA}/manifest.json", dataset=study.datasets),
        sidecars=every_checkpoint(f"{CHECKPOINT}/checkpoint.json"),
    output:
        f"{RESULTS}/provenance.json",
    log:
        f"{LOGS}/provenance.log",
    benchmark:
        f"{BENCHMARKS}/provenance.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        study=study.model_dump(mode="json"),
        sources=all_sources(),
        source=sources("provenance.py", SOURCE / "immature_ood/provenance.py"),
    script:
        "../scripts/provenance.py"
