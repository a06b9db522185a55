"""Training is a chain: the same bytes however it is cut, and nothing lost but the epoch under way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from fcntl import LOCK_EX, flock
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models import CASES

from immature_ood import registry, runtime, training
from immature_ood.checkpoints import STATE, Run, load_tensors
from immature_ood.density import bits_per_dim
from immature_ood.kinds.images import Config as ImageConfig
from immature_ood.kinds.images import ImageAugmentationConfig as AugmentationConfig
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.models.tied_flow import Config as TiedFlowConfig
from immature_ood.storage import StorageError
from immature_ood.study import TrainingConfig

DATA = ImageConfig(side=4)
SHAPE = DATA.shape
OPTIONS = TrainingConfig(batch_size=16, learning_rate=1e-2)
RUN = Run("digits", "glow", GlowConfig(blocks=1, steps=1, hidden_channels=4), OPTIONS, DATA, 0, 1, "hash", {"a": "1"})
GLOW = type(training.start(RUN, np.zeros((16, *SHAPE), np.uint8)).model)
AUGMENTED = replace(RUN, augmentation=AugmentationConfig(translation=0.3, flip=True))
TIED = replace(
    RUN,
    model=TiedFlowConfig(steps=3, hidden_layers=2, hidden_features=8),
    training=OPTIONS.model_copy(
        update={"optimizer": "adamw", "dequantisation": "none", "learning_rate": 1e-3, "weight_decay": 1e-4}
    ),
)
VAE = replace(
    RUN, model=registry.parse("models", {"architecture": str(Path(__file__).with_name("plugins") / "tiny_vae.py")})
)
FILES = ("weights.safetensors", "state.safetensors")


def pixels(number=70, seed=0, shape=SHAPE):
    """Images with something to learn: grey levels that rise from left to right."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, shape[2])
    return (ramp + generator.normal(0, 12, (number, *shape))).clip(0, 255).astype(np.uint8)


def with_options(**options):
    return replace(RUN, training=OPTIONS.model_copy(update=options))


def train(folder, *epochs, run=RUN, on_epoch=lambda row: None):
    """Trains to each of the epochs in turn, each in a job of its own; returns the last state."""
    for previous, until in zip([None, *epochs], epochs, strict=False):
        begun = previous is not None
        stored, held_out = stored_for(run.data, 70), stored_for(run.data, 30, seed=1)
        state = training.restore(run, folder / str(previous)) if begun else training.start(run, stored)
        keep = partial(training.save, folder=folder / str(until))
        state = training.train(state, until, stored, held_out, folder / "scratch", on_epoch, keep)
    return state


def same_bytes(first, second):
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in FILES)


def stored_for(data, number, seed=0):
    """Samples of a kind of data: images with something to learn, else numbers at random."""
    if data.samples == "images":
        return pixels(number, seed, data.shape)
    drawn = np.random.default_rng(seed).integers(0, data.levels, (number, *data.shape))
    return drawn.astype(data.storage)


def as_wide_as_high():
    """An example of each model of the package, of samples that a study may hold."""
    found = {}
    for case in CASES.values():
        if case.shape == case.data.shape:
            found.setdefault(case.config.architecture, case)
    return [found[name] for name in sorted(found) if name in registry.names("models")]


@pytest.mark.parametrize("case", as_wide_as_high(), ids=lambda case: case.config.architecture)
def test_every_model_trains_on_byte_for_byte_and_learns(tmp_path, case):
    options = TrainingConfig(batch_size=8, learning_rate=1e-2)
    run = replace(RUN, model=case.config, data=case.data, training=options)
    train(tmp_path / "chain", 0, 1, 4, run=run)
    state = train(tmp_path / "once", 4, run=run)
    assert same_bytes(tmp_path / "chain/4", tmp_path / "once/4")
    for epoch, way in ((1, "chain"), (4, "once")):
        held_out = np.load(tmp_path / way / str(epoch) / "held_out.npy")
        assert held_out.shape == (30,)
        assert held_out.mean() == pytest.approx(state.log[epoch]["fit_bits_per_dim"], rel=1e-12)
    fit = [row["fit_bits_per_dim"] for row in state.log]
    assert np.isfinite(fit).all()
    assert fit[-1] < fit[0] or run.data.samples == "windows"  # of which there is nothing to learn


