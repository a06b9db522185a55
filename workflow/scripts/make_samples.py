"""Draws the training images of a data set from a model."""

from typing import TYPE_CHECKING

from immature_ood import registry, runtime
from immature_ood.checkpoints import load_model
from immature_ood.job import job
from immature_ood.sampling import draw, write_samples

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    data = registry.parse("kinds", snakemake.params.data)
    device = runtime.prepare(snakemake.params.threads, snakemake.resources.device)
    model, checkpoint = load_model(snakemake.input[0])
    name, samples = snakemake.wildcards.samples, snakemake.params.samples
    drawn = draw(model.to(device), data, snakemake.params.images, samples["temperature"], name)
    say(f"{len(drawn.stored)} {data.samples} from {checkpoint}, {drawn.clipped:.2%} of the numbers clipped")
    write_samples(snakemake.output.train.rpartition("/")[0], name, drawn, checkpoint, dict(snakemake.params.items()))
