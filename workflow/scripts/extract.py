"""Extracts the features of one checkpoint on the ID fit set and on every test set."""

from dataclasses import replace
from typing import TYPE_CHECKING

from immature_ood import registry, runtime
from immature_ood.checkpoints import load_model
from immature_ood.extraction import Split, extract
from immature_ood.features import save_features
from immature_ood.job import job
from immature_ood.progress import progress
from immature_ood.storage import load_split, read_json
from immature_ood.study import FeatureConfig

if TYPE_CHECKING:
    from scripts._rule import snakemake

with job(snakemake.log) as say:
    data = registry.parse("kinds", snakemake.params.data)
    config = FeatureConfig.model_validate({**snakemake.params.features, "layers": snakemake.params.layers})
    device = runtime.prepare(snakemake.params.threads, snakemake.resources.device, tf32=config.tf32)
    model, checkpoint = load_model(snakemake.input.weights)
    model.to(device)
    original = snakemake.params.original
    called = snakemake.wildcards.get("dataset", snakemake.wildcards.id)  # another ID data set's than the model's
    manifests = {manifest["name"]: manifest["splits"] for manifest in map(read_json, snakemake.input.manifests)}
    splits = [(original, "fit", snakemake.input.fit, snakemake.output.fit, config.fit_images)]
    for dataset, source, output in zip(
        snakemake.params.datasets, snakemake.input.test, snakemake.output.test, strict=True
    ):
        splits.append((dataset, "test", source, output, config.test_images))
    pixels_of = {f"{dataset}/{split}": manifests[dataset][split]["sha256"] for dataset, split, *_ in splits}
    made_from = dict(snakemake.params.items()) | {"pixels": pixels_of}
    with progress(f"features of {checkpoint.id_dataset} epoch {checkpoint.epoch}", len(splits)) as advance:
        for dataset, split, source, output, cap in splits:
            pixels = load_split(source, data.check)[:cap]
            if len(pixels) < cap:  # the cap was raised since the images were made
                raise ValueError(
                    f"datasets.{dataset}.{split}: {len(pixels):,} images are left without repeats, but "
                    f"features.{split}_images is {cap:,}; lower it or give more images"
                )
            features = extract(
                model,
                Split(pixels, data, dataset, split, manifests[dataset][split]["units"][:cap]),
                config,
                snakemake.params.statistics,
                noise_key=(checkpoint.id_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch),
            )
            if dataset == original:  # a set of samples has the fit and test images of its original
                features = [replace(one, dataset=called) for one in features]
            save_features(output, checkpoint, features, made_from)
            bits = f", {features[0].bits_per_dim:.4f} {data.unit}" if "log_prob" in features[0].statistics else ""
            say(f"{dataset} {split}: {len(pixels)} {data.samples}{bits}")
            advance()
