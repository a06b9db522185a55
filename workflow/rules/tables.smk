# Tables: AUROC with bootstrap intervals for each ID data set, the test of the claim, AUROC layer by layer.


rule evaluate:
    input:
        scores=of_id_dataset(f"{SCORES}/scores.safetensors"),
        sidecars=of_id_dataset(f"{CHECKPOINT}/checkpoint.json"),
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
        evaluation=study.evaluation.model_dump(),
        source=sources("evaluate.py"),
    script:
        "../scripts/evaluate.py"


rule layer_auroc:
    input:
        fitted=of_id_dataset(f"{SCORES}/fitted.safetensors"),
        test=lambda wildcards: [
            f"{folder}/test-{dataset}.safetensors"
            for folder in every_checkpoint(FEATURES, id=wildcards.id)
            for dataset in study.datasets
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
        every_checkpoint(f"{SCORES}/scores.safetensors"),
    output:
        f"{TABLE}/immature.csv",
    log:
        f"{LOGS}/immature.log",
    benchmark:
        f"{BENCHMARKS}/immature.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=study.evaluation.model_dump(),
        source=sources("immature.py"),
    script:
        "../scripts/immature.py"


rule training_log:
    input:
        logs=every_checkpoint(f"{CHECKPOINT}/log.jsonl", epoch=study.epochs[-1]),
        sidecars=every_checkpoint(
            f"{CHECKPOINT}/checkpoint.json", epoch=study.epochs[-1]
        ),
    output:
        f"{TABLE}/training.csv",
    log:
        f"{LOGS}/training_log.log",
    benchmark:
        f"{BENCHMARKS}/training_log.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
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
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("render_table.py"),
    script:
        "../scripts/render_table.py"


rule summary:
    input:
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=study.id_datasets),
        immature=f"{TABLE}/immature.csv",
    output:
        auroc=f"{TABLE}/auroc.csv",
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
    conda:
        "../../envs/analysis.yaml"
    params:
        study=study.name,
        source=sources("summary.py"),
    script:
        "../scripts/summary.py"


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
    conda:
        "../../envs/analysis.yaml"
    params:
        study=study.model_dump(mode="json"),
        sources=all_sources(),
    script:
        "../scripts/provenance.py"
