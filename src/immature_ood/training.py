"""Training by maximum likelihood, or by a bound of it: epochs, each resumable from the one before, byte for byte.

All randomness comes from generators seeded by (seed, data set, model, epoch, step), so a state is weights, optimiser
and step alone, and training goes on from any step as if it had never stopped.
"""

import errno
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from immature_ood.checkpoint_id import CheckpointId
from immature_ood.checkpoints import STATE, WEIGHTS, Run, load_tensors, save_tensors
from immature_ood.density import DensityModel, Objective, bits_per_dim
from immature_ood.dequantisation import derive_seed, fixed_noise, mutated, training_noise
from immature_ood.models import make_model
from immature_ood.noise import fixed_normal, training_normal
from immature_ood.progress import progress
from immature_ood.provenance import versions
from immature_ood.runtime import has_room_for
from immature_ood.storage import StorageError, read_json_lines, write_array, write_bytes, write_json
from immature_ood.study import TrainingConfig

__all__ = [
    "TrainingDiverged",
    "TrainingInterrupted",
    "TrainingState",
    "each_bits_per_dim",
    "restore",
    "save",
    "start",
    "train",
    "train_epoch",
]

CPU = torch.device("cpu")
EVALUATION_CHUNK = 250  # images a forward pass outside training
MONITORED = 1000  # held-out images, the first of the fit set, on which each epoch's bits/dim are measured
AUGMENTATION_CHUNK = 1000  # images changed at once where augmentation is frozen
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # what a file system without flock answers
OPTIMIZERS = {"adamax": torch.optim.Adamax, "adamw": torch.optim.AdamW}
UNTRAINED = {"train_bits_per_dim": None, "seconds": 0.0}  # what the log has of the epoch 0


class TrainingDiverged(RuntimeError):
    """A loss that is not finite; the last good state was kept."""


class TrainingInterrupted(RuntimeError):
    """Somebody asked the process to stop; the state after the last step was kept."""


@dataclass
class TrainingState:
    """A model between two steps, with all that is needed to go on.

    log: one row an epoch: bits/dim on the training and on held-out images, speed and wall time.
    previous: the epoch that was restored from its checkpoint, None for a chain's first job.
    losses, seconds: of the steps of the epoch under way, bits/dim and wall time; none between two epochs.
    held_out: bits/dim of each of the held-out images after the last epoch, (N,) float64; not stored between jobs.
    """

    run: Run
    model: DensityModel
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    images_seen: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    previous: int | None = None
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    held_out: Tensor | None = None

    @property
    def checkpoint(self) -> CheckpointId:
        """The name of these weights."""
        return self.run.checkpoint(self.epoch, self.images_seen)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def objective(self) -> Objective:
        """What training raises the mean of."""
        return self.model.objective(self.model.trained_by)

    @property
    def train_seconds(self) -> float:
        """Wall time of all training steps so far, interruptions left out."""
        return sum(row["seconds"] for row in self.log)

    @property
    def progress(self) -> dict[str, Any]:
        """The part of the state that is not tensors and the same in every run."""
        return {"checkpoint": asdict(self.checkpoint), "step": self.step}


def start(run: Run, pixels: np.ndarray, device: torch.device = CPU) -> TrainingState:
    """Epoch 0: weights drawn from the run's seed, actnorms initialised on a batch of pixels (N, C, H, W) uint8."""
    state = _blank(run, device)
    order = _order(run, 0, len(pixels))[: run.training.initialisation_images]
    images = _frozen(run, pixels)[order] if run.augmentation.frozen else torch.from_numpy(pixels[order])
    state.model.initialise(_prepared(state, images, 0, 0))
    return state


