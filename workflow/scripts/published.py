"""Our numbers beside the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from immature_ood.job import job
from immature_ood.published import published_table
from immature_ood.storage import write_bytes
from immature_ood.tables import frame_to_html, read_table, write_csv

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    auroc = read_table(snakemake.input.auroc)
    overlap = pd.concat(map(read_table, snakemake.input.overlap)) if snakemake.input.overlap else None
    reference = Path(snakemake.input.reference[0]).parent
    table = published_table(auroc, overlap, snakemake.params.names, reference)
    write_csv(table, snakemake.output.csv)
    write_bytes(snakemake.output.html, frame_to_html(table, "Our numbers beside published ones").encode())
