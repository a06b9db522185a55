"""How far a training has come, from held-out bits/dim alone: excess(epoch) = bits/dim − the lowest of all epochs.

A kept checkpoint is *mature* where its excess is at most MATURE, or not told from 0 by the held-out images; *immature*
above IMMATURE, and *near-mature* between. What is past the lowest epoch and not mature is *overfitting*, unless the
training was still falling: then it is in a spike. Too small to matter comes first, as in evaluation.verdict.

What the held-out images tell apart. Two checkpoints see the same images under the same noise, so the error of their
difference is that of the mean of (n,) paired differences, by unit. The lowest of K kept epochs was picked on the same
images, and is lower than it should be: bounds are one-sided and simultaneous over the K − 1 comparisons with it
(Bonferroni), as in multiple comparisons with the best (Hsu 1984, Annals of Statistics 12, 1136). Then the chance that
the truly best epoch is told from the lowest is at most 1 − confidence. All this is with the lowest *kept* epoch; where
that one's own excess is above MATURE, the minimum was not kept, and noise makes nothing mature.

A training is *still falling* if its lowest epoch is its last, or its last quarter went lower than all before by more
than MATURE. Its minimum is not known then, and every excess is a lower bound: what would be mature or near-mature is
called *still falling* too.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from immature_ood.config import POOLED
from immature_ood.intervals import FEWEST_UNITS, Side

__all__ = [
    "CHAIN",
    "IMMATURE",
    "MATURE",
    "MIXED",
    "MOMENTS",
    "STATES",
    "STILL_FALLING",
    "TRAINING_COLUMNS",
    "Chain",
    "Chains",
    "HeldOut",
    "chains_of",
    "check_held_out",
    "maturity_summary",
    "with_maturity",
]

IMMATURE, MATURE = 0.1, 0.02  # bits/dim above the minimum
LATE = 0.75  # of a training: what falls after it is still falling
STILL_FALLING = "still falling"  # the training did not reach its minimum
STATES = ("untrained", "immature", "near-mature", "mature", "overfitting", STILL_FALLING)
MIXED = "mixed"  # of all seeds together, which are not in one state
ONE_PASS = "one pass"
EXCESSES = (0.5, 0.2, 0.1)
MOMENTS = ("untrained", ONE_PASS, *(f"excess {excess}" for excess in EXCESSES))
CHAIN = ("id_dataset", "model", "seed")
BITS = "fit_bits_per_dim"
REACHED_TITLE = "All {} trainings reached the minimum of their held-out bits/dim."
FALLING_TITLE = (
    "{} of {} trainings did not reach the minimum of their held-out bits/dim, so that the claim is set against\n"
    "models that are immature themselves. What the last quarter of the epochs brought:"
)
TRAINING_COLUMNS = ("excess_bits_per_dim", "noise_bits_per_dim", "maturity")

# Of one training -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeldOut:
    """What a checkpoint says of held-out images: (n,) bits/dim, and (n,) numbers of what belongs together (units)."""

    bits: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, bits: np.ndarray, units: Sequence[int]) -> "HeldOut":
        """Of the first images of a split, whose units are given, as in a manifest."""
        return cls(bits, np.asarray(units)[: len(bits)])

    def above(self, other: "HeldOut") -> float:
        """The mean difference to another checkpoint on the same images."""
        return float((self.bits - other.bits).mean())

    def reach(self, other: "HeldOut", confidence: float, comparisons: int = 1) -> float:
        """How high images alone could bring it, if it is one of several; NaN with fewer than FEWEST_UNITS units."""
        side = Side(np.unique(self.units, return_inverse=True)[1])
        if side.count < FEWEST_UNITS:
            return math.nan
        differences = self.bits - other.bits
        influences = (differences - differences.mean()) / len(differences)
        quantile = float(special.stdtrit(side.count - 1, 1 - (1 - confidence) / comparisons))
        return quantile * math.sqrt(side.covariance(influences, influences))


def check_held_out(bits: np.ndarray) -> None:
    """Raises ValueError if what lies beside a checkpoint is not (n,) float64 bits/dim."""
    if bits.ndim != 1 or bits.dtype != np.float64:
        raise ValueError(f"must be (n,) float64 bits/dim, not {bits.shape} {bits.dtype}")


def with_maturity(log: pd.DataFrame, held_out: Mapping[int, HeldOut], confidence: float = 0.95) -> pd.DataFrame:
    """The log of one training with the columns TRAINING_COLUMNS.

    log: a row an epoch, from the first on, with the columns epoch and fit_bits_per_dim. held_out: by kept epoch;
    maturity is one of STATES there, and empty elsewhere. noise_bits_per_dim: how far above the lowest kept epoch images
    alone could bring this one; of that epoch itself 0, and NaN with too few units.
    """
    bits = log.set_index("epoch")[BITS]
    excess = bits - bits.min()
    chosen = sorted(held_out)
    lowest = _lowest(excess[chosen])
    noise = {epoch: _noise(held_out, epoch, lowest, confidence, len(chosen) - 1) for epoch in chosen}
    apart = {epoch: not held_out[epoch].above(held_out[lowest]) <= noise[epoch] for epoch in chosen}
    told = {epoch: excess[lowest] > MATURE or apart[epoch] for epoch in chosen}
    past, falling = bits.idxmin(), _still_falling(bits)
    states = {epoch: _state(epoch, excess[epoch], told[epoch], epoch > past, falling) for epoch in chosen}
    columns = excess.tolist(), log["epoch"].map(noise), log["epoch"].map(states).fillna("")
    return log.assign(**dict(zip(TRAINING_COLUMNS, columns, strict=True)))


def _lowest(excess: pd.Series) -> int:
    """The epoch of the lowest of (K,) by epoch; a trained one, if there is any."""
    trained = excess[excess.index > 0]
    return int((excess if trained.empty else trained).idxmin())


def _noise(held_out: Mapping[int, HeldOut], epoch: int, lowest: int, confidence: float, comparisons: int) -> float:
    return 0.0 if epoch == lowest else held_out[epoch].reach(held_out[lowest], confidence, comparisons)


def _state(epoch: int, excess: float, told: bool, past: bool, falling: bool) -> str:
    if epoch == 0:
        return "untrained"
    mature = excess <= MATURE or not told
    if falling:  # only what is far from the lowest can be told
        return STILL_FALLING if mature or excess <= IMMATURE else "immature"
    if mature:
        return "mature"
    if past:
        return "overfitting"
    return "immature" if excess > IMMATURE else "near-mature"


def _fell(bits: pd.Series) -> float:
    """By how much (epochs,) bits/dim by epoch went lower in the last quarter than ever before."""
    before = bits[bits.index <= LATE * bits.index.max()]
    return float(before.min() - bits.min())


def _still_falling(bits: pd.Series) -> bool:
    return bool(bits.idxmin() == bits.index[-1] or _fell(bits) > MATURE)


# Of all trainings ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """One training, or all seeds of one together: excess and state by kept epoch, and whether it was still falling."""

    excess: Mapping[int, float]
    states: Mapping[int, str]
    still_falling: bool

    def reference(self, epochs: Iterable[int]) -> int:
        """Of some kept epochs the one of the lowest held-out bits/dim; a trained one, if there is any."""
        return _lowest(pd.Series({epoch: self.excess[epoch] for epoch in sorted(epochs)}))

    def described(self, epoch: int) -> str:
        """What a reference is: its state, or STILL_FALLING where the minimum was not reached."""
        return STILL_FALLING if self.still_falling else self.states[epoch]

    def moments(self, epochs: Iterable[int], one_pass: int = 1) -> dict[str, int]:
        """By name, of MOMENTS, the epoch among some kept ones; those that there are.

        one_pass: the epoch after which every training image was seen once. "excess 0.2" is the first trained epoch with
        an excess of at most 0.2.
        """
        kept = sorted(epochs)
        within = {excess: [e for e in kept if e and self.excess[e] <= excess] for excess in EXCESSES}
        named = {"untrained": 0, ONE_PASS: one_pass}
        first = {f"excess {excess}": found[0] for excess, found in within.items() if found}
        return {name: epoch for name, epoch in named.items() if epoch in kept} | first


@dataclass(frozen=True)
class Chains:
    """All trainings of a study. training: rows of what with_maturity gives, with the columns CHAIN before."""

    training: pd.DataFrame

    @cached_property
    def _found(self) -> dict[tuple[str, str, int | str], Chain]:
        return {(*key,): _chain(rows) for key, rows in self.training.groupby([*CHAIN], sort=False)}

    def of(self, id_dataset: str, model: str, seed: int | str) -> Chain:
        """One training, or all seeds together (POOLED); raises ValueError if there is none."""
        seeds = [one for one in self._found if one[:2] == (id_dataset, model) and seed in (one[2], POOLED)]
        if not seeds:
            raise ValueError(f"no training log of {id_dataset}, {model}, seed {seed}; pass it in")
        return _together([self._found[one] for one in seeds])


def chains_of(tables: Iterable[pd.DataFrame]) -> Chains:
    """The trainings in tables such as training.csv."""
    return Chains(pd.concat([*tables], ignore_index=True))


def _chain(rows: pd.DataFrame) -> Chain:
    kept = rows[rows["maturity"] != ""].set_index("epoch")
    excess, states = kept["excess_bits_per_dim"].to_dict(), kept["maturity"].to_dict()
    return Chain(excess, states, _still_falling(rows.set_index("epoch")[BITS]))


def _together(chains: Sequence[Chain]) -> Chain:
    """The mean excess; a state that all share, else MIXED; still falling if any is."""
    epochs = set.intersection(*({*one.excess} for one in chains))
    states = {epoch: {one.states[epoch] for one in chains} for epoch in epochs}
    return Chain(
        {epoch: float(np.mean([one.excess[epoch] for one in chains])) for epoch in epochs},
        {epoch: min(found) if len(found) == 1 else MIXED for epoch, found in states.items()},
        any(one.still_falling for one in chains),
    )


# For people ----------------------------------------------------------------------------------------------------------


def maturity_summary(training: pd.DataFrame) -> str:
    """Whether trainings reached their minimum, and kept it: a line for each ID set and model where some did not.

    training: what with_maturity gives of all trainings.
    """
    by_chain = [rows.set_index("epoch") for _, rows in training.groupby([*CHAIN], sort=False)]
    falling = [rows for rows in by_chain if _still_falling(rows[BITS])]
    reached = [rows for rows in by_chain if not _still_falling(rows[BITS])]
    title = FALLING_TITLE.format(len(falling), len(by_chain)) if falling else REACHED_TITLE.format(len(reached))
    missed = [rows for rows in reached if not rows["maturity"].eq("mature").any()]
    return "\n".join([title, *_by_model(falling, by_chain, _fallen), *_by_model(missed, by_chain, _missed)])


def _by_model(
    chosen: Sequence[pd.DataFrame], of: Sequence[pd.DataFrame], said: Callable[[Sequence[pd.DataFrame]], str]
) -> Iterator[str]:
    """A line for each ID set and model: how many of its seeds are among the chosen, and what is said of those."""
    for name, together in _named(chosen).items():
        yield f"  {name}, {len(together)} of {len(_named(of)[name])} seeds: {said(together)}"


def _named(chains: Sequence[pd.DataFrame]) -> dict[str, list[pd.DataFrame]]:
    found: dict[str, list[pd.DataFrame]] = {}
    for rows in chains:
        found.setdefault(", ".join(rows[["id_dataset", "model"]].iloc[0]), []).append(rows)
    return found


def _fallen(chains: Sequence[pd.DataFrame]) -> str:
    bits = [rows[BITS] for rows in chains]
    fell, lowest = _span([_fell(each) for each in bits], ".3f"), _span([each.min() for each in bits], ".3f")
    epochs, last = _span([each.idxmin() for each in bits], "d"), max(each.index[-1] for each in bits)
    return f"it fell by {fell} bits/dim, to {lowest} at epoch {epochs} of {last}"


def _missed(chains: Sequence[pd.DataFrame]) -> str:
    """Of trainings that reached their minimum, but kept no mature epoch."""
    kept = [rows.loc[rows["maturity"] != "", "excess_bits_per_dim"] for rows in chains]
    lowest = [_lowest(excess) for excess in kept]
    above = _span([excess[epoch] for excess, epoch in zip(kept, lowest, strict=True)], ".3f")
    minimum = _span([rows[BITS].idxmin() for rows in chains], "d")
    return f"no mature epoch was kept; the lowest kept, {_span(lowest, 'd')}, is {above} above the minimum at {minimum}"


def _span(values: Sequence[float], form: str) -> str:
    """The lowest and the highest; one of them where they print alike."""
    return " to ".join(dict.fromkeys(format(each, form) for each in (min(values), max(values))))
