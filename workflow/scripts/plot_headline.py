"""The claim in one figure: AUROC against epoch for every pair."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    auroc, means = (
        read_table(path).query("model == @snakemake.wildcards.model")
        for path in (snakemake.input.auroc, snakemake.input.means)
    )
    figure = plots.headline(auroc, means, snakemake.params.controls, snakemake.params.samples)
    plots.save(figure, *snakemake.output)
