"""How often ID images raise an alarm at a stated level, by p-values from calibration images, and how often OOD ones do.

The p-values are those of `conformal`, whose guarantee is about groups of a random unit: all rates are means over units
of the share of their groups that raise an alarm. Beside them stands what p-values from the fit images give, which the
detector has seen, so that they promise nothing: what it was fitted on looks more like ID data than what is new.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from tabulate import tabulate

from immature_ood.calibration import CALIBRATION
from immature_ood.conformal import by_unit, least_p_value, likely_rate, p_values
from immature_ood.evaluation import IDENTITY, chain_of
from immature_ood.intervals import Estimate, mean_share
from immature_ood.maturity import Chain, Chains
from immature_ood.scores import Scores

__all__ = [
    "ABOVE",
    "COLUMNS",
    "LEVELS",
    "OUT_OF_REACH",
    "TOO_FEW",
    "WITHIN",
    "Familiar",
    "false_alarm_summary",
    "false_alarm_table",
    "familiar",
]

LEVELS = (0.01, 0.05)
WITHIN, ABOVE, OUT_OF_REACH, TOO_FEW = "within", "above", "out of reach", "too few units"  # verdicts
COLUMNS = (
    *IDENTITY,
    *("detector", "level", "excess_bits_per_dim", "maturity", "calibration_units", "test_units"),
    *("familiar_calibration", "familiar_test"),
    *("alarms", "alarms_low", "alarms_high", "likely_rate", "verdict", "alarms_of_fit_images"),
)
STRANGER = 0.1  # by how much fewer test images than calibration images may be of units that detectors are fitted on
SETTING = ["id_dataset", "batch_size", "calibration_units"]
TITLE = (
    "{model}, b={b}: false alarms at p ≤ {level:g}, the share of ID test groups, by p-values from calibration images;\n"
    "in brackets by p-values from the fit images, which are invalid. Means over ID sets{seeds}, by epoch."
)
EXPLAINED = (
    "Above: a false-alarm rate is above its level by more than test images, and calibration images of their number,\n"
    "explain (each at the confidence of the study; of many rates some are so by chance). Out of reach: with K\n"
    "calibration units no p-value is below 1/(K + 1), so that there are no alarms at all."
)
STRANGERS = (
    "{id_dataset}: {familiar_calibration:.0%} of the calibration images are of units that detectors were fitted on,\n"
    "but {familiar_test:.0%} of the test images: of its false alarms nothing is promised."
)


@dataclass(frozen=True)
class Familiar:
    """The shares of calibration and of test images that are of units of which a fit image is, too.

    Where sources deal images into splits they are alike. Where they deal units (blocks of photographs), calibration
    images have relatives among the fit images, and test images have none: these are then no longer exchangeable.
    """

    calibration: float
    test: float

    @property
    def alike(self) -> bool:
        """Whether calibration images are not more familiar than test images."""
        return self.calibration <= self.test + STRANGER


def familiar(
    splits: Mapping[str, Mapping[str, Sequence[str]]],
    name_of: Callable[[str], str],
    fit_images: int,
    calibration_images: int,
    test_images: int,
) -> Familiar:
    """What a manifest's splits say of it. name_of: the unit of an image by its origin (datasets.unit_of)."""
    of_fit = [*map(name_of, splits["fit"]["origins"][: fit_images + calibration_images])]
    known = {*of_fit[:fit_images]}

    def share(units: Iterable[str]) -> float:
        return float(np.mean([unit in known for unit in units]))

    return Familiar(share(of_fit[fit_images:]), share(map(name_of, splits["test"]["origins"][:test_images])))


# The table ------------------------------------------------------------------------------------------------------------


def false_alarm_table(
    scores: Iterable[tuple[Scores, Scores]], chains: Chains, known: Mapping[str, Familiar], confidence: float
) -> pd.DataFrame:
    """One row a checkpoint, data set, b, detector and level, with the columns COLUMNS, sorted.

    scores: of each checkpoint, those of its fit and test images, and those of its calibration images; detectors that
    have none of the latter have no rows. known: by ID data set. The verdict is OUT_OF_REACH if no p-value can be as low
    as the level, so that there are no alarms. Else rows with ood_dataset = id_dataset, of false alarms, have ABOVE if
    the interval of the rate is above likely_rate, what calibration sets of so many units stay below with the
    probability `confidence`; TOO_FEW without an interval; and WITHIN. The others, of detections, have none. Intervals
    are about test images, by unit; model, detector and calibration images are held fixed. alarms_of_fit_images is NaN
    where fit images are too few for the level. Raises ValueError if chains lack a training.
    """
    rows = [
        row | {"familiar_calibration": familiar.calibration, "familiar_test": familiar.test}
        for tested, calibration in scores
        for familiar in [known[tested.checkpoint.id_dataset]]
        for row in _rows(tested, calibration, chain_of(chains, tested), confidence)
    ]
    order = [*IDENTITY, "detector", "level"]
    return pd.DataFrame(rows, columns=[*COLUMNS]).sort_values(order, ignore_index=True)


def _rows(tested: Scores, calibration: Scores, chain: Chain, confidence: float) -> Iterator[dict[str, object]]:
    """The rows of one checkpoint."""
    checkpoint = tested.checkpoint
    of_checkpoint = (checkpoint.model, checkpoint.seed, checkpoint.epoch)
    maturity = {
        "excess_bits_per_dim": chain.excess[checkpoint.epoch],
        "maturity": chain.states[checkpoint.epoch],
    }
    for detector, b in calibration.dead_layers:
        for dataset in (checkpoint.id_dataset, *tested.ood_datasets):
            identity = (checkpoint.id_dataset, dataset, *of_checkpoint, b)
            found = _Tested.of(tested, calibration, (detector, b), dataset)
            for level in LEVELS:
                named = dict(zip(IDENTITY, identity, strict=True))
                yield {**named, "detector": detector, **maturity, **found.at(level, confidence)}


