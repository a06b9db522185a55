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
        sidecar=f"{CHECKPOINT}/checkpoint.json",
        held_out=f"{CHECKPOINT}/held_out.npy",
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
        device=study.device,
        mem_mb=memory(4000),
        runtime=720,
    params:
        model=lambda wildcards: study.model_of_run(wildcards.model),
        threads=study.threads,
        training=lambda wildcards: study.training_of(wildcards.model).model_dump(),
        augmentation=lambda wildcards: study.datasets[
            wildcards.id
        ].augmentation.model_dump(),
        data=study.data.model_dump(),
        stands_for=lambda wildcards: study.stands_for(wildcards.id),
        scratch=f"{SHARED}/checkpoints/{RUN}/.scratch",
        source=lambda wildcards: sources(
            "train.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/train.py"


rule draw_samples:
    input:
        lambda wildcards: every_checkpoint(
            f"{CHECKPOINT}/weights.safetensors", **{**wildcards}
        ),
    output:
        expand(
            f"{RESULTS}/samples/{RUN}/epoch={{epoch}}.npy",
            epoch=study.epochs,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/draw_samples/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/draw_samples/{RUN}.tsv"
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
        number=study.samples,
        data=study.data.model_dump(),
        source=lambda wildcards: sources(
            "draw_samples.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/draw_samples.py"
