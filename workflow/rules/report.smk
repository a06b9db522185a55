# The report: everything that a reader wants, in one page. Snakemake's own, by --report, is another.


include: "report_inputs.smk"


rule report:
    input:
        **{name: f"{TABLE}/{name}.csv" for name in REPORTED},
        overlap=[f"{TABLE}/{name}.csv" for name in OVERLAP],
        layers=[f"{TABLE}/layers_{id}.csv" for id in LAYERED],
        scores=every_scored(f"{SCORES}/scores.safetensors", seed=study.seeds[0]),
        images=expand(f"{DATA}/test.npy", dataset=study.real_datasets),
        manifests=expand(f"{DATA}/manifest.json", dataset=study.real_datasets),
        figures=[path for path in PLOTS if path.endswith(".png")],
        provenance=f"{RESULTS}/provenance.json",
    output:
        f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{BENCHMARKS}/report.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        tables=REPORTED,
        layers=LAYERED,
        datasets=study.real_datasets,
        originals={name: study.original(name) for name in SAMPLED},
        features=study.features.test_images,
        data=study.data.model_dump(),
        settings=lambda wildcards: settings_of_page(),
        parts=parts_of_page(),
        source=sources("report.py", KIND),
    script:
        "../scripts/report.py"
