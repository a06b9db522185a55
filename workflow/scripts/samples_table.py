"""What becomes of AUROC when the model is trained on samples of another: of a data set's samples against itself."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.audit import AUDIT_COLUMNS, audit_rows, compared
from immature_ood.job import job
from immature_ood.scores import load_scores
from immature_ood.study import EvaluationConfig
from immature_ood.tables import write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    config = EvaluationConfig.model_validate(snakemake.params.evaluation)
    scores, originals = list(map(load_scores, snakemake.input)), snakemake.params.originals
    tables = []
    for name, original in originals.items():
        base, changed = ([one for one in scores if one.checkpoint.id_dataset == own] for own in (original, name))
        if base and changed:
            tables.append(audit_rows(name, compared(name, base, changed, {name: original}, {}), config))
    write_csv(pd.concat(tables) if tables else pd.DataFrame(columns=AUDIT_COLUMNS), snakemake.output[0])