def test_a_pass_may_be_several_epochs(tmp_path):
    """Four epochs of a quarter see each image once, as one of a whole, in the same order, and so do the next four."""
    parts = [training._batches(with_options(epochs_per_pass=4, batch_size=16), done, 70) for done in range(8)]
    whole = [training._batches(with_options(batch_size=16), done, 70) for done in range(2)]
    assert [len(part) for part in parts] == [1] * 8
    for done in range(2):
        together = [batch.tolist() for part in parts[4 * done : 4 * done + 4] for batch in part]
        assert together == [batch.tolist() for batch in whole[done]]
    uneven = [training._batches(with_options(epochs_per_pass=3, batch_size=16), done, 70) for done in range(3)]
    assert sorted(len(part) for part in uneven) == [1, 1, 2]
    run = with_options(epochs_per_pass=3, batch_size=8, warmup_epochs=2)
    train(tmp_path / "chain", 1, 4, 5, run=run)
    state = train(tmp_path / "once", 5, run=run)
    assert same_bytes(tmp_path / "chain/5", tmp_path / "once/5")
    assert [row["images_seen"] for row in state.log] == [0, 16, 40, 64, 80, 104]
    assert state.log[-1]["learning_rate"] == OPTIONS.learning_rate


def test_a_pass_of_more_epochs_than_steps_is_refused(tmp_path):
    run = with_options(epochs_per_pass=5)
    with pytest.raises(ValueError, match=r"70 training images, too few for .* 16, which needs 80 for a step an"):
        train(tmp_path, 1, run=run)


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        with_options(gradient_clip=0.5, warmup_epochs=3),
        with_options(precision="bf16-coupling"),
        with_options(optimizer="adamw", dequantisation="none"),
        AUGMENTED,
        TIED,
        VAE,
    ],
    ids=["plain", "clip, warm-up", "bf16", "AdamW, no noise", "augmented", "tied flow", "VAE"],
)
def test_a_chain_of_jobs_makes_the_bytes_of_one_job(tmp_path, run):
    train(tmp_path / "chain", 0, 1, 4, run=run)
    train(tmp_path / "once", 4, run=run)
    assert same_bytes(tmp_path / "chain/4", tmp_path / "once/4")
    logs = [(tmp_path / way / "4/log.jsonl").read_bytes() for way in ("chain", "once")]
    assert without_times(logs[0]) == without_times(logs[1])


