"""Speed and memory of gradient norms and of training, against peers: make bench writes benchmarks/results/*.csv.

Methods take turns, round by round, on the same weights and images, one thread, by process CPU time; a result is the
median over the rounds. Memory is the peak of a process of its own, less what it held before, the least of three.
"""

import argparse
import copy
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from immature_ood import runtime
from immature_ood.gradients.products import has_bfloat16
from immature_ood.layers import is_chosen
from immature_ood.models._glow import Glow
from immature_ood.models.glow import Config as GlowConfig
from immature_ood.models.glow import make
from immature_ood.provenance import versions

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / ".packages")]

import norms  # noqa: E402
import training  # noqa: E402
from public_glow import PublicGlow  # noqa: E402


@dataclass(frozen=True)
class Config:
    """A model, and the images a step is made of: multiples of 5 for norms."""

    glow: GlowConfig
    shape: tuple[int, int, int]
    norm_images: int
    train_images: int


CONFIGS = {
    "rgb, K=4": Config(GlowConfig(blocks=3, steps=4, hidden_channels=512), (3, 32, 32), 30, 32),
    "grey, K=2": Config(GlowConfig(blocks=1, steps=2, hidden_channels=1000), (1, 28, 28), 15, 16),
    "small": Config(GlowConfig(blocks=2, steps=4, hidden_channels=64), (3, 32, 32), 60, 64),
    "pocket": Config(GlowConfig(blocks=2, steps=4, hidden_channels=64), (1, 28, 28), 60, 64),
    "rgb, K=32": Config(GlowConfig(blocks=3, steps=32, hidden_channels=512), (3, 32, 32), 5, 8),
    "grey, K=10": Config(GlowConfig(blocks=1, steps=10, hidden_channels=1000), (1, 28, 28), 10, 16),
}
PARTS = ("own: forward", "own: forward and activation backward")
BASE = {"batch": 32, "steps": 4, "hidden channels": 64, "side": 16}
SCALES = {"batch": [8, 32, 128], "steps": [1, 4, 16], "hidden channels": [16, 64, 256], "side": [8, 16, 32]}
KEYS = ["config", "method"]
PEERS = ("opacus", "backpack", "normflows")  # methods, and the modules that they need
MEMORY_RUNS = 3
MARKER = "<!-- results: written by make bench -->"
GROUPS = {
    "own": (1, 5),
    "own, b = 1 and 5": (5,),
    "own, without weights": (1, 5),
    "own, without weights, b = 1 and 5": (5,),
    "own, bf16-norms": (1, 5),
    "vmap": (1, 5),
    "loop": (1, 5),
    "opacus": (1, 5),
    "backpack": (1,),
}


