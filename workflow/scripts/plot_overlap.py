"""AUROC against the overlap of the log-likelihoods."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    given = snakemake.input
    overlap, auroc, correlation = (
        read_table(path).query("model == @snakemake.wildcards.model")
        for path in (given.overlap, given.auroc, given.correlation)
    )
    plots.save(plots.overlap_and_auroc(overlap, auroc, correlation), *snakemake.output)
