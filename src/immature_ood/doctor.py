"""What a study will cost and whether this machine can run it: immature-ood doctor, or python -m immature_ood.doctor."""

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import torch

from immature_ood import registry, runtime
from immature_ood.config import DatasetConfig, ModelConfig
from immature_ood.datasets import Source, uses_training_set
from immature_ood.density import DensityModel
from immature_ood.downloads import Download
from immature_ood.extraction import objectives_of
from immature_ood.gradients import layer_norms
from immature_ood.gradients.products import has_bfloat16
from immature_ood.models import make_model
from immature_ood.planning import faults_of_threads, plan_of_file
from immature_ood.study import Study, StudyError
from immature_ood.words import duration

__all__ = ["Cost", "cost_of", "diagnose", "examine"]

PACKAGES = ("snakemake", "torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "safetensors", "pydantic")
TIMED_IMAGES = 8  # a step of them, scaled to the study: good to some 30 %
STATE_TENSORS = 3  # of each weight a checkpoint holds the value and Adamax's two moments
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """What one model of a study costs, over all ID data sets and seeds.

    jobs: of training and of features. seconds: of one process on this machine, training and features. gibibytes: on
    disk.
    """

    parameters: int
    layers: int
    train_jobs: int
    extract_jobs: int
    train_seconds: float
    extract_seconds: float
    gibibytes: float


def cost_of(study: Study, config: ModelConfig, device: torch.device) -> Cost:
    """The cost of one model, timed on a few images of noise."""
    model = make_model(config, study.data.shape, torch.Generator().manual_seed(0)).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = sum(1 for _ in model.layers())
    chains, kept = len(study.id_datasets) * len(study.seeds), len(study.chain())
    train_images = len(study.seeds) * study.epochs[-1] * sum(study.datasets[name].train for name in study.id_datasets)
    of_fit_set = study.features.fit_images + study.evaluation.calibration_images
    extracted = of_fit_set + study.features.test_images * len(study.datasets)
    train_seconds, norm_seconds = _seconds_an_image(model, study, device)
    weights = chains * kept * parameters * STATE_TENSORS * FLOAT_BYTES
    groups = sum(extracted // b for b in study.features.batch_sizes)
    features = chains * len(study.epochs) * groups * layers * FLOAT_BYTES
    return Cost(
        parameters=parameters,
        layers=layers,
        train_jobs=chains * kept,
        extract_jobs=chains * len(study.epochs),
        train_seconds=train_images * train_seconds,
        extract_seconds=chains * len(study.epochs) * extracted * norm_seconds,
        gibibytes=(weights + features) / 2**30,
    )


def _seconds_an_image(model: DensityModel, study: Study, device: torch.device) -> tuple[float, float]:
    """Seconds of a training step without the optimiser, and of the norms of all group sizes, an image."""
    together = math.lcm(*study.features.batch_sizes)
    shape = (-(-TIMED_IMAGES // together) * together, *study.data.shape)
    stored = np.random.default_rng(0).integers(0, study.data.levels, shape).astype(study.data.storage)
    x = study.data.to_input(torch.from_numpy(stored)).to(device)
    model.initialise(x)
    trained, features = model.objective(model.trained_by), study.features

    def noise(objective: str) -> torch.Tensor | None:
        shape = model.objective(objective).noise_shape
        return None if shape is None else torch.randn(len(x), *shape, device=device)

    step = _timed(lambda: trained(model, x, noise(trained.name)).value.mean().backward(), device)
    precision = features.precision if has_bfloat16(device) else "fp32"

    def norms() -> None:
        for name in objectives_of(model, features):
            own = noise(name)
            layer_norms(model, x, features.batch_sizes, None, name, own, layers=study.layers, precision=precision)

    return step / len(x), _timed(norms, device) / len(x)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, the better of two after one to warm up."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def diagnose(study: Study, results: Path) -> Iterator[tuple[bool, str]]:
    """Whether each thing is well, and a line about it; the study's cost is among them."""
    yield _python()
    yield _packages()
    yield from ((False, line) for line in faults_of_threads(study, os.cpu_count() or 1))
    try:
        device = runtime.prepare(study.threads, study.device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {study.threads} thread(s) a job"
        yield True, f"device: {name}; {os.cpu_count()} cores"
    except runtime.DeviceError as error:
        device = torch.device("cpu")
        yield False, str(error)
    asked = dict.fromkeys([*(study.training_of(name).precision for name in study.models), study.features.precision])
    yield from (_bfloat16(precision, device) for precision in asked if precision.startswith("bf16"))
    tools = {"conda": "--use-conda", "sbatch": "--profile slurm"}
    found = ", ".join(
        f"{tool} ({'found' if shutil.which(tool) else 'not here'}, for {use})" for tool, use in tools.items()
    )
    yield True, f"tools: {found}"
    for name, dataset in study.datasets.items():
        for well, line in _data(dataset, Path(study.data_dir)):
            yield well, f"data {name}: {line}"
    needed = 0.0
    for name, config in study.models.items():
        cost = cost_of(study, config, device)
        needed += cost.gibibytes
        yield True, _described(name, cost)
    yield _disk(results, needed)


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)"


def _bfloat16(precision: str, device: torch.device) -> tuple[bool, str]:
    """Whether the device multiplies bfloat16; one that emulated it trained 8 to 15 times slower than in fp32."""
    what = "GPU" if device.type == "cuda" else "processor"
    if has_bfloat16(device):
        return True, f"precision: {precision}, for which this {what} has instructions"
    return False, f"precision: {precision}, which this {what} emulates, many times slower than fp32: use fp32 here"


def _packages() -> tuple[bool, str]:
    def installed(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} MISSING"

    line = ", ".join(map(installed, PACKAGES))
    return "MISSING" not in line, f"packages: {line}"


def _data(dataset: DatasetConfig, data_dir: Path) -> Iterator[tuple[bool, str]]:
    """The packages that its images come from or through, and where each of its files is, or must be had from."""
    if samples := dataset.samples_of:
        yield True, f"drawn from {samples.model} at epoch {samples.epoch}, trained on {samples.dataset}"
        return
    for part in dataset.parts_of().values():
        yield from _data(part, data_dir)
    source = registry.load("datasets", dataset.source)
    try:
        yield True, ", ".join(f"{package} {version(package)}" for package in cast(Source, source).PACKAGES)
    except PackageNotFoundError as error:
        yield False, f"package {error.name} is missing; install it"
    yield from ((False, fault) for fault in dataset.faults())
    yield from ((True, remark) for remark in dataset.remarks(data_dir))
    labels = getattr(source, "LABELS", {}) if dataset.chooses_classes else {}
    for part, download in [*getattr(source, "FILES", {}).items(), *labels.items()]:
        if part != "train" or uses_training_set(dataset):
            yield _file(download, data_dir / dataset.source)


def _file(download: Download, folder: Path) -> tuple[bool, str]:
    """Whether a file of a data set is there, and of its size; the checksum is for the job that reads it."""
    path, packaged = folder / download.file, Path(download.package[0])
    size = f"{download.size / 1e6:,.0f} MB" if download.size else "size not known"
    if path.exists():
        wrong = download.size and path.stat().st_size not in (download.size, *_size(packaged))
        return not wrong, f"{path} is there" + (f", but not of {download.size:,} bytes: delete it" if wrong else "")
    if _size(packaged):
        return True, f"{packaged} is there"
    hosts = " or ".join(dict.fromkeys(str(urlsplit(url).hostname) for url in download.urls))
    return True, f"{path} is not there, will be downloaded from {hosts} ({size}; by hand from {download.page})"


def _size(path: Path) -> tuple[int, ...]:
    return (path.stat().st_size,) if path.is_file() else ()


def _described(name: str, cost: Cost) -> str:
    return (
        f"model {name}: {cost.parameters:,} parameters in {cost.layers} layers; "
        f"{cost.train_jobs} training jobs, {duration(cost.train_seconds)}; {cost.extract_jobs} feature jobs, "
        f"{duration(cost.extract_seconds)}, one after another on this device; {cost.gibibytes:.2g} GiB on disk"
    )


def _disk(results: Path, needed: float) -> tuple[bool, str]:
    place = next(folder for folder in (results.absolute(), *results.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    return free > needed, f"disk: {needed:.2g} GiB needed at most, {free:.3g} GiB free at {results}"


def examine(path: Path) -> bool:
    """Prints the diagnosis of the study in a config file, a line at a time; whether all is well.

    Raises StudyError, one line a fault, if there is no study in the file.
    """
    study = plan_of_file(path)
    well = True
    for fine, line in diagnose(study, Path("results") / study.name):
        well &= fine
        print(f"{'ok ' if fine else 'BAD'} {line}", flush=True)
    return well


def main() -> None:
    """The diagnosis; ends with 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("study", type=Path, nargs="?", default=Path("config.yaml"), help="a study's config")
    try:
        sys.exit(not examine(parser.parse_args().study))
    except StudyError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
