# The audit: this study beside others, each of which makes one choice of the released code in place of ours.


include: "audit_inputs.smk"


rule audit:
    input:
        **{
            f"of_{place}": scores_of_audit(path)
            for place, path in enumerate(study.audits)
        },
        base=every_checkpoint(f"{SCORES}/scores.safetensors"),
    output:
        audit=f"{TABLE}/audit.csv",
        summary=f"{TABLE}/audit_summary.csv",
        text=f"{TABLE}/audit_summary.txt",
        html=report(
            f"{TABLE}/audit_summary.html",
            caption="../report/audit.rst",
            category="Tables",
            labels={"ID": "all", "what": "the released code's choices"},
        ),
    log:
        f"{LOGS}/audit.log",
    benchmark:
        f"{BENCHMARKS}/audit.tsv"
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        choices=[
            (choice(study, other), counterparts(other), other.baselines)
            for other in map(audited, study.audits)
        ],
        evaluation=study.evaluation.model_dump(exclude={"calibration_images", "drift"}),
        source=sources("audit.py"),
    script:
        "../scripts/audit.py"
