# Images: one folder a data set, disjoint train / fit / test splits and a manifest; or training images from a model.


rule make_images:
    output:
        train=f"{DATA}/train.npy",
        fit=f"{DATA}/fit.npy",
        test=f"{DATA}/test.npy",
        manifest=f"{DATA}/manifest.json",
    log:
        f"{SHARED}/logs/make_images/{{dataset}}.log",
    benchmark:
        f"{SHARED}/benchmarks/make_images/{{dataset}}.tsv"
    localrule: True
    conda:
        lambda wildcards: environment_of(wildcards.dataset)
    resources:
        mem_mb=memory(2000),
        runtime=60,
        # Resources, since another number makes no image anew.
        train_images=lambda wildcards: images_needed(wildcards.dataset, "train"),
        fit_images=lambda wildcards: images_needed(wildcards.dataset, "fit"),
        together=math.lcm(*study.features.batch_sizes),
    params:
        config=lambda wildcards: study.datasets[wildcards.dataset].model_dump(
            exclude={"augmentation", "near", "stands_for"}
        ),
        data_dir=study.data_dir,
        pictures=lambda wildcards: study.datasets[wildcards.dataset].contents(),
        data=study.data.model_dump(),
        source=lambda wildcards: sources(
            "make_images.py",
            *source_files(wildcards.dataset),
            KIND,
        ),
    script:
        "../scripts/make_images.py"


rule make_samples:
    input:
        lambda wildcards: checkpoint_of_samples(wildcards.samples),
    output:
        train=f"{SHARED}/data/{{samples}}/train.npy",
        manifest=f"{SHARED}/data/{{samples}}/manifest.json",
    log:
        f"{SHARED}/logs/make_samples/{{samples}}.log",
    benchmark:
        f"{SHARED}/benchmarks/make_samples/{{samples}}.tsv"
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
        images=lambda wildcards: study.datasets[wildcards.samples].train,
        samples=lambda wildcards: study.datasets[
            wildcards.samples
        ].samples_of.model_dump(),
        source=lambda wildcards: sources(
            "make_samples.py",
            registry.file_of(
                "models", model_of_samples(wildcards.samples).architecture
            ),
            KIND,
        ),
    script:
        "../scripts/make_samples.py"
