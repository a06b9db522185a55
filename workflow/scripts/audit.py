"""What each choice of the released code does to AUROC and to the claim."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.audit import audit_rows, audit_summary, audit_text, compared
from immature_ood.job import job
from immature_ood.scores import load_scores
from immature_ood.storage import write_bytes
from immature_ood.study import EvaluationConfig
from immature_ood.tables import frame_to_html, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    base = list(map(load_scores, snakemake.input.base))
    comparisons = {
        choice: compared(choice, base, map(load_scores, snakemake.input[f"of_{place}"]), datasets, baselines)
        for place, (choice, datasets, baselines) in enumerate(snakemake.params.choices)
    }
    audit = pd.concat(audit_rows(choice, of_choice, config) for choice, of_choice in comparisons.items())
    summary = audit_summary(comparisons, audit, config)
    write_csv(audit, snakemake.output.audit)
    write_csv(summary, snakemake.output.summary)
    text = audit_text(summary, audit)
    write_bytes(snakemake.output.text, f"{text}\n".encode())
    page = frame_to_html(summary, "The released code's choices", text)
    write_bytes(snakemake.output.html, page.encode())