def train(
    state: TrainingState,
    until: int,
    pixels: np.ndarray,
    fit_pixels: np.ndarray,
    scratch: Path,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    keep: Callable[[TrainingState], None] = lambda state: None,
) -> TrainingState:
    """Trains to the end of epoch `until` on pixels (N, C, H, W) uint8, and returns the state there.

    fit_pixels: held-out images, on the first MONITORED of which each epoch's bits/dim are measured.
    After each epoch the state is written to the folder `scratch`, from which a killed run goes on; nobody else can
    train there meanwhile. SIGTERM, SIGINT and SIGHUP end it after the current step with TrainingInterrupted, the state
    written too. `on_epoch` is told each new row of the log. `keep` is given the state at the end, to save it: only when
    it has returned are the scratch states removed, so that nothing is lost if it fails or is killed.
    """
    _check_number(state.run, len(pixels), until)
    pixels_tensor = _frozen(state.run, pixels)
    if has_room_for(pixels_tensor.nbytes, state.device):
        pixels_tensor = pixels_tensor.to(state.device)
    fit_pixels = fit_pixels[:MONITORED]
    fit_x, fit_noise = _fit_images(state.run, fit_pixels), _fit_noise(state, fit_pixels)
    with _alone(scratch) as folder, _signals() as received:
        file = folder / f"{state.run.key}.safetensors"
        state = _resume(file, state, until)
        label = f"{state.run.id_dataset} {state.run.model_name} seed={state.run.seed}"
        with progress(label, until - state.epoch) as advance:
            while state.epoch < until or not state.log:
                row = _next_epoch(state, pixels_tensor, received, file) if state.log else {**UNTRAINED}
                state.held_out = each_bits_per_dim(state.model, fit_x, fit_noise)
                row["fit_bits_per_dim"] = state.held_out.mean().item()
                state.log.append({"epoch": state.epoch, "images_seen": state.images_seen, **row})
                _save_scratch(file, state)
                on_epoch(state.log[-1])
                advance(note=f"{row['fit_bits_per_dim']:.3f} {state.run.data.unit}")
        if state.held_out is None:  # all epochs were done by a job that ended before its states were saved
            state.held_out = each_bits_per_dim(state.model, fit_x, fit_noise)
        keep(state)
        for state_file in folder.glob("*.safetensors"):  # also those of runs that were given up
            state_file.unlink()
    return state


def _next_epoch(state: TrainingState, pixels: Tensor, received: Sequence[int], file: Path) -> dict[str, Any]:
    """What train_epoch returns; if it is interrupted, the state in the middle of the epoch is written to the file."""
    try:
        return train_epoch(state, pixels, received)
    except TrainingInterrupted:
        _save_scratch(file, state)
        raise


def _check_number(run: Run, images: int, until: int) -> None:
    needed = run.training.images_needed
    if until and images < needed:
        raise ValueError(
            f"data set {run.id_dataset} has {images} training images, too few for training.batch_size "
            f"{run.training.batch_size}, which needs {needed} for a step an epoch; lower it, or give more images"
        )


def train_epoch(state: TrainingState, pixels: Tensor, received: Sequence[int] = ()) -> dict[str, Any]:
    """One pass over pixels (N, C, H, W) uint8 in a fresh order, or its rest; an incomplete last batch is left out.

    With training.epochs_per_pass it is one of so many parts of a pass.

    received: signals that came meanwhile; after the first, the step under way is the last one, and TrainingInterrupted
    is raised. Returns train bits/dim (mean over the epoch's steps), learning rate, images per second and seconds.
    """
    run, began = state.run, time.perf_counter() - state.seconds
    size = run.training.batch_size
    batches = _batches(run, state.epoch, len(pixels))
    steps = len(pixels) // size / run.training.epochs_per_pass
    value = _value(state)
    with _precision(state):
        for index, batch in enumerate(batches):
            if index < len(state.losses):
                continue
            if received:
                name = signal.Signals(received[0]).name
                raise TrainingInterrupted(
                    f"{name} in epoch {state.epoch + 1}, {index} of {len(batches)} steps done; run again to go on there"
                )
            x = _prepared(state, pixels[batch.to(pixels.device)], state.epoch + 1, index)
            noise = _training_noise(state, len(x), state.epoch + 1, index)
            state.losses.append(_step(state, x, noise=noise, value=value, steps_per_epoch=steps))
            state.seconds = time.perf_counter() - began
    losses, seconds, state.losses, state.seconds = state.losses, state.seconds, [], 0.0
    state.epoch += 1
    state.images_seen += size * len(batches)
    return {
        "train_bits_per_dim": sum(losses) / len(losses),
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        "images_per_second": round(size * len(batches) / seconds, 1),
        "seconds": round(seconds, 3),
        "device": _name(state.device),
    }


