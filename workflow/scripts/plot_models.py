"""AUROC against excess bits/dim, a line a model; controls, which read no model, are left out."""

from typing import TYPE_CHECKING

from immature_ood import plots
from immature_ood.job import job
from immature_ood.tables import read_table

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log):
    table = read_table(snakemake.input[0])
    figure = plots.models_by_excess(table[~table["detector"].isin([*snakemake.params.controls])], snakemake.params.unit)
    plots.save(figure, *snakemake.output)
