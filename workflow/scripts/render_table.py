"""The table of one ID data set in the paper's form, for people."""

from typing import TYPE_CHECKING

from immature_ood.controls import solved_pairs
from immature_ood.job import job
from immature_ood.storage import write_bytes
from immature_ood.tables import paper_tables, read_table, to_html, to_markdown

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    auroc = read_table(snakemake.input.auroc)
    tables = paper_tables(auroc, solved_pairs(auroc, snakemake.params.controls))
    title = f"AUROC, trained on {snakemake.wildcards.id}"
    write_bytes(snakemake.output.markdown, f"# {title}\n\n{to_markdown(tables)}".encode())
    write_bytes(snakemake.output.html, to_html(tables, title).encode())