@torch.no_grad()
def each_bits_per_dim(model: DensityModel, x: Tensor, noise: Tensor | None = None) -> Tensor:
    """Bits per dimension of dequantised images x (N, C, H, W), (N,), by the objective that the model is trained by.

    noise: of that objective, (N, *noise_shape), if it needs any.
    """
    place, objective = next(model.parameters()), model.objective(model.trained_by)
    noises = repeat(None) if noise is None else (chunk.to(place) for chunk in noise.split(EVALUATION_CHUNK))
    chunks = zip(x.split(EVALUATION_CHUNK), noises, strict=False)
    log_prob = torch.cat([objective(model, model.taken(chunk), own).value.double() for chunk, own in chunks])
    return bits_per_dim(log_prob, model.dimensions).cpu()


def save(state: TrainingState, folder: Path) -> None:
    """Writes weights and training state (deterministic), log, and a sidecar of costs, maturity and versions.

    And held_out.npy, (N,) float64: bits/dim of each held-out image of the log's last row.
    """
    last = state.log[-1]
    measured = {name: last[name] for name in ("train_bits_per_dim", "fit_bits_per_dim")}
    lowest = min(row["fit_bits_per_dim"] for row in state.log)
    save_tensors(
        folder / "weights.safetensors", WEIGHTS, state.model.state_dict(), state.run, state.progress | measured
    )
    save_tensors(folder / "state.safetensors", STATE, _optimizer_tensors(state), state.run, state.progress)
    write_bytes(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in state.log).encode())
    if state.held_out is not None:
        write_array(folder / "held_out.npy", state.held_out.numpy())
    cost = {
        "checkpoint": asdict(state.checkpoint),
        "previous": state.previous,
        "lowest_fit_bits_per_dim": lowest,
        "train_seconds": state.train_seconds,
        "device": _name(state.device),
        "threads": state.run.threads,
    }
    write_json(folder / "checkpoint.json", {**cost, **measured, "versions": versions("torch", "numpy", "safetensors")})


def restore(run: Run, folder: Path, device: torch.device = CPU) -> TrainingState:
    """The state that save wrote; raises StorageError if it is of another run or incomplete."""
    weights, metadata = load_tensors(folder / "weights.safetensors", WEIGHTS, run)
    optimizer, own_metadata = load_tensors(folder / "state.safetensors", STATE, run)
    if metadata["checkpoint"] != own_metadata["checkpoint"]:
        raise StorageError(f"{folder}: weights and training state are of different epochs; delete both and rerun")
    log = _load_log(folder / "log.jsonl", metadata["checkpoint"]["epoch"])
    state = _filled(_blank(run, device), weights | optimizer, metadata, log)
    state.previous = state.epoch
    return state


def _load_log(path: Path, epoch: int) -> list[dict[str, Any]]:
    """The rows of a log up to an epoch; raises StorageError if they are not all there."""
    rows = read_json_lines(path)
    if [row.get("epoch") for row in rows] != list(range(epoch + 1)):
        raise StorageError(f"{path}: does not have one row for each epoch up to {epoch}; delete it and rerun")
    return rows


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _blank(run: Run, device: torch.device) -> TrainingState:
    generator = torch.Generator().manual_seed(derive_seed("weights", *run.random_key))
    model = make_model(run.model, run.data.shape, generator)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    options = run.training
    optimizer = OPTIMIZERS[options.optimizer](
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, foreach=True
    )
    return TrainingState(run, model, optimizer)