def without_times(log):
    rows = [json.loads(line) for line in log.splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


class Killed(Exception):
    """Stands for a kill right after an epoch was written."""


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_run_that_was_cut_goes_on_to_the_same_bytes(tmp_path, epoch):
    def cut(row):
        if row["epoch"] == epoch:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "cut", 4, on_epoch=cut)
    trained = []
    train(tmp_path / "cut", 4, on_epoch=lambda row: trained.append(row["epoch"]))
    assert trained == list(range(epoch + 1, 5))
    train(tmp_path / "whole", 4)
    assert same_bytes(tmp_path / "cut/4", tmp_path / "whole/4")
    log = (tmp_path / "cut/4/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("run", [RUN, AUGMENTED, TIED, VAE], ids=["plain", "augmented", "tied flow", "VAE"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("steps", [1, 6, 8])
def test_a_signal_stops_after_the_step_and_the_next_run_goes_on_there(tmp_path, monkeypatch, number, steps, run):
    """Four steps an epoch: a signal during the first, in the middle of, and in the last step of an epoch."""
    train(tmp_path, 1, run=run)
    done = []
    step = training._step

    def counted(state, x, **options):
        done.append(state.step)
        if len(done) == steps:
            signal.raise_signal(number)
        return step(state, x, **options)

    monkeypatch.setattr(training, "_step", counted)
    before = signal.getsignal(number)

    def go_on():
        state = training.restore(run, tmp_path / "1")
        return training.train(state, 3, pixels(), pixels(30, seed=1), tmp_path / "scratch")

    if steps < 8:
        with pytest.raises(training.TrainingInterrupted, match=rf"{number.name} in epoch ., {steps % 4} of 4 steps"):
            go_on()
        assert signal.getsignal(number) is before
    state = go_on()
    assert done == list(range(4, 12))  # every step once, whoever made it
    training.save(state, tmp_path / "3")
    train(tmp_path / "whole", 1, 3, run=run)
    assert same_bytes(tmp_path / "3", tmp_path / "whole/3")
    assert without_times((tmp_path / "3/log.jsonl").read_bytes()) == without_times(
        (tmp_path / "whole/3/log.jsonl").read_bytes()
    )


def test_scratch_states_go_when_the_job_is_done_also_those_of_runs_that_were_given_up(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/0123456789abcdef.safetensors").write_bytes(b"of another run key")
    (tmp_path / "scratch/.0123456789abcdef.77.partial.safetensors").write_bytes(b"of a killed process")
    train(tmp_path, 2)
    assert [file.name for file in (tmp_path / "scratch").iterdir()] == ["lock"]


class DiskFull(Exception):
    """Stands for whatever may go wrong while a checkpoint is saved."""


@pytest.mark.parametrize("fails", ["before", "half-way", "killed right after"])
def test_a_failure_while_the_checkpoint_is_saved_costs_no_epoch(tmp_path, fails):
    def keep(state):
        if fails != "before":
            training.save(state, tmp_path / "5")
        if fails == "half-way":
            (tmp_path / "5/checkpoint.json").unlink()
        raise DiskFull

    images, held_out, scratch = pixels(), pixels(30, seed=1), tmp_path / "scratch"
    with pytest.raises(DiskFull):
        training.train(training.start(RUN, images), 5, images, held_out, scratch, keep=keep)
    trained = []
    train(tmp_path, 5, on_epoch=lambda row: trained.append(row["epoch"]))
    assert trained == []
    train(tmp_path / "whole", 5)
    assert same_bytes(tmp_path / "5", tmp_path / "whole/5")


def test_a_signal_while_the_checkpoint_is_saved_does_not_stop_it(tmp_path):
    def keep(state):
        signal.raise_signal(signal.SIGTERM)
        training.save(state, tmp_path / "1")

    training.train(training.start(RUN, pixels()), 1, pixels(), pixels(30, seed=1), tmp_path / "scratch", keep=keep)
    train(tmp_path / "whole", 1)
    assert same_bytes(tmp_path / "1", tmp_path / "whole/1")


def test_a_damaged_scratch_state_is_not_used(tmp_path):
    scratch = tmp_path / "scratch" / f"{RUN.key}.safetensors"
    scratch.parent.mkdir()
    scratch.write_bytes(b"half a file")
    train(tmp_path, 1)
    train(tmp_path / "whole", 1)
    assert same_bytes(tmp_path / "1", tmp_path / "whole/1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id_dataset", "photos"),
        ("model", RUN.model.model_copy(update={"hidden_channels": 5})),
        ("training", OPTIONS.model_copy(update={"weight_decay": 0.0})),
        ("data", ImageConfig(channels=3, side=4)),
        ("seed", 1),
        ("threads", 2),
        ("train_sha256", "other"),
        ("source", {"a": "2"}),
        ("augmentation", AugmentationConfig(flip=True)),
        ("stands_for", "letters"),
    ],
)
def test_the_state_of_another_run_is_refused_by_the_field_that_differs(tmp_path, field, value):
    train(tmp_path, 0)
    other = replace(RUN, **{field: value})
    assert other.key != RUN.key
    with pytest.raises(StorageError, match=rf"is of another run: {field} is"):
        training.restore(other, tmp_path / "0")


def test_weights_and_state_of_different_epochs_are_refused(tmp_path):
    train(tmp_path, 0, 1)
    (tmp_path / "1/state.safetensors").write_bytes((tmp_path / "0/state.safetensors").read_bytes())
    with pytest.raises(StorageError, match="are of different epochs"):
        training.restore(RUN, tmp_path / "1")


