# Scores: detectors fitted on the ID fit set, and what they say of every test set. NumPy only.


rule fit:
    input:
        lambda wildcards: features_read(
            wildcards,
            (
                f"test-{study.original(wildcards.id)}.safetensors"
                if study.fit_set == "test"
                else "fit.safetensors"
            ),
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
        reads=lambda wildcards: study.readings(place_of(wildcards)),
        source=detector_sources("fit.py"),
    script:
        "../scripts/fit.py"


rule score:
    input:
        fitted=f"{SCORES}/fitted.safetensors",
        fit=lambda wildcards: features_read(wildcards, "fit.safetensors"),
        test=lambda wildcards: [
            path
            for dataset in study.real_datasets
            for path in features_read(wildcards, f"test-{dataset}.safetensors")
        ],
    output:
        scores=f"{SCORES}/scores.safetensors",
        costs=f"{SCORES}/costs.json",
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
