# Images: one folder a data set, disjoint train / fit / test splits and a manifest.


rule download:
    output:
        train=f"{DATA}/train.npy",
        fit=f"{DATA}/fit.npy",
        test=f"{DATA}/test.npy",
        manifest=f"{DATA}/manifest.json",
    log:
        f"{LOGS}/download/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/download/{{dataset}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        config=lambda wildcards: study.datasets[wildcards.dataset].model_dump(
            exclude={"augmentation"}
        ),
        data_dir=study.data_dir,
        image=study.image.model_dump(),
        source=lambda wildcards: sources(
            "download.py", f"datasets/{study.datasets[wildcards.dataset].source}"
        ),
    script:
        "../scripts/download.py"
