"""Extracts the features of one checkpoint on fit images that were changed, a file a change."""

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

with job(snakemake.log):
    params, dataset = snakemake.params, snakemake.wildcards.id
    data, manifest = registry.parse("kinds", params.data), read_json(snakemake.input.manifest)
    config = FeatureConfig.model_validate({**params.features, "layers": params.layers})
    device = runtime.prepare(params.threads, snakemake.resources.device, tf32=config.tf32)
    model, checkpoint = load_model(snakemake.input.weights)
    model.to(device)
    key = (checkpoint.id_dataset, checkpoint.model, checkpoint.seed, checkpoint.epoch)
    made_from = dict(params.items()) | {"pixels": manifest["made_from"]["pixels"]}
    with progress(f"stand-ins of {dataset} epoch {checkpoint.epoch}", len(params.changes)) as advance:
        for change, images, output in zip(params.changes, snakemake.input.images, snakemake.output, strict=True):
            split = Split(load_split(images, data.check), data, dataset, change, manifest["units"])
            features = extract(model, split, config, params.statistics, noise_key=key)
            save_features(output, checkpoint, features, made_from)
            advance()
