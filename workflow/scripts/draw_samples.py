"""Draws images from a model at each kept epoch, to be looked at: the same latent noise at every epoch."""

from typing import TYPE_CHECKING

import numpy as np

from immature_ood import registry, runtime
from immature_ood.checkpoints import load_model
from immature_ood.job import job
from immature_ood.sampling import LOOKS, Drawn, draw
from immature_ood.storage import write_array

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    data = registry.parse("kinds", snakemake.params.data)
    device = runtime.prepare(snakemake.params.threads, snakemake.resources.device)
    for weights, output in zip(snakemake.input, snakemake.output, strict=True):
        model, checkpoint = load_model(weights)
        name = f"{checkpoint.id_dataset} {checkpoint.model} seed={checkpoint.seed}"
        try:
            drawn = draw(model.to(device), data, snakemake.params.number, LOOKS, name)
        except NotImplementedError as none:
            drawn = Drawn(np.empty((0, *data.shape), data.storage), 0.0)
            say(f"epoch {checkpoint.epoch}: {none}")
        write_array(output, drawn.stored)
        say(f"epoch {checkpoint.epoch}: {drawn.clipped:.2%} of the numbers clipped")