@pytest.mark.parametrize("name", [*FILES, "log.jsonl"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.97], ids=["emptied", "cut in the middle", "cut at the end"])
def test_a_truncated_file_of_a_checkpoint_is_refused_by_name(tmp_path, name, kept):
    train(tmp_path, 2)
    file = tmp_path / "2" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(StorageError, match=name):
        training.restore(RUN, tmp_path / "2")


def test_a_missing_file_of_a_checkpoint_is_named(tmp_path):
    train(tmp_path, 0)
    (tmp_path / "0/log.jsonl").unlink()
    with pytest.raises(StorageError, match=r"log\.jsonl"):
        training.restore(RUN, tmp_path / "0")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path):
    run = with_options(learning_rate=1e6, warmup_epochs=3)
    for _ in range(2):  # the second job goes on from the state that the first one left, and fails at the same place
        with pytest.raises(
            training.TrainingDiverged, match=r"epoch (\d+), step (\d+).*lower training.learning_rate"
        ) as e:
            train(tmp_path, 60, run=run)
        tensors, metadata = load_tensors(tmp_path / "scratch" / f"{run.key}.safetensors", STATE, run)
        assert all(torch.isfinite(tensor.double()).all() for tensor in tensors.values())
        assert f"in epoch {metadata['checkpoint']['epoch'] + 1}," in str(e.value)
    assert not (tmp_path / "60").exists()


def test_two_processes_do_not_train_the_same_run(tmp_path):
    (tmp_path / "scratch").mkdir()
    with (tmp_path / "scratch/lock").open("w") as held:
        flock(held, LOCK_EX)
        with pytest.raises(StorageError, match="another process is training this run"):
            train(tmp_path, 1)
    train(tmp_path, 1)  # a lock that nobody holds any more does not matter


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_called_that(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(training, "flock", refuse)
    with pytest.raises(StorageError, match=r"this file system has no locks .*put results/ on one that has flock"):
        train(tmp_path, 1)


@pytest.mark.parametrize("number", [0, 15])
def test_fewer_images_than_a_batch_are_refused_by_name(tmp_path, number):
    state = training.start(RUN, pixels())
    with pytest.raises(ValueError, match=rf"data set digits has {number} training images, .* training.batch_size 16"):
        training.train(state, 1, pixels()[:number], pixels(30, seed=1), tmp_path)


def test_a_scratch_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "scratch").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*scratch"):
        train(tmp_path, 1)


def test_the_learning_rate_warms_up_linearly():
    state = training.start(with_options(warmup_epochs=2), pixels())
    rows = [training.train_epoch(state, torch.from_numpy(pixels())) for _ in range(4)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([5e-3, 1e-2, 1e-2, 1e-2])


@pytest.mark.parametrize(
    ("warmup", "mean_of_the_first"), [("step", (1 + 2 + 3 + 4) / 4 / 20), ("epoch", 1 / 5)], ids=str
)
def test_the_rate_is_raised_each_step_or_each_epoch_as_the_public_glow_does(monkeypatch, warmup, mean_of_the_first):
    """Four steps an epoch, five epochs of warm-up; the public Glow: min(1, (epoch + 1) / warm-up), epochs from 0."""
    state = training.start(with_options(warmup_epochs=5, warmup=warmup), pixels())
    rates = []
    step = state.optimizer.step
    monkeypatch.setattr(
        state.optimizer, "step", lambda: rates.append(state.optimizer.param_groups[0]["lr"] / 1e-2) or step()
    )
    for _ in range(7):
        training.train_epoch(state, torch.from_numpy(pixels()))
    epochs = np.reshape(rates, (7, 4))
    assert epochs[0].mean() == pytest.approx(mean_of_the_first)
    assert epochs[:, -1] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    if warmup == "epoch":
        assert (epochs == epochs[:, :1]).all()


@pytest.mark.parametrize("number", [10, 40, 70, 1000])
def test_the_actnorms_start_from_as_many_images_as_the_study_says(monkeypatch, number):
    seen = []
    monkeypatch.setattr(GLOW, "initialise", lambda self, x: seen.append(len(x)))
    training.start(with_options(initialisation_images=number), pixels())
    assert seen == [min(number, 70)]


def test_gradients_are_clipped():
    """Adamax's first step does not know the gradient's length, its memory of the gradient does."""
    norms = {}
    for clip in (None, 1e-3):
        state = training.start(with_options(gradient_clip=clip, weight_decay=0.0, batch_size=64), pixels())
        training.train_epoch(state, torch.from_numpy(pixels()))
        squares = [memory["exp_avg"].square().sum() for memory in state.optimizer.state.values()]
        norms[clip] = torch.stack(squares).sum().sqrt().item() / 0.1  # exp_avg is (1 − β₁) times the gradient
    assert norms[None] > 1e-2
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-2)


