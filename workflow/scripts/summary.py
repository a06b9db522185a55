"""All tables in one, and the summary that a run ends with."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.cues import cues, left_out
from immature_ood.evaluation import immature_summary, spikes
from immature_ood.job import job
from immature_ood.means import means_summary
from immature_ood.storage import read_json, write_bytes
from immature_ood.tables import paper_tables, read_table, summary_text, to_html, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    auroc = pd.concat(map(read_table, snakemake.input.auroc), ignore_index=True)
    immature = read_table(snakemake.input.immature)
    means = list(filter(None, [means_summary(read_table(snakemake.input.means))]))
    manifests = [read_json(path) for path in snakemake.input.manifests]
    warnings = [*(f"Warning: {line}" for line in [*cues(manifests), *spikes(auroc)]), *left_out(manifests)]
    write_csv(auroc, snakemake.output.auroc)
    write_bytes(snakemake.output.text, summary_text(auroc, immature, [*means, *warnings]).encode())
    title = f"The study {snakemake.params.study}"
    html = to_html(paper_tables(auroc), title, "\n".join([immature_summary(immature), *means, *warnings]))
    write_bytes(snakemake.output.html, html.encode())
