# Scores: detectors fitted on the ID fit set, and what they say of every test set. NumPy only.


rule fit:
    input:
        (
            of_original(f"{FEATURES}/test-{{dataset}}.safetensors")
            if study.fit_set == "test"
            else f"{FEATURES}/fit.safetensors"
        ),
    output:
        f"{SCORES}/fitted.safetensors",
    log:
        f"{LOGS}/fit/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/fit/{RUN}/epoch={{epoch}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        detectors={
            name: config.model_dump() for name, config in study.detectors.items()
        },
        source=detector_sources("fit.py"),
    script:
        "../scripts/fit.py"


rule score:
    input:
        fitted=f"{SCORES}/fitted.safetensors",
        fit=f"{FEATURES}/fit.safetensors",
        test=expand(
            f"{FEATURES}/test-{{dataset}}.safetensors",
            dataset=study.real_datasets,
            allow_missing=True,
        ),
    output:
        f"{SCORES}/scores.safetensors",
    log:
        f"{LOGS}/score/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/score/{RUN}/epoch={{epoch}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        source=detector_sources("score.py"),
    script:
        "../scripts/score.py"
