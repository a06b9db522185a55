"""What each epoch rule loses to the best epoch, all detectors of one model."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0]).query("model == @snakemake.wildcards.model")
    figure = plots.regret_by_rule(table)
    plots.save(figure, *snakemake.output)
