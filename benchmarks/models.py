"""What gradient norms cost of each model at its default size: make bench writes benchmarks/results/models.csv.

Ours (the engine that the package takes by itself), torch.func.vmap of all samples at once, and a backward pass for each
sample, against one forward and backward of the model as it trains; they take turns, round by round, on one thread. With
--device cuda the same of more samples by wall time, as rows and a table of their own.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from run import interleaved, machine
from torch import Tensor

from immature_ood import registry, runtime
from immature_ood.density import DensityModel, Objective
from immature_ood.gradients import make_engine
from immature_ood.gradients.independence import trial
from immature_ood.models import make_model

HERE = Path(__file__).parent
MARKER = "<!-- models: written by benchmarks/models.py -->"
SAMPLES = {"cpu": 20, "cuda": 100}  # a chunk, divisible by each of GROUPS
SHAPES = {"images": (1, 28, 28), "tokens": (128,)}
GROUPS = (1, 5)
HELP = "by default all but tied_flow, of the released size: minutes a round"
METHODS = {"own": None, "vmap": "generic", "loop": "loop"}


def after_the_gpu() -> float:
    """Wall time in seconds, when the GPU has done what it was told."""
    torch.cuda.synchronize()
    return time.perf_counter()


CLOCKS = {"cpu": time.process_time, "cuda": after_the_gpu}


def models(device: torch.device) -> Iterator[tuple[str, DensityModel]]:
    """Each model of the package by its name, its weights moved a little so that no layer is dead."""
    for name in registry.names("models"):
        kind, *_ = getattr(registry.load("models", name), "KINDS", ("images",))
        generator = torch.Generator().manual_seed(0)
        model = make_model(registry.parse("models", {"architecture": name}), SHAPES[kind], generator)
        model.initialise(model.taken(model.example(SAMPLES[device.type], generator)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.003 * torch.randn(parameter.shape, generator=generator)
        yield name, model.to(device)


def rows(name: str, model: DensityModel, rounds: int) -> Iterator[dict[str, object]]:
    """One row for each objective that the model is scored by, each method and each size of groups."""
    for scored in model.scored_by:
        objective = model.objective(scored)
        device = next(model.parameters()).device
        samples = SAMPLES[device.type]
        x, noise = trial(model, objective, samples)

        step = partial(trained, model, objective, x, noise)
        jobs: dict[str, Callable[[], object]] = {"forward+backward/": step}
        for method, engine in METHODS.items():
            run = make_engine(model, engine, scored)
            for b in GROUPS:
                jobs[f"{method}/{b}"] = partial(run, x, [b], noise)
        seconds = interleaved(jobs, rounds, CLOCKS[device.type])
        for job, times in seconds.items():
            method, _, b = job.partition("/")
            ratios = times / seconds["forward+backward/"]
            row = {
                "model": name,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "layers": sum(1 for _ in model.layers()),
                "objective": scored,
                "method": method,
                "group": b,
                "device": device.type,
                "ratio_to_forward_backward": np.median(ratios),
                "ratio_low": np.quantile(ratios, 0.25),
                "ratio_high": np.quantile(ratios, 0.75),
                "samples_per_second": samples / np.median(times),
            }
            print(row, flush=True)
            yield row


def trained(model: DensityModel, objective: Objective, x: Tensor, noise: Tensor | None) -> None:
    """A step of training, without the optimiser."""
    model.zero_grad()
    objective(model, x, noise).value.mean().backward()


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--models",
        nargs="+",
        choices=registry.names("models"),
        help="by default all but tied_flow, of the paper's size: minutes a round",
    )
    parser.add_argument("--device", choices=CLOCKS, default="cpu")
    options = parser.parse_args()
    device = runtime.prepare(1, options.device, keep_memory=True)
    chosen = options.models or [name for name in registry.names("models") if name != "tied_flow"]
    measured = (rows(name, model, options.rounds) for name, model in models(device) if name in chosen)
    new = pd.DataFrame([row for of_model in measured for row in of_model])
    path = HERE / "results/models.csv"
    processor = torch.cuda.get_device_name() if device.type == "cuda" else machine()["cpu"]
    new = new.assign(date=time.strftime("%Y-%m-%d"), processor=processor, torch=torch.__version__)
    if path.exists():
        old = pd.read_csv(path)
        replaced = old["model"].isin(chosen) & (old["device"] == device.type)
        new = pd.concat([old[~replaced], new], ignore_index=True)
    new.sort_values(["device", "model"], kind="stable").to_csv(path, index=False, float_format="%.4g")
    write_readme(pd.read_csv(path))


def write_readme(table: pd.DataFrame) -> None:
    """Puts the ratios into benchmarks/README.md, between the marker and the next heading: a table a device."""
    readme = HERE / "README.md"
    before, _, after = readme.read_text().partition(MARKER)
    rest = after[after.index("\n## ") :]
    tables = "\n\n".join(described(of_device) for _, of_device in table.groupby("device"))
    readme.write_text(f"{before}{MARKER}\n\n{tables}\n{rest}")


def described(table: pd.DataFrame) -> str:
    """The ratios of one device, under what they were measured on."""
    of_norms = table[table["method"] != "forward+backward"]
    column = of_norms["method"] + ", b = " + of_norms["group"].astype(float).astype(int).astype(str)
    wide = of_norms.assign(column=column).pivot_table(
        index=["model", "objective", "parameters", "layers"],
        columns="column",
        values="ratio_to_forward_backward",
        sort=False,
    )
    first = table.iloc[0]
    heading = f"{first['processor']}, PyTorch {first['torch']}, {SAMPLES[first['device']]} samples, {first['date']}:"
    return f"{heading}\n\n{wide.reset_index().to_markdown(index=False, floatfmt='.3g')}"


if __name__ == "__main__":
    main()
