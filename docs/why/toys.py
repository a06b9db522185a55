"""When does a misestimated density rank better than the true one, and does overlap predict it? Toys with both known.

    python docs/why/toys.py --problems 300 --figure docs/why/toys.png

A problem is two mixtures of three Gaussians in the plane, ID and OOD, whose densities p and p_ood are known. In one
half of the problems both are random ("apart"); in the other OOD is ID with its components drawn together to 0.3 of
their size, where p is highest ("inside"), as simple images are said to lie for a model of less simple ones. A mixture
of eight Gaussians q is fitted to 500 ID points by Adam on all of them, from a start that knows nothing, and looked at
after 0, 1, 2, 4, … steps. By Neyman and Pearson (1933) no score ranks better than log p_ood − log p; −log p is the case
of an even p_ood, and −log q may be better or worse. With --table T, T has a row a problem and step:

    held_out        −log q in nats, mean over 1,000 further ID points
    likelihood      AUROC of −log q, 1,000 ID against 1,000 OOD points, as all AUROCs here
    typicality      of |log q − its mean over the held-out points|
    gradient_norms  of the paper's score, one Gaussian a tensor of the parameters (there are four)
    true            of −log p
    optimal         of log p_ood − log p
    overlap         OVL of log q over ID and OOD points (immature_ood.overlap, Scott's bandwidth)
    overlap_true    the same of log p
    alignment       Spearman's correlation, over all test points, of log p − log q (what q is wrong by, as a score) with
                    log p_ood − log p: whether the errors of q point to where OOD points are

What is printed are means over problems with their 95 % intervals: problems are independent of one another.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.func import grad, vmap

from immature_ood.overlap import overlap_coefficient, spearman

STEPS = (0, *(2**k for k in range(12)))
COMPONENTS, FITTED = 3, 8
TRAIN, TEST = 500, 1000
KINDS = ("apart", "inside")
SCORES = ("likelihood", "typicality", "gradient_norms", "true", "optimal")


@dataclass(frozen=True)
class Mixtures:
    """P mixtures of K Gaussians in the plane.

    logits: (P, K), of the weights. means: (P, K, 2). log_scales: (P, K, 2) and shears: (P, K), of the whitening maps
    z = (e^−a (x₁ − m₁), e^−b (x₂ − m₂) + s z₁), so that the density of a component is N(z; 0, 1) e^(−a−b).
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    shears: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters, "layers" of the gradient norms."""
        return self.logits, self.means, self.log_scales, self.shears

    def log_prob(self, x: Tensor) -> Tensor:
        """(P, N) in nats, of points (P, N, 2)."""
        return vmap(vmap(log_prob, (None, 0)))(self.tensors(), x)

    def squared_norms(self, x: Tensor) -> Tensor:
        """(P, N, 4): of the gradient of log q of each point (P, N, 2), by tensor of parameters."""

        def norms(tensors: tuple[Tensor, ...], point: Tensor) -> Tensor:
            return torch.stack([each.square().sum() for each in grad(log_prob)(tensors, point)])

        return vmap(vmap(norms, (None, 0)))(self.tensors(), x)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(P, count, 2)."""
        chosen = torch.multinomial(self.logits.softmax(1), count, replacement=True, generator=generator)  # (P, count)
        means, scales, shears = (
            torch.take_along_dim(each, chosen.reshape(*chosen.shape, *[1] * (each.dim() - 2)), 1)
            for each in (self.means, self.log_scales.exp(), self.shears)
        )
        z = torch.randn(*chosen.shape, 2, generator=generator, dtype=self.means.dtype)
        second = z[..., 1] - shears * z[..., 0]
        return means + scales * torch.stack([z[..., 0], second], -1)


