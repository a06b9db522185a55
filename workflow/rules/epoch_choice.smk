# Which epoch? Rules that see ID data alone: the images that stand in for OOD ones, what each rule chooses, and what comes
# of it.


include: "epoch_choice_inputs.smk"


rule make_stand_ins:
    input:
        fit=f"{DATA}/fit.npy",
        manifest=f"{DATA}/manifest.json",
    output:
        images=expand(f"{STAND_INS}/{{change}}.npy", change=CHANGES, allow_missing=True),
        manifest=f"{STAND_INS}/manifest.json",
    log:
        f"{LOGS}/make_stand_ins/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/make_stand_ins/{{dataset}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        data=study.data.model_dump(),
        changes=[[*change] for change in study.changes],
        images=study.stand_in_images,
        fit_images=study.features.fit_images,
        batch_sizes=study.features.batch_sizes,
        source=sources("make_stand_ins.py", KIND),
    script:
        "../scripts/make_stand_ins.py"


rule extract_stand_ins:
    input:
        weights=f"{CHECKPOINT}/weights.safetensors",
        images=expand(f"{STAND_INS}/{{change}}.npy", dataset="{id}", change=CHANGES),
        manifest=f"{STAND_INS}/manifest.json".format(dataset="{id}"),
    output:
        expand(
            f"{FEATURES}/stand_in-{{change}}.safetensors",
            change=CHANGES,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/extract_stand_ins/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/extract_stand_ins/{RUN}/epoch={{epoch}}.tsv"
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
        changes=CHANGES,
        source=lambda wildcards: sources(
            "extract_stand_ins.py",
            registry.file_of("models", study.models[wildcards.model].architecture),
            KIND,
        ),
    script:
        "../scripts/extract_stand_ins.py"


rule choose_epochs:
    input:
        training=f"{TABLE}/training_{{id}}.csv",
        fit=lambda wildcards: every_checkpoint(
            f"{FEATURES}/fit.safetensors", **{**wildcards}
        ),
        changed=changed_features,
    output:
        f"{RESULTS}/choices/{RUN}.csv",
    log:
        f"{LOGS}/choose_epochs/{RUN}.log",
    benchmark:
        f"{BENCHMARKS}/choose_epochs/{RUN}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        rules=lambda wildcards: {
            name: rule.model_dump()
            for name, rule in study.rules_of(wildcards.model).items()
        },
        detectors=lambda wildcards: {
            name: config.model_dump()
            for name, config in study.choosable(wildcards.model).items()
        },
        reads=epochs_read,
        source=rule_sources("choose_epochs.py"),
    script:
        "../scripts/choose_epochs.py"


rule epoch_choice:
    input:
        scores=every_scored(f"{SCORES}/scores.safetensors", id=REAL),
        auroc=expand(f"{TABLE}/auroc_{{id}}.csv", id=REAL),
        choices=expand(f"{RESULTS}/choices/{RUN}.csv", **CHOOSING),
    output:
        csv=f"{TABLE}/epoch_choice.csv",
        text=f"{TABLE}/epoch_choice.txt",
    log:
        f"{LOGS}/epoch_choice.log",
    benchmark:
        f"{BENCHMARKS}/epoch_choice.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        evaluation=EVALUATION,
        controls=study.controls,
        rule_controls=[name for name, rule in study.epoch_rules.items() if rule.control],
        names={name: study.stands_for(name) for name in study.real_datasets},
        source=sources("epoch_choice.py"),
    script:
        "../scripts/epoch_choice.py"


rule plot_epoch_choice:
    input:
        f"{TABLE}/epoch_choice.csv",
    output:
        png=report(
            f"{PLOT}/epoch_choice.png",
            caption="../report/epoch_choice.rst",
            category="AUROC",
            labels={"ID": "all", "model": "{model}", "what": "which epoch"},
        ),
        pdf=f"{PLOT}/epoch_choice.pdf",
    log:
        f"{LOGS}/plot_epoch_choice/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_epoch_choice/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("plot_epoch_choice.py"),
    script:
        "../scripts/plot_epoch_choice.py"