@dataclass(frozen=True)
class _Tested:
    """One detector's p-values of one data set's (G,) test groups.

    valid, invalid: by calibration images, by fit images; calibration_units, fit_units: of how many units these are.
    units: (G,), of the test groups. of_id: whether these are ID.
    """

    valid: np.ndarray
    invalid: np.ndarray
    units: np.ndarray
    calibration_units: int
    fit_units: int
    of_id: bool

    @classmethod
    def of(cls, tested: Scores, calibration: Scores, key: tuple[str, int], dataset: str) -> Self:
        own, (detector, b) = tested.checkpoint.id_dataset, key
        scores = tested.of(detector, b, dataset)
        of_calibration, of_fit = calibration.units_of(b, own, CALIBRATION), tested.units_of(b, own, "fit")
        return cls(
            p_values(scores, calibration.of(detector, b, own, CALIBRATION), of_calibration),
            p_values(scores, tested.of(detector, b, own, "fit"), of_fit),
            tested.units_of(b, dataset),
            len(np.unique(of_calibration)),
            len(np.unique(of_fit)),
            dataset == own,
        )

    def at(self, level: float, confidence: float) -> dict[str, object]:
        """The columns that depend on the level, and how many units they are of."""
        shares = by_unit(self.valid <= level, self.units)
        alarms, likely = mean_share(shares, confidence), likely_rate(level, self.calibration_units, confidence)
        reached, by_fit = (least_p_value(units) <= level for units in (self.calibration_units, self.fit_units))
        of_fit_images = by_unit(self.invalid <= level, self.units).mean() if by_fit else np.nan
        return {
            "level": level,
            "calibration_units": self.calibration_units,
            "test_units": len(shares),
            **{"alarms": alarms.value, "alarms_low": alarms.low, "alarms_high": alarms.high},
            "likely_rate": likely,
            "verdict": self._verdict(alarms, reached, likely),
            "alarms_of_fit_images": of_fit_images,
        }

    def _verdict(self, alarms: Estimate, reached: bool, likely: float) -> str:
        if not reached:
            return OUT_OF_REACH
        if not self.of_id:
            return ""
        if np.isnan(alarms.low):
            return TOO_FEW
        return ABOVE if alarms.low > likely else WITHIN


# For people -----------------------------------------------------------------------------------------------------------


def false_alarm_summary(table: pd.DataFrame) -> str:
    """The rates of false alarms by detector and epoch, by how mature the model was, and what they cannot tell.

    table: what false_alarm_table gives.
    """
    own = table[table["id_dataset"] == table["ood_dataset"]]
    reached = table[table["verdict"] != OUT_OF_REACH]
    by_key = own[own["verdict"] != OUT_OF_REACH].groupby(["model", "batch_size", "level"])
    notes = "\n".join([EXPLAINED, *_out_of_reach(own), *_strangers(own)])
    return "\n\n".join([*(_by_epoch(rows, *key) for key, rows in by_key), _by_maturity(reached), notes]) + "\n"


def _by_epoch(own: pd.DataFrame, model: str, b: int, level: float) -> str:
    seeds = " and seeds" if own["seed"].nunique() > 1 else ""
    means = own.groupby(["detector", "epoch"])[["alarms", "alarms_of_fit_images"]].mean()
    cells = means.apply(lambda row: "{} ({})".format(*map(_number, row)), axis=1).unstack().fillna("–")
    title = TITLE.format(model=model, b=b, level=level, seeds=seeds)
    return f"{title}\n{tabulate(cells, headers=['detector', *map(str, cells.columns)], disable_numparse=True)}"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _by_maturity(table: pd.DataFrame) -> str:
    """Of each state of the model, and level: rates, how many are above, and detections of OOD groups."""
    rows = []
    for (level, state), found in table.groupby(["level", "maturity"], sort=False):
        of_id = found["id_dataset"] == found["ood_dataset"]
        own, told = found[of_id], found[of_id & found["verdict"].isin([WITHIN, ABOVE])]
        above = f"{told['verdict'].eq(ABOVE).sum()} of {len(told)}"
        rates = [own["alarms"].mean(), own["alarms_of_fit_images"].mean(), found[~of_id]["alarms"].mean()]
        rows.append([f"{level:g}", state, *map(_number, rates[:2]), above, _number(rates[2])])
    headers = ["level", "model", "false alarms", "of fit images", "above", "detections"]
    return tabulate(sorted(rows, key=lambda row: row[0]), headers, disable_numparse=True)


def _out_of_reach(own: pd.DataFrame) -> list[str]:
    """A line for each ID set, b and level whose calibration units are too few."""
    found = own[own["verdict"] == OUT_OF_REACH].groupby([*SETTING, "level"]).size().index
    return [
        f"{name}, b={b}: p ≤ {level:g} is out of reach of {units} calibration units" for name, b, units, level in found
    ]


def _strangers(own: pd.DataFrame) -> list[str]:
    """A line for each ID set whose calibration images are more familiar to detectors than its test images."""
    sets = own[["id_dataset", "familiar_calibration", "familiar_test"]].drop_duplicates()
    return [
        STRANGERS.format(**row)
        for row in sets.to_dict("records")
        if not Familiar(row["familiar_calibration"], row["familiar_test"]).alike
    ]
