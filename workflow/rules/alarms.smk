# False alarms: calibration images scored by the fitted detectors, the p-values that they give, and what these promise.

DRIFTING = [
    run
    for run in CALIBRATED
    if run["id"] in {drift.of for drift in study.evaluation.drift.values()}
]


rule score_calibration:
    input:
        fitted=f"{SCORES}/fitted.safetensors",
        features=CALIBRATION_FEATURES,
    output:
        f"{SCORES}/calibration.safetensors",
    log:
        f"{LOGS}/score_calibration/{RUN}/epoch={{epoch}}.log",
    benchmark:
        f"{BENCHMARKS}/score_calibration/{RUN}/epoch={{epoch}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=30,
    params:
        source=detector_sources("score_calibration.py"),
    script:
        "../scripts/score_calibration.py"


rule false_alarms:
    input:
        scores=[f"{SCORES}/scores.safetensors".format(**run) for run in CALIBRATED],
        calibration=[
            f"{SCORES}/calibration.safetensors".format(**run) for run in CALIBRATED
        ],
        training=expand(f"{TABLE}/training_{{id}}.csv", id=study.id_datasets),
        manifests=[
            f"{DATA}/manifest.json".format(dataset=study.original(id))
            for id in study.id_datasets
        ],
    output:
        csv=f"{TABLE}/false_alarms.csv",
        text=f"{TABLE}/false_alarms.txt",
        html=report(
            f"{TABLE}/false_alarms.html",
            caption="../report/false_alarms_table.rst",
            category="Tables",
            labels={"ID": "all", "what": "false alarms"},
        ),
    log:
        f"{LOGS}/false_alarms.log",
    benchmark:
        f"{BENCHMARKS}/false_alarms.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        confidence=study.evaluation.confidence,
        data=study.data.model_dump(),
        datasets={
            id: study.datasets[study.original(id)].model_dump()
            for id in study.id_datasets
        },
        images=(
            study.features.fit_images,
            study.evaluation.calibration_images,
            study.features.test_images,
        ),
        source=sources(
            "false_alarms.py",
            KIND,
            *(
                registry.file_of("datasets", study.datasets[study.original(id)].source)
                for id in study.id_datasets
            ),
        ),
    script:
        "../scripts/false_alarms.py"


rule drift:
    input:
        scores=[f"{SCORES}/scores.safetensors".format(**run) for run in DRIFTING],
        calibration=[
            f"{SCORES}/calibration.safetensors".format(**run) for run in DRIFTING
        ],
    output:
        f"{TABLE}/drift.csv",
    log:
        f"{LOGS}/drift.log",
    benchmark:
        f"{BENCHMARKS}/drift.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        drift=study.evaluation.model_dump()["drift"],
        source=sources("drift.py"),
    script:
        "../scripts/drift.py"


rule plot_false_alarms:
    input:
        f"{TABLE}/false_alarms.csv",
    output:
        png=report(
            f"{PLOT}/false_alarms.png",
            caption="../report/false_alarms.rst",
            category="False alarms",
            labels={"ID": "all", "model": "{model}", "what": "against epoch"},
        ),
        pdf=f"{PLOT}/false_alarms.pdf",
    log:
        f"{LOGS}/plot_false_alarms/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_false_alarms/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        source=sources("plot_false_alarms.py"),
    script:
        "../scripts/plot_false_alarms.py"


rule plot_drift:
    input:
        f"{TABLE}/drift.csv",
    output:
        png=[
            report(
                f"{PLOT}/drift_b={b}.png",
                caption="../report/drift.rst",
                category="False alarms",
                labels={"ID": "all", "model": "{model}", "what": f"drift, b={b}"},
            )
            for b in study.features.batch_sizes
        ],
        pdf=[f"{PLOT}/drift_b={b}.pdf" for b in study.features.batch_sizes],
    log:
        f"{LOGS}/plot_drift/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_drift/{{model}}.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        batch_sizes=study.features.batch_sizes,
        source=sources("plot_drift.py"),
    script:
        "../scripts/plot_drift.py"
