"""Extracts the features of one checkpoint on calibration images: those of the ID fit set after the ones of the fit."""

from dataclasses import replace
from typing import TYPE_CHECKING

from immature_ood import registry, runtime
from immature_ood.calibration import CALIBRATION
from immature_ood.checkpoints import load_model
from immature_ood.extraction import Split, extract
from immature_ood.features import save_features
from immature_ood.job import job
from immature_ood.storage import load_split, read_json
from immature_ood.study import FeatureConfig

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    params, original = snakemake.params, snakemake.params.original
    data = registry.parse("kinds", params.data)
    config = FeatureConfig.model_validate({**params.features, "layers": params.layers})
    device = runtime.prepare(params.threads, snakemake.resources.device, tf32=config.tf32)
    model, checkpoint = load_model(snakemake.input.weights)
    model.to(device)
    described = read_json(snakemake.input.manifest)["splits"]["fit"]
    chosen = slice(config.fit_images, config.fit_images + params.calibration_images)
    pixels = load_split(snakemake.input.fit, data.check)[chosen]
    if len(pixels) < params.calibration_images:  # the number was raised since the images were made
        raise ValueError(
            f"datasets.{original}.fit: {described['count']:,} images are left without repeats, but "
            f"features.fit_images and evaluation.calibration_images are {chosen.stop:,}; lower one or give more images"
        )
    features = extract(
        model,
        Split(pixels, data, original, CALIBRATION, described["units"][chosen]),
        config,
        params.statistics,
        noise_key=(checkpoint.id_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch),
    )
    made_from = dict(params.items()) | {"pixels": {f"{original}/fit": described["sha256"]}}
    called = snakemake.wildcards.id  # a set of samples has the fit images of its original
    save_features(snakemake.output[0], checkpoint, [replace(one, dataset=called) for one in features], made_from)
    say(f"{called} {CALIBRATION}: {len(pixels)} {data.samples}")
