"""All tables in one, and the summary that a run ends with."""

from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.controls import solved_pairs
from immature_ood.cues import cues, left_out
from immature_ood.detector_table import detector_summary
from immature_ood.evaluation import spikes
from immature_ood.job import job
from immature_ood.means import means_summary
from immature_ood.storage import read_json, write_bytes
from immature_ood.tables import claim_text, paper_tables, read_table, summary_text, to_html, write_csv
from immature_ood.tiers import tiers_summary

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    params = snakemake.params
    auroc = pd.concat(map(read_table, snakemake.input.auroc), ignore_index=True)
    solved = solved_pairs(auroc, params.controls)
    training = pd.concat(map(read_table, snakemake.input.training), ignore_index=True)
    claim = claim_text(read_table(snakemake.input.claim), training, solved, params.controls)
    means = means_summary(read_table(snakemake.input.means), params.margin, params.controls)
    added = detector_summary(read_table(snakemake.input.detectors), solved)
    manifests = [read_json(path) for path in snakemake.input.manifests]
    warnings = [*(f"Warning: {line}" for line in [*cues(manifests), *spikes(training)]), *left_out(manifests)]
    tiers = tiers_summary(read_table(snakemake.input.tiers))
    lines = [*filter(None, [means, added, tiers]), *warnings]
    write_csv(auroc, snakemake.output.auroc)
    write_csv(training, snakemake.output.training)
    write_bytes(snakemake.output.text, summary_text(auroc, claim, lines, solved).encode())
    page = to_html(paper_tables(auroc, solved), f"The study {params.study}", "\n".join([claim, *lines]))
    write_bytes(snakemake.output.html, page.encode())