def _prepared(state: TrainingState, stored: Tensor, epoch: int, index: int) -> Tensor:
    """Training samples (N, *shape) → x as the model takes it: augmented and with noise, where the model is."""
    run = state.run
    key = (*run.random_key, epoch, index)
    if run.augmentation.changes and not run.augmentation.frozen:
        stored = run.data.augment(stored, run.augmentation, *key)
    if run.model.mutation_rate:
        stored = mutated(stored, run.model.mutation_rate, run.data.levels, *key)
    noise = training_noise(stored.shape, *key).to(state.device) if run.dequantised else None
    return run.data.to_input(stored.to(state.device), noise)


def _frozen(run: Run, pixels: np.ndarray) -> Tensor:
    """A copy of samples (N, *shape), changed once for all epochs if the run augments so."""
    stored = torch.from_numpy(np.array(pixels))
    if not (run.augmentation.frozen and run.augmentation.changes):
        return stored
    chunks = enumerate(stored.split(AUGMENTATION_CHUNK))
    return torch.cat([run.data.augment(chunk, run.augmentation, *run.random_key, place) for place, chunk in chunks])


def _fit_images(run: Run, pixels: np.ndarray) -> Tensor:
    """Held-out samples (N, *shape) → x: never augmented, and with the same noise at every epoch."""
    noise = fixed_noise(pixels, run.stands_for or run.id_dataset) if run.dequantised else None
    return run.data.to_input(torch.from_numpy(np.array(pixels)), noise)


def _training_noise(state: TrainingState, images: int, epoch: int, index: int) -> Tensor | None:
    """The objective's own noise of a batch, fresh, (N, *noise_shape); None if it needs none."""
    noise_shape = state.objective.noise_shape
    if noise_shape is None:
        return None
    shape = (images, *noise_shape)
    return training_normal(shape, *state.run.random_key, epoch, index).to(state.device)


def _fit_noise(state: TrainingState, pixels: np.ndarray) -> Tensor | None:
    """The objective's own noise of held-out images, the same at every epoch; None if it needs none."""
    noise_shape = state.objective.noise_shape
    if noise_shape is None:
        return None
    return fixed_normal(pixels, state.run.stands_for or state.run.id_dataset, noise_shape)