def test_weight_decay_shrinks_the_weights():
    lengths = []
    for decay in (0.0, 1.0):
        state = training.start(with_options(weight_decay=decay), pixels())
        for _ in range(5):
            training.train_epoch(state, torch.from_numpy(pixels()))
        lengths.append(state.model.blocks[0].steps[0].coupling.first.weight.norm().item())
    assert lengths[1] < lengths[0]


@pytest.mark.parametrize(("name", "kind"), [("adamax", torch.optim.Adamax), ("adamw", torch.optim.AdamW)])
def test_the_study_chooses_the_optimiser(name, kind):
    state = training.start(with_options(optimizer=name, weight_decay=0.25, warmup_epochs=0), pixels())
    assert isinstance(state.optimizer, kind)
    (group,) = state.optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["foreach"]) == (1e-2, 0.25, True)


def seen_images(monkeypatch, run, number=70):
    """The x of every step of two epochs, and of the initialisation."""
    seen = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda state, x, **o: seen.append(x.clone()) or step(state, x, **o))
    monkeypatch.setattr(GLOW, "initialise", lambda model, x: seen.append(x.clone()))
    state = training.start(run, pixels(number))
    for _ in range(2):
        training.train_epoch(state, torch.from_numpy(pixels(number)))
    return seen


def test_without_dequantisation_the_model_sees_the_pixels(monkeypatch, tmp_path):
    run = with_options(dequantisation="none")
    originals = {image.tobytes() for image in pixels()}
    for x in seen_images(monkeypatch, run):
        levels = (x + 0.5) * 256
        assert {image.numpy().astype(np.uint8).tobytes() for image in levels} <= originals
        assert torch.equal(levels, levels.round())
    state = train(tmp_path, 0, run=run)
    fit_x = torch.from_numpy(pixels(30, seed=1)).float() / 256 - 0.5
    assert state.log[0]["fit_bits_per_dim"] == training.each_bits_per_dim(state.model, fit_x).mean().item()


def test_training_images_are_augmented_and_fit_images_are_not(monkeypatch, tmp_path):
    """Without noise, so that images can be told: most are seen changed, and in the next epoch changed otherwise."""
    run = replace(with_options(dequantisation="none"), augmentation=AUGMENTED.augmentation)
    originals = {image.tobytes() for image in pixels()}
    changed = []
    for x in seen_images(monkeypatch, run):
        batch = {image.numpy().astype(np.uint8).tobytes() for image in (x + 0.5) * 256}
        changed.append(batch - originals)
    assert all(changed)
    first, second = set.union(*changed[1:5]), set.union(*changed[5:])
    assert len(first & second) < len(first) / 4 < 16  # of 64 images, and 18 ways to change one
    state = train(tmp_path, 0, run=run)
    fit_x = torch.from_numpy(pixels(30, seed=1)).float() / 256 - 0.5
    assert state.log[0]["fit_bits_per_dim"] == training.each_bits_per_dim(state.model, fit_x).mean().item()


