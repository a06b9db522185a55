"""Trains from the previous kept epoch to this one."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from immature_ood import registry, runtime, training
from immature_ood.checkpoints import Run
from immature_ood.job import job
from immature_ood.storage import load_split
from immature_ood.study import TrainingConfig

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    options = TrainingConfig.model_validate(snakemake.params.training)
    device = runtime.prepare(snakemake.params.threads, snakemake.resources.device, tf32=options.precision == "tf32")
    data = registry.parse("kinds", snakemake.params.data)
    pixels = load_split(snakemake.input.train, data.check)
    run = Run(
        id_dataset=snakemake.wildcards.id,
        model_name=snakemake.wildcards.model,
        model=registry.parse("models", snakemake.params.model),
        training=options,
        data=data,
        seed=int(snakemake.wildcards.seed),
        threads=snakemake.params.threads,
        train_sha256=hashlib.sha256(pixels.data).hexdigest(),
        source=snakemake.params.source,
        augmentation=data.augmentation.model_validate(snakemake.params.augmentation),
        stands_for=snakemake.params.stands_for,
    )
    previous = snakemake.input.previous
    folder = Path(previous[0]).parent if previous else None
    state = training.restore(run, folder, device) if folder else training.start(run, pixels, device)
    training.train(
        state,
        until=int(snakemake.wildcards.epoch),
        pixels=pixels,
        fit_pixels=load_split(snakemake.input.fit, data.check),
        scratch=Path(snakemake.params.scratch),
        on_epoch=lambda row: say(json.dumps(row)),
        keep=lambda state: training.save(state, Path(snakemake.output.weights).parent),
    )