def _batches(run: Run, done: int, images: int) -> tuple[Tensor, ...]:
    """The places of the images of each step of the epoch after so many are done."""
    size, parts = run.training.batch_size, run.training.epochs_per_pass
    passes, part = divmod(done, parts)
    batches = _order(run, passes + 1, images)[: images // size * size].split(size)
    return batches[part * len(batches) // parts : (part + 1) * len(batches) // parts]


def _order(run: Run, epoch: int, images: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed("order", *run.random_key, epoch))
    return torch.randperm(images, generator=generator)


def _precision(state: TrainingState) -> AbstractContextManager[None]:
    """Inside, the model computes in the precision that it is trained in."""
    if state.run.training.precision == "bf16-coupling":
        return state.model.networks_in(torch.bfloat16)
    return nullcontext()


def _value(state: TrainingState) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The value of what training raises, of x and its own noise, compiled if the study says so."""
    model, objective = state.model, state.objective

    def value(x: Tensor, noise: Tensor | None) -> Tensor:
        return objective(model, x, noise).value

    if not state.run.training.compile:
        return value
    # "reduce-overhead" is CUDA graphs on a GPU, where a small batch waits for launches.
    return torch.compile(value, mode="reduce-overhead", dynamic=False)


def _step(
    state: TrainingState,
    x: Tensor,
    *,
    noise: Tensor | None,
    value: Callable[[Tensor, Tensor | None], Tensor],
    steps_per_epoch: float,
) -> float:
    """One optimiser step on x (N, C, H, W) and the objective's own noise; returns its loss, bits/dim.

    Raises TrainingDiverged before any harm.
    """
    options = state.run.training
    state.optimizer.param_groups[0]["lr"] = options.learning_rate * _warmth(options, state.step, steps_per_epoch)
    state.optimizer.zero_grad()
    loss = bits_per_dim(value(x, noise), state.model.dimensions).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), options.gradient_clip or float("inf"))
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise TrainingDiverged(
            f"loss {loss.item()}, gradient norm {norm.item()} in epoch {state.epoch + 1}, step {state.step + 1}; the "
            "state after the last epoch is kept; lower training.learning_rate, raise training.warmup_epochs or set "
            "training.gradient_clip"
        )
    state.optimizer.step()
    state.step += 1
    return loss.item()


def _warmth(options: TrainingConfig, step: int, steps_per_epoch: float) -> float:
    """The share of the learning rate at a step (from 0): it rises linearly over the epochs of warm-up, then is 1.

    It is raised at every step, or once an epoch: then the epochs 1, 2, … have the shares 1/w, 2/w, …
    """
    done = step + 1 if options.warmup == "step" else (step // steps_per_epoch + 1) * steps_per_epoch
    return min(1.0, done / max(1, options.warmup_epochs * steps_per_epoch))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Inside, SIGTERM, SIGINT and SIGHUP are noted in the list and do not end the process at once; main thread only."""
    received: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            before[number] = signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _alone(scratch: Path) -> Iterator[Path]:
    """The scratch folder of a chain, locked against other processes; a dead process holds no lock."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        lock = (scratch / "lock").open("w")
    except OSError as error:
        raise StorageError(f"cannot write {scratch}: {error.strerror}; choose a writable results folder") from error
    with lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except OSError as error:
            raise StorageError(f"{lock.name}: {_why_not(error)}") from None
        yield scratch


def _why_not(error: OSError) -> str:
    """Why a lock was not had, and what to do."""
    if error.errno in NO_LOCKS:
        return f"this file system has no locks ({error.strerror}); put results/ on one that has flock"
    return "another process is training this run; wait for it or stop it"


def _save_scratch(file: Path, state: TrainingState) -> None:
    tensors = {**state.model.state_dict(), **_optimizer_tensors(state)}
    under_way = {"log": state.log, "losses": state.losses, "seconds": state.seconds}
    save_tensors(file, STATE, tensors, state.run, {**state.progress, **under_way})


def _resume(file: Path, state: TrainingState, until: int) -> TrainingState:
    """The state in the scratch file, if it is usable and further than `state`."""
    if not file.exists():
        return state
    try:
        tensors, metadata = load_tensors(file, STATE, state.run)
    except StorageError:
        return state
    begun = metadata["step"] > state.step or not state.log
    if not (begun and state.epoch <= metadata["checkpoint"]["epoch"] <= until):
        return state
    resumed = _filled(_blank(state.run, state.device), tensors, metadata, metadata["log"])
    resumed.previous, resumed.losses, resumed.seconds = state.previous, metadata["losses"], metadata["seconds"]
    return resumed


def _optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    return {
        f"optimizer/{name}/{key}": value
        for name, parameter in state.model.named_parameters()
        for key, value in state.optimizer.state[parameter].items()
    }


def _filled(
    state: TrainingState, tensors: dict[str, Tensor], metadata: dict[str, Any], log: list[dict[str, Any]]
) -> TrainingState:
    """The state with these tensors, laid out in memory as in a run that was never interrupted."""
    state.model.load_state_dict({name: tensor for name, tensor in tensors.items() if "/" not in name})
    for name, parameter in state.model.named_parameters():
        keys = [key for key in tensors if key.startswith(f"optimizer/{name}/")]
        state.optimizer.state[parameter] = {
            key.rsplit("/", 1)[1]: _laid_out_like(parameter, tensors[key]) for key in keys
        }
    checkpoint = CheckpointId(**metadata["checkpoint"])
    state.epoch, state.images_seen, state.step = checkpoint.epoch, checkpoint.images_seen, metadata["step"]
    state.log = log
    return state


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