def model_of(config: Config, dtype: torch.dtype = torch.float32) -> Glow:
    """A Glow after initialisation, its weights moved a little, so that no layer is dead but the top prior's weight."""
    generator = torch.Generator().manual_seed(0)
    model = make(config.glow, config.shape, generator)
    model.initialise(torch.rand(16, *config.shape, generator=generator) - 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.003 * torch.randn(parameter.shape, generator=generator)
    return model.to(dtype)


def images_of(config: Config, number: int) -> Tensor:
    """Images in [−0.5, 0.5), (number, C, H, W)."""
    return torch.rand(number, *config.shape, generator=torch.Generator().manual_seed(1)) - 0.5


def interleaved(
    methods: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, np.ndarray]:
    """Seconds of every method in every round, after one round to warm up; by default of process CPU time."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for round_number in range(rounds + 1):
        for name, method in methods.items():
            began = clock()
            method()
            if round_number:
                seconds[name].append(clock() - began)
    return {name: np.array(times) for name, times in seconds.items()}


def forward_flops(config: Config) -> float:
    """Of the convolutions for one image, a multiplication and an addition each counted."""
    seen = []

    def count(module: torch.nn.Module, inputs: tuple[Tensor], y: Tensor) -> None:
        weight = module.weight
        seen.append(2 * weight.numel() * y.shape[2] * y.shape[3])

    model = PublicGlow(model_of(config))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.log_prob(images_of(config, 1))
    return float(sum(seen))


def peak_flops() -> float:
    """Of one thread, in float32: the fastest of some large products by oneDNN."""
    x, y = torch.randn(1024, 1024), torch.randn(1024, 1024)
    times = interleaved({"product": lambda: torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], "")}, 10)
    return 2 * 1024**3 / times["product"].min()


def possible(methods: Iterable[str]) -> list[str]:
    """Those of the methods that can be measured here; says which cannot, and why."""
    why = {peer: "is not installed" for peer in PEERS if find_spec(peer) is None}
    if not has_bfloat16(torch.device("cpu")):
        why["own, bf16-norms"] = "needs a processor that multiplies bfloat16"
    methods = [*methods]
    for method in why.keys() & methods:
        print(f"left out: {method}, which {why[method]}; its rows stay as they are", flush=True)
    return [method for method in methods if method not in why]


def norm_rows(name: str, rounds: int, methods: Sequence[str]) -> list[dict[str, object]]:
    """One row a method and group size, and those of what they are compared with."""
    config = CONFIGS[name]
    model, x = model_of(config), images_of(config, config.norm_images)
    public = PublicGlow(model)
    jobs: dict[str, Callable[[], object]] = {"forward+backward": lambda: public.log_prob(x).mean().backward()}
    jobs |= parts_of_own(model, x)
    for method, groups in ((method, GROUPS[method]) for method in methods):
        run = norms.METHODS[method](model)
        for b in groups:
            jobs[f"{method}/{b}"] = lambda run=run, b=b: run(x, b)
    seconds = interleaved(jobs, rounds)
    chosen = torch.tensor([is_chosen(layer, "without_weights") for layer, _ in model.layers()])
    exact = {b: norms.METHODS["loop"](model_of(config, torch.float64))(x[:5].double(), b) for b in (1, 5)}
    rows = []
    for job, times in seconds.items():
        method, _, b = job.partition("/")
        ratios = times / seconds["forward+backward"]
        row = {
            "config": name,
            "batch": len(x),
            "group": int(b) if b else None,
            "device": "cpu",
            "method": method,
            "ratio_to_forward_backward": np.median(ratios),
            "ratio_low": np.quantile(ratios, 0.25),
            "ratio_high": np.quantile(ratios, 0.75),
            "images_per_second": len(x) / np.median(times),
            "peak_mib": None if method in PARTS else peak_mib(name, job),
        }
        if b:
            found = norms.METHODS[method](model)(x[:5], int(b)).double()
            expected = exact[int(b)][:, chosen] if method in norms.SOME_LAYERS else exact[int(b)]
            relative = ((found - expected).abs() / expected)[expected > 0]
            row |= {"max_relative_error": relative.max().item(), "median_relative_error": relative.median().item()}
        rows.append(row)
        print(row, flush=True)
    return rows


def parts_of_own(model: Glow, x: Tensor) -> dict[str, Callable[[], object]]:
    """What own is made of: the frozen, folded forward, and with it the backward of the activations."""
    frozen = copy.deepcopy(model).requires_grad_(False).to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)

    def forward() -> None:
        with torch.no_grad():
            frozen.log_prob(x)

    def backward() -> None:
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(frozen.log_prob(leaf).sum(), leaf)

    return dict(zip(PARTS, (forward, backward), strict=True))


def scaling_rows(rounds: int) -> list[dict[str, object]]:
    """Time an image of own and of forward+backward, as one of batch, K, hidden channels and side grows."""
    rows = []
    for what, values in SCALES.items():
        for value in values:
            sizes = {**BASE, what: value}
            glow = GlowConfig(blocks=2, steps=sizes["steps"], hidden_channels=sizes["hidden channels"])
            config = Config(glow, (3, sizes["side"], sizes["side"]), sizes["batch"], sizes["batch"])
            model, x = model_of(config), images_of(config, config.norm_images)
            public, own = PublicGlow(model), norms.own(model)
            jobs = {"forward+backward": lambda: public.log_prob(x).mean().backward(), "own": lambda: own(x, 1)}  # noqa: B023
            limit = 3 * forward_flops(config) / peak_flops()
            for method, times in interleaved(jobs, rounds).items():
                seconds = np.median(times) / len(x)
                rows.append({"what": what, "value": value, "method": method, "seconds": seconds, "limit": limit})
    return rows


def plot_scaling(table: pd.DataFrame, path: Path) -> None:
    """Time per image against each size, with forward+backward's FLOPs at the machine's peak as the limit."""
    figure, panels = plt.subplots(1, len(SCALES), figsize=(7, 2.2), sharey=True, layout="constrained")
    for axes, (what, rows) in zip(panels, table.groupby("what", sort=False), strict=True):
        for method, of_method in rows.groupby("method"):
            axes.plot(of_method["value"], 1e3 * of_method["seconds"], marker="o", markersize=3, label=method)
        axes.plot(of_method["value"], 1e3 * of_method["limit"], color="0.5", linestyle=":", label="FLOP limit")
        axes.set(xscale="log", yscale="log", xlabel=what)
        axes.set_xticks(of_method["value"], labels=map(str, of_method["value"]))
        axes.minorticks_off()
    panels[0].set_ylabel("ms an image")
    panels[0].legend(fontsize=6, frameon=False)
    figure.savefig(path, dpi=150)


def write_readme(of_norms: pd.DataFrame, of_training: pd.DataFrame, described: dict[str, object]) -> None:
    """Puts the tables into benchmarks/README.md, after its marker."""
    readme = HERE / "README.md"
    text = readme.read_text().partition(MARKER)[0]
    where = ", ".join(f"{key} {value}" for key, value in described.items())
    spread = [f"{low:.3g}–{high:.3g}" for low, high in zip(of_norms["ratio_low"], of_norms["ratio_high"], strict=True)]
    of_norms = of_norms.assign(quartiles=spread).drop(columns=["ratio_low", "ratio_high"])
    tables = "\n\n".join(
        table.drop(columns="commit").to_markdown(index=False, floatfmt=".3g", missingval="")
        for table in (of_norms, of_training)
    )
    readme.write_text(
        f"{text}{MARKER}\n\nMeasured last: {where}.\n\n{tables}\n\n![how cost grows](results/scaling.png)\n"
    )


def merged(path: Path, rows: list[dict[str, object]], described: dict[str, object]) -> pd.DataFrame:
    """The table at path, its rows of the same configurations and methods replaced by these; the others stay."""
    new = pd.DataFrame(rows).assign(date=described["date"], commit=described["commit"])
    if path.exists():
        old = pd.read_csv(path)
        again = pd.MultiIndex.from_frame(old[KEYS]).isin(pd.MultiIndex.from_frame(new[KEYS]))
        new = pd.concat([old[~again], new], ignore_index=True)
    new = new.sort_values(KEYS, key=in_order, kind="stable")
    new.to_csv(path, index=False, float_format="%.4g")
    return new


def in_order(names: pd.Series) -> pd.Series:
    """The places of configurations or methods in the tables; what is in no list comes last, in the order it has."""
    known = [*CONFIGS, "forward+backward", *PARTS, *GROUPS]
    return names.map(lambda name: known.index(name) if name in known else len(known))


def training_rows(name: str, rounds: int, *, keep_memory: bool) -> list[dict[str, object]]:
    """One row a method."""
    config = CONFIGS[name]
    x = images_of(config, config.train_images)
    chosen = possible(training.METHODS) if keep_memory else ("own", "public Glow")
    steps = {method: training.METHODS[method](model_of(config), config.glow) for method in chosen}
    seconds = interleaved({method: lambda step=step: step(x) for method, step in steps.items()}, rounds)
    flops, peak = 3 * forward_flops(config), peak_flops()
    rows = []
    for method, times in seconds.items():
        speed = len(x) / np.median(times)
        rows.append(
            {
                "config": name,
                "batch": len(x),
                "device": "cpu",
                "method": method if keep_memory else f"{method}, default malloc",
                "images_per_second": speed,
                "ratio_to_public_glow": np.median(seconds["public Glow"] / times),
                "flop_fraction_of_peak": flops * speed / peak,
            }
        )
    return rows


def peak_mib(name: str, job: str) -> float:
    """Peak memory of one call over what the process held before, MiB, in a process of its own: the least of some.

    A system that takes memory away and gives it back makes it seem more: the same call differed by 40 MiB.
    """
    command = [sys.executable, __file__, "--memory-of", name, job]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(MEMORY_RUNS)]
    return min(float(run.stdout.split()[-1]) for run in runs)


def memory_of(name: str, job: str) -> None:
    """Prints what peak_mib reads."""
    config = CONFIGS[name]
    model, x = model_of(config), images_of(config, config.norm_images)
    method, _, b = job.partition("/")
    public = PublicGlow(model)
    run = norms.METHODS[method](model) if b else None
    public.log_prob(x[:1])  # what is made once, such as oneDNN's code
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_mib("VmRSS")
    if run is None:
        public.log_prob(x).mean().backward()
    else:
        run(x, int(b))
    print(memory_mib("VmHWM") - before)


def memory_mib(field: str) -> float:
    """Memory of this process, MiB: VmRSS, now; VmHWM, at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": model.split(": ")[1],
        "threads": 1,
        "system": f"{platform.system()} {platform.machine()}",
        **versions("torch"),
        **of_peers(),
    }


