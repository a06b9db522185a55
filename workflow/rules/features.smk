# Features of one checkpoint on every split that is used: what the detectors need, such as layer-wise gradient norms; and
# what they cost.


rule extract:
    input:
        weights=f"{CHECKPOINT}/weights.safetensors",
        fit=of_original(f"{DATA}/fit.npy"),
        test=expand(f"{DATA}/test.npy", dataset=study.own_datasets),
        manifests=expand(f"{DATA}/manifest.json", dataset=study.own_datasets),
    output:
        fit=f"{FEATURES}/fit.safetensors",
        test=expand(
            f"{FEATURES}/test-{{dataset}}.safetensors",
            dataset=study.own_datasets,
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
        device=study.device,
        mem_mb=memory(4000),
        runtime=240,
    params:
        threads=study.threads,
        data=study.data.model_dump(),
        features=study.features.model_dump(exclude={"layers"}),
        layers=lambda wildcards: layers_of_features(),
        statistics=statistics_of,
        datasets=study.own_datasets,
        original=lambda wildcards: study.original(wildcards.id),
        source=lambda wildcards: sources(
            "extract.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/extract.py"


# What the model of one ID data set says of the fit images of another, where a detector asks for it.
use rule extract as extract_elsewhere with:
    input:
        weights=f"{CHECKPOINT}/weights.safetensors",
        fit=f"{DATA}/fit.npy",
        test=[],
        manifests=[f"{DATA}/manifest.json"],
    output:
        fit=FIT_ELSEWHERE,
        test=[],
    log:
        f"{LOGS}/extract/{RUN}/epoch={{epoch}}-{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/extract/{RUN}/epoch={{epoch}}-{{dataset}}.tsv"
    params:  # and what else extract has
        datasets=[],
        original=lambda wildcards: wildcards.dataset,


if study.changed:

    # An image takes the random numbers of the set that it is from: where nothing of it is changed, nothing is.
    rule extract_changed:
        input:
            weights=f"{CHECKPOINT}/weights.safetensors",
            test=expand(f"{DATA}/test.npy", dataset=study.changed),
            manifests=expand(f"{DATA}/manifest.json", dataset=study.changed),
        output:
            test=expand(
                f"{FEATURES}/test-{{dataset}}.safetensors",
                dataset=study.changed,
                allow_missing=True,
            ),
        log:
            f"{LOGS}/extract_changed/{RUN}/epoch={{epoch}}.log",
        benchmark:
            f"{BENCHMARKS}/extract_changed/{RUN}/epoch={{epoch}}.tsv"
        conda:
            "../../envs/torch.yaml"
        threads: study.threads
        resources:
            gpu=GPUS,
            device=study.device,
            mem_mb=memory(4000),
            runtime=240,
        params:
            threads=study.threads,
            data=study.data.model_dump(),
            features=study.features.model_dump(exclude={"layers"}),
            layers=lambda wildcards: layers_of_features(),
            statistics=statistics_of,
            changed=[[*each] for each in study.changed.items()],  # in order, also in JSON
            source=lambda wildcards: sources(
                "extract_changed.py",
                registry.file_of("models", study.models[wildcards.model].architecture),
                KIND,
            ),
        script:
            "../scripts/extract_changed.py"


# Of images of the ID fit set that no detector is fitted on, where the study asks for p-values.
rule extract_calibration:
    input:
        weights=f"{CHECKPOINT}/weights.safetensors",
        fit=of_original(f"{DATA}/fit.npy"),
        manifest=of_original(f"{DATA}/manifest.json"),
    output:
        CALIBRATION_FEATURES,
    log:
        f"{LOGS}/extract_calibration/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/extract_calibration/{RUN}/epoch={{epoch}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: study.threads
    resources:
        gpu=GPUS,
        device=study.device,
        mem_mb=memory(4000),
        runtime=120,
    params:
        threads=study.threads,
        data=study.data.model_dump(),
        features=study.features.model_dump(exclude={"layers", "test_images"}),
        calibration_images=study.evaluation.calibration_images,
        layers=lambda wildcards: layers_of_features(),
        statistics=statistics_of,
        original=lambda wildcards: study.original(wildcards.id),
        source=lambda wildcards: sources(
            "extract_calibration.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/extract_calibration.py"


rule measure:
    input:
        weights=every_checkpoint(
            f"{CHECKPOINT}/weights.safetensors",
            id=study.id_datasets[0],
            model="{model}",
            seed=study.seeds[0],
            epoch=study.epochs[-1],
        )[0],
        test=f"{DATA}/test.npy".format(dataset=study.original(study.id_datasets[0])),
    output:
        f"{RESULTS}/costs/{{model}}.json",
    log:
        f"{LOGS}/measure/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/measure/{{model}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: study.threads
    resources:
        gpu=GPUS,
        device=study.device,
        mem_mb=memory(4000),
        runtime=60,
    params:
        threads=study.threads,
        data=study.data.model_dump(),
        features=study.features.model_dump(exclude={"layers"}),
        needs=lambda wildcards: {
            name: config.needs()
            for name, config in study.detectors_of(wildcards.model).items()
        },
        layers={
            name: "all" if config.reads_weights() else "without_weights"
            for name, config in study.detectors.items()
        },
        source=lambda wildcards: sources(
            "measure.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/measure.py"
