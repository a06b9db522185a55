# Checkpoints: a chain of segments, one a kept epoch, each going on from the one before.


rule train:
    input:
        train=f"{SHARED}/data/{{id}}/train.npy",
        fit=of_original(f"{DATA}/fit.npy"),
        previous=previous_checkpoint,
    output:
        weights=f"{CHECKPOINT}/weights.safetensors",
        state=f"{CHECKPOINT}/state.safetensors",
        log=f"{CHECKPOINT}/log.jsonl",
        samples=f"{CHECKPOINT}/samples.npy",
        sidecar=f"{CHECKPOINT}/checkpoint.json",
    log:
        f"{SHARED}/logs/train/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{SHARED}/benchmarks/train/{RUN}/epoch={{epoch}}.tsv"
    # Training is the longest way through the graph.
    priority: 10
    conda:
        "../../envs/torch.yaml"
    threads: study.threads
    resources:
        gpu=GPUS,
        mem_mb=memory(4000),
        runtime=720,
    params:
        model=lambda wildcards: study.models[wildcards.model].model_dump(),
        device=study.device,
        training=study.training.model_dump(),
        augmentation=lambda wildcards: study.datasets[
            wildcards.id
        ].augmentation.model_dump(),
        shape=study.image.shape,
        fit_images=study.features.fit_images,
        scratch=f"{SHARED}/checkpoints/{RUN}/.scratch",
        source=lambda wildcards: sources(
            "train.py", f"models/{study.models[wildcards.model].architecture}"
        ),
    script:
        "../scripts/train.py"
