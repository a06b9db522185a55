"""Measures what the features of every detector cost of one model."""

from typing import TYPE_CHECKING

from immature_ood import registry, runtime
from immature_ood.checkpoints import load_model
from immature_ood.costs import write_feature_costs
from immature_ood.extraction import Split
from immature_ood.job import job
from immature_ood.measuring import feature_costs
from immature_ood.storage import load_split
from immature_ood.study import FeatureConfig

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    data = registry.parse("kinds", snakemake.params.data)
    config = FeatureConfig.model_validate(snakemake.params.features)
    device = runtime.prepare(snakemake.params.threads, snakemake.resources.device, tf32=config.tf32)
    model, checkpoint = load_model(snakemake.input.weights)
    model.to(device)
    split = Split(
        load_split(snakemake.input.test, data.check)[: config.test_images], data, checkpoint.id_dataset, "test"
    )
    layers = snakemake.params.layers
    asked = {
        name: (needs, config.model_copy(update={"layers": layers[name]}))
        for name, needs in snakemake.params.needs.items()
    }
    costs = feature_costs(model, split, asked)
    for name, cost in costs.items():
        say(f"{name}: {cost.seconds:.3g} s and {cost.mebibytes:.3g} MiB for 1,000 {data.samples}")
    write_feature_costs(snakemake.output[0], snakemake.wildcards.model, costs)