def log_prob(tensors: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """A number in nats, of one point (2,) under one mixture, tensors without the axis of problems."""
    logits, means, log_scales, shears = tensors
    first, second = ((x - means) * (-log_scales).exp()).unbind(-1)  # (K,) each
    squares = first**2 + (second + shears * first) ** 2
    return (logits.log_softmax(0) - 0.5 * squares - log_scales.sum(-1)).logsumexp(0) - math.log(2 * math.pi)


def draw(problems: int, generator: torch.Generator) -> Mixtures:
    """Mixtures that are as different as ID and OOD sets may be: means within 3 of 0, scales of 0.05 to 1."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(problems, COMPONENTS, *shape, generator=generator, dtype=torch.float64)

    return Mixtures(uniform(-1, 1), uniform(-3, 3, 2), uniform(math.log(0.05), 0.0, 2), uniform(-1, 1))


def drawn_together(mixtures: Mixtures, size: float = 0.3) -> Mixtures:
    """The same components, smaller."""
    return replace(mixtures, log_scales=mixtures.log_scales + math.log(size))


def start(problems: int, generator: torch.Generator) -> Mixtures:
    """Wide components at random places."""
    means = 2 * torch.randn(problems, FITTED, 2, generator=generator, dtype=torch.float64)
    zeros = torch.zeros(problems, FITTED, dtype=torch.float64)
    return Mixtures(zeros, means, torch.zeros_like(means), zeros.clone())


def trained(model: Mixtures, points: Tensor) -> Iterator[tuple[int, Mixtures]]:
    """(step, the mixtures then) at each of STEPS, by Adam on all points (P, N, 2)."""
    tensors = [each.requires_grad_() for each in model.tensors()]
    optimizer = torch.optim.Adam(tensors, lr=0.02)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            yield step, Mixtures(*(each.detach().clone() for each in tensors))
        optimizer.zero_grad()
        (-model.log_prob(points).mean(dim=1).sum()).backward()
        optimizer.step()


def rows(problems: int, kind: str, seed: int) -> Iterator[dict[str, object]]:
    """A row a problem and step."""
    generator = torch.Generator().manual_seed(seed)
    own, other, model = (make(problems, generator) for make in (draw, draw, start))
    other = drawn_together(own) if kind == "inside" else other
    train, held_out, own_test, other_test = (
        mixtures.sample(count, generator) for mixtures, count in ((own, TRAIN), (own, TEST), (own, TEST), (other, TEST))
    )
    tests = torch.cat([own_test, other_test], dim=1)
    true, ratio = own.log_prob(tests), other.log_prob(tests) - own.log_prob(tests)
    for step, fitted in trained(model, train):
        log_q, of_held_out = fitted.log_prob(tests), fitted.log_prob(held_out)
        norms, fit_norms = (fitted.squared_norms(x).log().numpy() for x in (tests, held_out))
        found = {"true": true, "optimal": -ratio, "likelihood": log_q}  # higher is more ID, as yet
        found["typicality"] = -(log_q - of_held_out.mean(1, keepdim=True)).abs()
        surprise = ((norms - fit_norms.mean(1, keepdims=True)) ** 2 / fit_norms.var(1, keepdims=True)).sum(2)
        found["gradient_norms"] = -torch.from_numpy(surprise)
        for problem in range(problems):
            scores = {name: -each[problem].numpy() for name, each in found.items()}
            error = (true - log_q)[problem].numpy()
            yield {
                **{"kind": kind, "problem": problem, "step": step, "held_out": -float(of_held_out[problem].mean())},
                **{name: auroc(scores[name]) for name in SCORES},
                "overlap": overlap_coefficient(*halves(scores["likelihood"])),
                "overlap_true": overlap_coefficient(*halves(scores["true"])),
                "alignment": spearman(np.column_stack([error, scores["optimal"]])),
            }


def halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ID and of OOD points, (TEST,) each."""
    return values[:TEST], values[TEST:]


def auroc(scores: np.ndarray) -> float:
    """Of the first half against the second, in [0, 1]."""
    return float(roc_auc_score(np.repeat([0, 1], TEST), scores))


# What is printed, and drawn ------------------------------------------------------------------------------------------


def mean(values: pd.Series, name: str = "") -> str:
    """The mean over problems, which are independent, with its 95 % interval."""
    values = values.dropna()
    reach = stats.t.ppf(0.975, len(values) - 1) * values.sem()
    return f"{name}{values.mean():+.3f} [{values.mean() - reach:+.3f}, {values.mean() + reach:+.3f}]"


def of_each(table: pd.DataFrame, first: str, second: str) -> pd.Series:
    """By problem, Spearman's correlation over steps."""
    return pd.Series({key: spearman(one[[first, second]].to_numpy()) for key, one in table.groupby("problem")})


def moments(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By moment a row a problem: untrained; the first step within 0.2 nats of the lowest; the lowest; the last."""
    lowest = table.loc[table.groupby("problem")["held_out"].idxmin()].set_index("problem")
    near = table[table["held_out"] <= table["problem"].map(lowest["held_out"]) + 0.2]
    first = near.groupby("problem").first()
    by_step = table.set_index("problem")
    return {
        "untrained": by_step[by_step["step"] == 0],
        "within 0.2 nats": first,
        "lowest held-out": lowest,
        "last": by_step[by_step["step"] == STEPS[-1]],
    }


def summary(table: pd.DataFrame) -> Iterator[str]:
    """The answers, a line each."""
    at = moments(table)
    mature, early = at["lowest held-out"], at["within 0.2 nats"]
    steps = [f"{rows_then['step'].median():.0f}" for rows_then in (early, mature)]
    yield f"{len(mature)} problems; median step within 0.2 nats: {steps[0]}, lowest: {steps[1]}"
    for name, rows_then in at.items():
        means = "  ".join(mean(rows_then[score], f"{score} ") for score in SCORES)
        yield f"{name:16} {means}"
    for name, rows_then in at.items():
        better = (rows_then["likelihood"] > rows_then["true"] + 0.02).mean()
        worse = (rows_then["likelihood"] < rows_then["true"] - 0.02).mean()
        yield f"-log q against -log p, {name}: better by .02 in {better:.0%}, worse in {worse:.0%}"
    for score in ("likelihood", "typicality", "gradient_norms"):
        yield mean(early[score] - mature[score], f"early - mature, {score}: ")
    gained = mature["likelihood"] - mature["true"]
    yield f"gain of q on p against the alignment of its errors, over problems: {_over(mature, gained, 'alignment')}"
    moved = early["likelihood"] - mature["likelihood"]
    yield f"early - mature against the difference of overlaps, over problems: {_over(early, moved, mature)}"
    yield mean(of_each(table, "overlap", "likelihood"), "overlap and AUROC of -log q over steps: ")
    apart = table.assign(apart=(table["likelihood"] - 0.5).abs())
    yield mean(of_each(apart, "overlap", "apart"), "overlap and |AUROC - 0.5| over steps: ")
    for name in ("likelihood", "gradient_norms"):
        yield f"overlap and AUROC of {name} over problems, lowest: {_over(mature, mature[name], 'overlap')}"


def _over(rows_then: pd.DataFrame, values: pd.Series, other: str | pd.DataFrame) -> str:
    """Spearman's correlation over problems with a column, or with what overlap changed by; 95 % by Fisher's z."""
    second = rows_then[other] if isinstance(other, str) else rows_then["overlap"] - other["overlap"]
    found = spearman(np.column_stack([values, second]))
    reach = 1.96 * 1.03 / math.sqrt(len(values) - 3)
    low, high = np.tanh(np.arctanh(found) + np.array([-reach, reach]))
    return f"{found:+.3f} [{low:+.3f}, {high:+.3f}]"


def draw_figure(table: pd.DataFrame, path: Path) -> None:
    """Mean AUROCs over steps for each kind of problem, and overlap against AUROC at the lowest held-out step."""
    figure, axes = plt.subplots(1, 3, figsize=(7.0, 2.6), layout="constrained")
    names = {"likelihood": "−log q", "typicality": "typicality", "gradient_norms": "gradient norms"}
    for kind, axis, marker in zip(KINDS, axes, "os", strict=False):
        over_steps = table[table["kind"] == kind].groupby("step")[[*SCORES]].mean()
        places = range(len(over_steps))
        for name, label in names.items():
            axis.plot(places, over_steps[name], marker="o", markersize=2, label=label)
        for name, label, style in (("true", "−log p", "--"), ("optimal", "optimal", ":")):
            axis.plot(places, over_steps[name], style, color="0.3", label=label)
        axis.set_xticks(places, [str(step) for step in over_steps.index], rotation=90)
        axis.set(title=kind, xlabel="steps", ylabel="AUROC, mean", ylim=(0, 1.02))
        mature = moments(table[table["kind"] == kind])["lowest held-out"]
        axes[2].scatter(mature["overlap"], mature["likelihood"], s=6, alpha=0.6, marker=marker, label=kind)
    axes[0].legend(frameon=False, loc="lower right")
    axes[2].legend(frameon=False, loc="lower left")
    axes[2].axhline(0.5, color="0.3", linewidth=0.8)
    axes[2].set(title="lowest held-out step", xlabel="overlap of log q", ylabel="AUROC of −log q", ylim=(0, 1.02))
    figure.savefig(path, dpi=200)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="a CSV; one that is there is read, not made anew")
    parser.add_argument("--figure", type=Path, help="a PNG")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.table and options.table.exists():
        table = pd.read_csv(options.table)
    else:
        each = (row for kind in KINDS for row in rows(options.problems // len(KINDS), kind, options.seed))
        table = pd.DataFrame(each)
        if options.table:
            table.round(4).to_csv(options.table, index=False)
    for kind, of_kind in table.groupby("kind"):
        print(kind, *summary(of_kind), "", sep="\n")
    if options.figure:
        plt.rcParams.update({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
        draw_figure(table, options.figure)


if __name__ == "__main__":
    main()
