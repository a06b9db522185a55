"""Streams in which ID images change step by step, with OOD images among them: false alarms, detections, when to refit.

A stream is put together of groups that are scored already. Its first stage is the ID test set itself, its next ones are
what the study names: the same images turned by a growing amount, or any others. At each place stands, with probability
SHARE, a group of an OOD set in the ID group's stead. A unit gives one group to a stream, and to one stage, so that
before any drift all groups are exchangeable with one of each calibration unit. STREAMS orders are drawn, from names
alone: they are the same for all checkpoints and detectors.

An alarm is p ≤ a of `conformal.p_values`; *refit* is the first time that the capital of `martingale` reaches
1 / REFIT. It is wrong about a stream without drift and without OOD images with a probability of at most REFIT, in the
mean over calibration sets; the streams here share one, and say what became of that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from immature_ood.calibration import CALIBRATION
from immature_ood.conformal import p_values
from immature_ood.evaluation import IDENTITY
from immature_ood.martingale import first_alarm, log_capital, online_p_values
from immature_ood.scores import Scores
from immature_ood.study import DriftConfig

__all__ = ["DRIFT_COLUMNS", "REFIT", "SHARE", "STREAMS", "Stream", "drift_table", "one_of_each", "streams"]

STREAMS, SHARE, REFIT = 20, 0.1, 0.01
LEVELS = {"1": 0.01, "5": 0.05}  # by their names in columns, in percent
DRIFT_COLUMNS = (
    *("drift", *IDENTITY, "detector", "stage", "dataset", "groups"),
    *(f"{what}_{percent}" for percent in LEVELS for what in ("false_alarms", "detections")),
    *("refit", "log10_capital"),
)


@dataclass(frozen=True)
class Stream:
    """T groups one after another.

    stage: (T,) from 0 on, never falling. place: (T,) of the group among those of the stage's data set, or, where (T,)
    is_ood is true, among those of the OOD set.
    """

    stage: np.ndarray
    place: np.ndarray
    is_ood: np.ndarray

    def scores(self, of_stages: Sequence[np.ndarray], ood: np.ndarray) -> np.ndarray:
        """(T,) from the scores of each stage's data set and of the OOD set."""
        chosen = [ood if out else of_stages[stage] for stage, out in zip(self.stage, self.is_ood, strict=True)]
        return np.array([scores[place] for scores, place in zip(chosen, self.place, strict=True)], np.float64)


def streams(name: str, stages: Sequence[np.ndarray], ood: np.ndarray, share: float) -> list[Stream]:
    """STREAMS of them, which follow from a name. stages: the (G,) units of each stage's groups; ood: those of the OOD
    set, which may be none; with share 0 they are not used. As many places as the OOD set has units may be OOD.
    """
    generator = np.random.default_rng([*name.encode()])
    return [_stream(generator, stages, ood, share) for _ in range(STREAMS)]


def _stream(generator: np.random.Generator, stages: Sequence[np.ndarray], ood: np.ndarray, share: float) -> Stream:
    turns = generator.permutation(1 + max(units.max() for units in stages)) % len(stages)
    places = [one_of_each(units, generator) for units in stages]
    chosen = [each[turns[stages[k][each]] == k] for k, each in enumerate(places)]
    place, stage = np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [*map(len, chosen)])
    strangers = one_of_each(ood, generator) if share else ood[:0]
    replaced = np.flatnonzero(generator.random(len(place)) < share)
    replaced = np.sort(generator.permutation(replaced)[: len(strangers)])
    place[replaced] = strangers[: len(replaced)]
    is_ood = np.zeros(len(place), bool)
    is_ood[replaced] = True
    return Stream(stage, place, is_ood)