def test_frozen_augmentation_is_drawn_once(monkeypatch, tmp_path):
    frozen = AUGMENTED.augmentation.model_copy(update={"frozen": True})
    run = replace(with_options(dequantisation="none"), augmentation=frozen)
    seen = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda state, x, **o: seen.append(x.clone()) or step(state, x, **o))
    initialise = GLOW.initialise
    monkeypatch.setattr(GLOW, "initialise", lambda model, x: seen.append(x.clone()) or initialise(model, x))
    training.train(training.start(run, pixels()), 2, pixels(), pixels(30, seed=1), tmp_path)
    first_batch, *batches = [{image.numpy().astype(np.uint8).tobytes() for image in (x + 0.5) * 256} for x in seen]
    epochs = [set.union(*batches[:4]), set.union(*batches[4:])]
    changed = first_batch - {image.tobytes() for image in pixels()}
    assert len(changed) > 35  # of 70 images, all of which set the actnorms
    assert all(len(epoch) == 64 and epoch <= first_batch for epoch in epochs)


def test_all_that_is_drawn_differs_between_seeds_data_sets_and_models_and_follows_whom_a_set_stands_for():
    """Weights, order, noise: never the run key, or an edit of the sources would draw other ones."""
    others = {"seed": {"seed": 1}, "data set": {"id_dataset": "glyphs"}, "model": {"model_name": "other"}}
    drawn = {name: drawn_by(replace(RUN, **change)) for name, change in others.items()}
    for part in range(3):
        assert len({drawn_by(RUN)[part], *(each[part] for each in drawn.values())}) == 4
    assert drawn_by(replace(RUN, source={"a": "2"}, train_sha256="other")) == drawn_by(RUN)
    assert drawn_by(replace(RUN, id_dataset="digits_jpeg", stands_for="digits")) == drawn_by(RUN)


def test_a_models_own_noise_is_drawn_anew_at_every_step_and_fixed_for_held_out_images(monkeypatch):
    """Training has fresh noise for each (seed, data set, model), epoch and step; a model that needs none gets none."""
    seen = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda state, x, **o: seen.append(o["noise"]) or step(state, x, **o))
    for run in (VAE, replace(VAE, seed=1), replace(VAE, id_dataset="glyphs"), replace(VAE, model_name="other")):
        state = training.start(run, pixels())
        for _ in range(2):
            training.train_epoch(state, torch.from_numpy(pixels()))
    assert {(each.shape, each.dtype) for each in seen} == {((16, 3), torch.float32)}
    assert len({each.numpy().tobytes() for each in seen}) == len(seen) == 4 * 2 * 4
    drawn = torch.cat(seen).flatten()
    assert drawn.mean().abs() < 4 / drawn.numel() ** 0.5
    assert drawn.std() == pytest.approx(1, abs=0.1)
    held_out = training._fit_noise(state, pixels(30, seed=1))
    assert torch.equal(held_out[3:], training._fit_noise(state, pixels(30, seed=1)[3:]))
    assert training._fit_noise(training.start(RUN, pixels()), pixels(30, seed=1)) is None


def test_a_model_is_trained_by_its_own_objective(tmp_path):
    state = train(tmp_path, 6, run=VAE)
    fit = [row["fit_bits_per_dim"] for row in state.log]
    assert fit[-1] < fit[0] - 0.1
    objective, images = state.model.objective("elbo"), pixels(30, seed=1)
    x, noise = training._fit_images(VAE, images), training._fit_noise(state, images)
    with torch.no_grad():
        value = objective(state.model, x, noise).value
    assert fit[-1] == pytest.approx(bits_per_dim(value.double(), 16).mean().item(), rel=1e-12)


def drawn_by(run):
    """A weight, the order of the first epoch, and the x of its first batch in the order of the images, as bytes."""
    state = training.start(run, pixels())
    weight = state.model.blocks[0].steps[0].coupling.first.weight.detach().numpy().tobytes()
    order = training._order(run, 1, 70)
    x = training._prepared(state, torch.from_numpy(pixels()[:16]), 1, 0)
    return weight, order.numpy().tobytes(), x.numpy().tobytes()


