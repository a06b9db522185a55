# Whether what is there follows from the study, where Snakemake does not know; after all rules, whose params are compared.
from snakemake.iocontainers import Wildcards


def settings(rule, left_out=(), **wildcards):
    """The params of a rule for some wildcards: all that its output follows from, but for its input."""
    chosen = Wildcards(fromdict={key: str(value) for key, value in wildcards.items()})
    return {
        key: value(chosen) if callable(value) else value
        for key, value in workflow.get_rule(rule).params.items()
        if key not in left_out
    }


def claims():
    """What data, checkpoints and features say they were made from, and what this study makes them from."""
    for dataset in study.real_datasets:
        manifest = DATA.format(dataset=dataset) + "/manifest.json"
        yield validity.Claim(
            manifest,
            lambda file=manifest: validity.metadata_of(file).get("made_from"),
            lambda dataset=dataset: settings("download", ["data_dir"], dataset=dataset),
            DATA.format(dataset=dataset),
        )
    for run in every_run():
        weights, features = (
            place.format(**run)
            for place in (
                f"{CHECKPOINT}/weights.safetensors",
                f"{FEATURES}/fit.safetensors",
            )
        )
        yield validity.Claim(
            weights,
            lambda file=weights: validity.metadata_of(file).get("run"),
            lambda run=run: settings("train", ["scratch"], **run),
            f"{SHARED}/checkpoints",
        )
        yield validity.Claim(
            features,
            lambda file=features: validity.metadata_of(file).get("made_from"),
            lambda run=run: settings("extract", **run),
            f"{RESULTS}/features",
        )


def every_run():
    """The wildcards of every checkpoint."""
    return (
        {"id": id, "model": model, "seed": seed, "epoch": epoch}
        for id in study.id_datasets
        for model in study.models
        for seed in study.seeds
        for epoch in study.epochs
    )


def date_back_what_other_images_made():
    """Weights of other training images, and features of other fit and test images, than are there are made anew.

    Also where a clock that was behind makes them look newer.
    """
    there = {
        f"{dataset}/{split}": described["sha256"]
        for dataset in study.datasets
        for split, described in validity.splits_of(
            DATA.format(dataset=dataset) + "/manifest.json"
        )
    }
    for run in every_run():
        weights = f"{CHECKPOINT}/weights.safetensors".format(**run)
        of_run = validity.metadata_of(weights).get("run", {})
        used = {f"{run['id']}/train": of_run.get("train_sha256")}
        validity.date_back_if_other(weights, used, there)
        features = f"{FEATURES}/fit.safetensors".format(**run)
        used = validity.metadata_of(features).get("made_from", {}).get("pixels", {})
        validity.date_back_if_other(features, used, there)


if workflow.is_main_process:
    KNOWN = {folder: validity.remembered(folder) for folder in (RESULTS, SHARED)}
    if found := validity.contradictions(
        claims(),
        lambda file: KNOWN[RESULTS if file.startswith(f"{RESULTS}/") else SHARED],
    ):
        raise WorkflowError("\n".join(found))
    for folder in (folder for folder, known in KNOWN.items() if not known):
        validity.adopt(folder)
    date_back_what_other_images_made()