def one_of_each(units: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The places of one of the (G,) groups of each unit, in random order."""
    order = generator.permutation(len(units))
    _, first = np.unique(units[order], return_index=True)
    return generator.permutation(order[first])


def drift_table(scores: Iterable[tuple[Scores, Scores]], drifts: Mapping[str, DriftConfig]) -> pd.DataFrame:
    """One row a drift, OOD set, checkpoint, b, detector and stage, with the columns DRIFT_COLUMNS, sorted.

    scores: of each checkpoint, those of its test images, and those of its calibration images. Rows whose ood_dataset is
    the ID set itself are of streams without OOD images. groups: the mean number of the stage in a stream;
    false_alarms_1: the share of its ID groups, changed or not, with p ≤ 0.01, over all streams; detections_1: that of
    its OOD groups, NaN without any. refit: the share of streams whose capital has reached 1 / REFIT by the end of the
    stage; log10_capital: the median there.
    """
    rows = [
        row
        for tested, calibration in scores
        for name, drift in drifts.items()
        if drift.of == tested.checkpoint.id_dataset
        for row in _rows(tested, calibration, name, drift)
    ]
    order = ["drift", *IDENTITY, "detector", "stage"]
    return pd.DataFrame(rows, columns=[*DRIFT_COLUMNS]).sort_values(order, ignore_index=True)


def _rows(tested: Scores, calibration: Scores, name: str, drift: DriftConfig) -> Iterator[dict[str, object]]:
    """The rows of one checkpoint and drift."""
    checkpoint, datasets = tested.checkpoint, [drift.of, *drift.through]
    for detector, b in calibration.dead_layers:
        for ood in (drift.of, *(each for each in tested.ood_datasets if each not in datasets)):
            units = [tested.units_of(b, each) for each in datasets]
            share = 0.0 if ood == drift.of else SHARE
            made = streams(f"{name}/{ood}/{b}", units, tested.units_of(b, ood), share)
            own, of_own = (
                calibration.of(detector, b, drift.of, CALIBRATION),
                calibration.units_of(b, drift.of, CALIBRATION),
            )
            of_stages = [tested.of(detector, b, each) for each in datasets]
            found = _followed(made, of_stages, tested.of(detector, b, ood), own, of_own)
            place = (drift.of, ood, checkpoint.model, checkpoint.seed, checkpoint.epoch, b)
            identity = dict(zip(IDENTITY, place, strict=True))
            for stage, dataset in enumerate(datasets):
                of_stage = {"stage": stage, "dataset": dataset, **_of_stage(found, stage)}
                yield {"drift": name, **identity, "detector": detector, **of_stage}


@dataclass(frozen=True)
class _Followed:
    """A stream, the (T,) p-values of its groups, and the (T,) logarithm of the martingale's capital."""

    stream: Stream
    p: np.ndarray
    log_capital: np.ndarray


def _followed(
    made: Sequence[Stream], of_stages: Sequence[np.ndarray], ood: np.ndarray, own: np.ndarray, units: np.ndarray
) -> list[_Followed]:
    """own: (n,) calibration scores, of these (n,) units."""
    generator, found = np.random.default_rng(len(own)), []
    for stream in made:
        scores = stream.scores(of_stages, ood)
        online = online_p_values(scores, own[one_of_each(units, generator)], generator)
        found.append(_Followed(stream, p_values(scores, own, units), log_capital(online)))
    return found


def _of_stage(found: Sequence[_Followed], stage: int) -> dict[str, object]:
    """What became of all streams in a stage, and by its end."""
    in_stage = [one.stream.stage == stage for one in found]
    p = np.concatenate([one.p[here] for one, here in zip(found, in_stage, strict=True)])
    is_ood = np.concatenate([one.stream.is_ood[here] for one, here in zip(found, in_stage, strict=True)])
    until = [one.log_capital[one.stream.stage <= stage] for one in found]
    shares = {
        f"{what}_{percent}": (p[chosen] <= level).mean() if chosen.any() else np.nan
        for percent, level in LEVELS.items()
        for what, chosen in (("false_alarms", ~is_ood), ("detections", is_ood))
    }
    return {
        "groups": np.mean([here.sum() for here in in_stage]),
        **shares,
        "refit": np.mean([first_alarm(each, REFIT) is not None for each in until]),
        "log10_capital": np.median([each[-1] for each in until if len(each)]) / np.log(10),
    }
