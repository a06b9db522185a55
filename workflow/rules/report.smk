# Results: tables of AUROC with intervals, the test of the claim, and figures made from tables and small arrays alone.

TABLE = f"{RESULTS}/tables"
PLOT = f"{RESULTS}/plots"
TABLES = [
    f"{TABLE}/auroc.csv",
    f"{TABLE}/immature.csv",
    *expand(
        f"{TABLE}/auroc_{{id}}.{{form}}",
        id=study.id_datasets,
        form=["csv", "md", "html"],
    ),
]


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
