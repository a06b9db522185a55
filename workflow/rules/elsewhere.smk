# The jobs of training and of features as a list, for a machine without Snakemake: see src/immature_ood/run.py.


rule list_jobs:
    input:
        expand(f"{DATA}/manifest.json", dataset=study.datasets),
        expand(f"{STAND_INS}/manifest.json", dataset=REAL if study.changes else []),
    output:
        f"{RESULTS}/jobs.json",
    log:
        f"{LOGS}/list_jobs.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        jobs=lambda wildcards: [*listed_jobs()],
        source=sources("list_jobs.py"),
    script:
        "../scripts/list_jobs.py"