def test_training_fits_and_the_log_says_so(tmp_path):
    state = train(tmp_path, 8)
    fit = [row["fit_bits_per_dim"] for row in state.log]
    assert fit[-1] < fit[0] - 0.3
    assert state.images_seen == 8 * 64  # 70 images: the incomplete fifth batch is left out
    x = torch.from_numpy(pixels(30, seed=1)).float()
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        again = bits_per_dim(state.model.log_prob((x + noise) / 256 - 0.5), 16).mean().item()
    assert fit[-1] == pytest.approx(again, abs=0.1)
    sidecar = json.loads((tmp_path / "8/checkpoint.json").read_text())
    assert sidecar["checkpoint"]["images_seen"] == 512
    assert sidecar["train_seconds"] == pytest.approx(sum(row["seconds"] for row in state.log))
    assert {"commit", "python", "torch"} <= sidecar["versions"].keys()
    assert sidecar["lowest_fit_bits_per_dim"] == min(fit)


def test_a_sidecar_says_what_it_was_trained_from_and_what_the_lowest_bits_per_dim_so_far_are(tmp_path, monkeypatch):
    measured = iter([3.0, 1.0, 2.0, 1.5])
    monkeypatch.setattr(training, "each_bits_per_dim", lambda *_: torch.tensor([next(measured)]))
    train(tmp_path, 0, 2, 3)
    sidecars = [json.loads((tmp_path / epoch / "checkpoint.json").read_text()) for epoch in "023"]
    found = [(s["previous"], s["fit_bits_per_dim"], s["lowest_fit_bits_per_dim"]) for s in sidecars]
    assert found == [(None, 3.0, 3.0), (0, 2.0, 1.0), (2, 1.5, 1.0)]


def test_bits_per_dim_are_measured_on_a_fixed_number_of_held_out_images(tmp_path):
    """However many the features use: else another number of them would be another run."""
    held_out = pixels(training.MONITORED + 20, seed=1)
    logs = []
    for number in (training.MONITORED, training.MONITORED + 20):
        state = training.train(training.start(RUN, pixels()), 0, pixels(), held_out[:number], tmp_path / str(number))
        logs.append(state.log[0]["fit_bits_per_dim"])
    assert logs[0] == logs[1]


def test_each_epoch_and_seed_has_its_own_order_and_noise(monkeypatch):
    batches = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda state, x, **o: batches.append(x.clone()) or step(state, x, **o))
    for seed in (0, 1):
        state = training.start(replace(RUN, seed=seed), pixels())
        for _ in range(2):
            training.train_epoch(state, torch.from_numpy(pixels()))
    firsts = torch.stack(batches[::4])  # of each of the four epochs
    assert len({first.numpy().tobytes() for first in firsts}) == 4
    epoch = torch.cat(batches[:4])
    assert len({image.numpy().tobytes() for image in epoch}) == 64  # no image twice
    assert (epoch >= -0.5).all()
    assert (epoch < 0.5).all()


def test_epoch_zero_is_the_initialised_untrained_model(tmp_path):
    state = train(tmp_path, 0)
    assert (state.epoch, state.images_seen, state.train_seconds) == (0, 0, 0.0)
    assert [row["epoch"] for row in state.log] == [0]
    assert all(bool(flag) for name, flag in state.model.named_buffers() if name.endswith("initialised"))


@pytest.mark.parametrize("without_mallopt", [False, True])
def test_preparing_sets_the_threads(without_mallopt):
    code = "import ctypes, torch; from immature_ood import runtime; "
    if without_mallopt:
        code += "runtime.ctypes.CDLL = lambda name: object(); "
    code += "runtime.prepare(1); print(torch.get_num_threads(), torch.ones(3).sum().item())"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["1", "3.0"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own
def test_compiled_training_goes_on_to_the_same_bytes(tmp_path):
    run = with_options(compile=True)
    train(tmp_path / "parts", 1, 2, run=run)
    train(tmp_path / "whole", 2, run=run)
    assert same_bytes(tmp_path / "parts/2", tmp_path / "whole/2")
    train(tmp_path / "plain", 2)
    compiled, plain = (training.restore(r, tmp_path / f / "2") for r, f in ((run, "whole"), (RUN, "plain")))
    assert compiled.log[-1]["fit_bits_per_dim"] == pytest.approx(plain.log[-1]["fit_bits_per_dim"], abs=1e-3)


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.prepare(1, "auto", keep_memory=False).type == "cpu"
    with pytest.raises(runtime.DeviceError, match="set device: auto"):
        runtime.prepare(1, "cuda", keep_memory=False)
