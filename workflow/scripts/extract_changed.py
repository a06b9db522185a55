"""Extracts the features of one checkpoint on the test sets that have the images of other sets, changed."""

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
    tests = [read_json(path)["splits"]["test"] for path in snakemake.input.manifests]
    changed = snakemake.params.changed
    pixels_of = {f"{dataset}/test": test["sha256"] for (dataset, _), test in zip(changed, tests, strict=True)}
    made_from = dict(snakemake.params.items()) | {"pixels": pixels_of}
    with progress(f"features of {checkpoint.id_dataset} epoch {checkpoint.epoch}", len(changed)) as advance:
        for (dataset, original), test, source, output in zip(
            changed, tests, snakemake.input.test, snakemake.output.test, strict=True
        ):
            pixels = load_split(source, data.check)[: config.test_images]
            features = extract(
                model,
                Split(pixels, data, original, "test", test["units"][: config.test_images]),
                config,
                snakemake.params.statistics,
                noise_key=(checkpoint.id_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch),
            )
            save_features(output, checkpoint, [replace(one, dataset=dataset) for one in features], made_from)
            say(f"{dataset} test: {len(pixels)} {data.samples}")
            advance()