def of_peers() -> dict[str, str]:
    """The versions of the peers that are installed."""
    found = {}
    for package in ("opacus", "backpack-for-pytorch", "normflows"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def default_malloc_rows(name: str, rounds: int) -> list[dict[str, object]]:
    """The training rows of a process that leaves the allocator alone."""
    command = [sys.executable, __file__, "--default-malloc", name, "--rounds", str(rounds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    """Measures and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["rgb, K=4", "grey, K=2", "small", "pocket"], choices=CONFIGS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--methods", nargs="+", choices=GROUPS, help="norms by these alone are measured anew")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--default-malloc", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the peers'
    runtime.prepare(1, keep_memory=not (options.default_malloc or options.memory_of))
    if options.memory_of:
        memory_of(*options.memory_of)
        return
    if options.default_malloc:
        rows = training_rows(options.default_malloc, options.rounds, keep_memory=False)
        print(json.dumps([{k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} for row in rows]))
        return
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    described = machine()
    for name in options.configs:
        if not options.methods:
            rows = training_rows(name, options.rounds, keep_memory=True) + default_malloc_rows(name, options.rounds)
            merged(results / "training.csv", rows, described)
        rows = norm_rows(name, options.rounds, possible(options.methods or GROUPS))
        of_norms = merged(results / "gradients.csv", rows, described)
    if "small" in options.configs and not options.methods:
        scaling = pd.DataFrame(scaling_rows(options.rounds))
        scaling.to_csv(results / "scaling.csv", index=False, float_format="%.4g")
        plot_scaling(scaling, results / "scaling.png")
    write_readme(of_norms, pd.read_csv(results / "training.csv"), described)


if __name__ == "__main__":
    main()
