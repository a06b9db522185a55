"""Results of studies that were never run, for tests of the report: scores that move with the epoch, random images."""

from itertools import product

import numpy as np
import pandas as pd
from PIL import Image

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.claim import claim_table
from immature_ood.controls import solved_pairs
from immature_ood.evaluation import auroc_table, immature_table
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.tokens import Config as TokenConfig
from immature_ood.maturity import Chains
from immature_ood.means import means_table
from immature_ood.overlap import correlation_table, overlap_table
from immature_ood.report import Images, Results, Settings, Tables
from immature_ood.scores import ScoreKey, Scores
from immature_ood.sidecars import Trained
from immature_ood.study import EvaluationConfig

CONFIG = EvaluationConfig()
EPOCHS = (0, 1, 2, 4)
BITS = (8.0, 2.6, 2.05, 2.0)
GREY, COLOUR, TEXT = ImageConfig(channels=1, side=8), ImageConfig(channels=3, side=40), TokenConfig(length=24)


def normal(*key, size, shift=0.0):
    seeds = [sum((place + 1) * ord(letter) for place, letter in enumerate(str(part))) for part in key]
    return np.random.default_rng(seeds).normal(shift, size=size)


def make_scores(own, sets, model, seed, epoch, detectors, shift, test, sizes, fresh):
    """Scores of one checkpoint; those of OOD are above those of ID by shift(detector, epoch).

    fresh: whether each epoch draws anew.
    """
    values, units = {}, {}
    drawn = epoch if fresh else 0
    for b, detector in product(sizes, detectors):
        for name in sets:
            moved = shift(detector, epoch) * (name != own)
            values[ScoreKey(detector, b, name, "test")] = normal(
                own, name, model, seed, b, drawn, size=test // b, shift=moved
            )
        values[ScoreKey(detector, b, own, "fit")] = normal(own, model, seed, "fit", size=test // b)
    for b, name, split in product(sizes, sets, ("fit", "test")):
        units[b, name, split] = np.arange(test // b)
    checkpoint = CheckpointId(own, model, seed, epoch, epoch * 100, "0" * 12)
    return Scores(checkpoint, 3.0, dict.fromkeys(product(detectors, sizes), ()), values, units)


def make_training(sets, models, seeds, falling):
    """The log of all trainings; those that are not falling end in epochs that bring nothing."""
    states = ("untrained", "immature", "near-mature", "mature")
    rows = [
        {"id_dataset": own, "model": model, "seed": seed, "epoch": epoch, "images_seen": 100 * epoch}
        | {"train_bits_per_dim": bits, "seconds": 2.0, "fit_bits_per_dim": bits, "excess_bits_per_dim": bits - 2.0}
        | {"noise_bits_per_dim": 0.01, "maturity": state}
        for own, model, seed in product(sets, models, seeds)
        for epoch, bits, state in [*zip(EPOCHS, BITS, states, strict=True), *([] if falling else [(8, 2.001, "")])]
    ]
    return pd.DataFrame(rows)


def make_detectors(means, controls):
    """What the table of all detectors has beside the means."""
    costs = {"train_seconds": means["epoch"] * 2.0, "feature_seconds": 0.5, "score_seconds": 0.1, "loop_seconds": 2.0}
    control = means["detector"].isin(controls).map({True: "yes", False: "no"})
    return means.assign(rank=1.0, fpr95=0.5, control=control, reference="gradient_norms", memory_mib=10.0, **costs)


def make_layers(own, sets, models, layers, sizes):
    rows = [
        (own, ood, model, 0, epoch, b, f"blocks.{layer}.weight", 0.5 + layer % 40 / 100 if layer else np.nan)
        for ood, model, epoch, b, layer in product(sets, models, EPOCHS, sizes, range(layers))
        if ood != own
    ]
    columns = ["id_dataset", "ood_dataset", "model", "seed", "epoch", "batch_size", "layer", "auroc"]
    return pd.DataFrame(rows, columns=columns)


def make_results(
    *,
    sets=("digits", "glyphs"),
    models=("glow",),
    seeds=(0,),
    detectors=("gradient_norms", "likelihood"),
    controls=(),
    data=GREY,
    shift=lambda detector, epoch: 1.0,
    test=60,
    fresh=False,
    sizes=(1, 5),
    falling=False,
    layers=4,
    figures={},  # noqa: B006 no one changes it
    name="toy",
):
    """All that the report takes, the tables made as a study makes them."""
    places = [*product(sets, models, seeds, EPOCHS)]
    scores = [make_scores(own, sets, *place, detectors, shift, test, sizes, fresh) for own, *place in places]
    training = make_training(sets, models, seeds, falling)
    chains = Chains(training)
    trained = {one.checkpoint: Trained(one.checkpoint, 2.0 * one.checkpoint.epoch) for one in scores}
    auroc = auroc_table(scores, trained, chains, CONFIG)
    immature = immature_table(scores, chains, CONFIG)
    solved = solved_pairs(auroc, controls)
    means = means_table(scores, {}, chains, CONFIG, solved)
    likely = "likelihood" in detectors
    overlap = overlap_table(scores, data.dimensions) if likely else None
    tables = Tables(
        auroc=auroc,
        claim=claim_table(scores, immature, chains, CONFIG, {}, solved),
        immature=immature,
        means=means,
        detectors=make_detectors(means, controls),
        training=training,
        datasets=pd.DataFrame({"name": sets, "train": 100, "fit": 50, "test": test}),
        published=pd.DataFrame(),
        overlap=overlap,
        correlation=correlation_table(overlap, auroc, CONFIG) if likely else None,
        layers={own: make_layers(own, sets, models, layers, sizes) for own in sets} if layers else {},
    )
    folder = f"results/{name}"
    settings = Settings(
        name,
        data,
        tuple(models),
        tuple(detectors),
        tuple(sizes),
        command="snakemake --cores 1",
        folder=folder,
        controls=tuple(controls),
        reference="gradient_norms",
    )
    levels = np.random.default_rng(0).integers(32, 120, (len(sets), test, *data.shape), dtype=np.uint8)
    samples = {own: Images(stored, range(test)) for own, stored in zip(sets, levels, strict=True)}
    first = [one for one in scores if one.checkpoint.seed == seeds[0]]
    provenance = {"commit": "0" * 40, "python": "3.11", "study": {"name": name}}
    return Results(settings, tables, first, samples, figures, provenance)


def make_figure(path, width=60, height=40):
    Image.new("RGB", (width, height), "#d05a12").save(path)
    return path
