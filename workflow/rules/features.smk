# Features: layer-wise gradient norms and log-likelihoods of one checkpoint on every split that is used.


rule extract:
    input:
        weights=f"{CHECKPOINT}/weights.safetensors",
        fit=f"{RESULTS}/data/{{id}}/fit.npy",
        test=expand(f"{RESULTS}/data/{{dataset}}/test.npy", dataset=study.datasets),
    output:
        fit=f"{FEATURES}/fit.safetensors",
        test=expand(
            f"{FEATURES}/test-{{dataset}}.safetensors",
            dataset=study.datasets,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/extract/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/extract/{RUN}/epoch={{epoch}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: study.threads
    resources:
        gpu=GPUS,
        mem_mb=memory(4000),
        runtime=240,
    params:
        device=study.device,
        features=study.features.model_dump(),
        datasets=[*study.datasets],
        source=lambda wildcards: sources(
            "extract.py", f"models/{study.models[wildcards.model].architecture}"
        ),
    script:
        "../scripts/extract.py"
