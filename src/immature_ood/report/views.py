"""Histograms of scores with the samples behind each bar: every group's bar is one letter of a word.

A view is one pair of sets, model, detector, b and epoch, of one seed. Scores have tails of many decades, so bars are
equally wide in asinh((score − median) / interquartile range) of the ID test scores, as in plots.histograms, and the
outermost hold what lies beyond. A capital letter says that a score is above the threshold, over which at most 5 % of
the ID test groups are: of ID a false alarm; a small one of OOD that the group is missed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from immature_ood.grouping import Grouping
from immature_ood.report.results import Results
from immature_ood.scores import Scores

__all__ = ["BINS", "FALSE_ALARMS", "Extreme", "View", "chosen_samples", "extremes", "threshold_of", "view_of", "views"]

BINS = len(ascii_lowercase)
FALSE_ALARMS = 0.05
TAIL = 0.005  # the share of a set's scores that may lie beyond either end
MOST_LETTERS = 1_200_000  # of all views of a page
PER_BAR = 6  # groups of a bar whose samples are shown, where there is room


@dataclass(frozen=True)
class View:
    """One histogram. edges: (BINS + 1,) scores. words: of both sets by name, the letter of each test group."""

    id_dataset: str
    ood_dataset: str
    model: str
    detector: str
    batch_size: int
    epoch: int
    edges: tuple[float, ...]
    threshold: float
    words: Mapping[str, str]


def views(results: Results) -> tuple[list[View], int]:
    """As many as there is room for, the headline's first, and how many there are in all."""
    asked = [
        (_rank(results, detector, b, one), one, detector, b, ood)
        for one in results.scores
        for detector, b in one.dead_layers
        for ood in one.ood_datasets
    ]
    asked.sort(key=lambda each: each[0])
    found: list[View] = []
    letters = 0
    for _, one, detector, b, ood in asked:
        view = view_of(one, detector, b, ood)
        letters += sum(map(len, view.words.values())) + 10 * BINS
        if found and letters > MOST_LETTERS:
            break
        found.append(view)
    return found, len(asked)


def _rank(results: Results, detector: str, b: int, scores: Scores) -> tuple[object, ...]:
    """The headline's detector and the smallest b first, then as the study names them."""
    headline, checkpoint = results.headlines[0], scores.checkpoint
    names, models = results.settings.detectors, results.models
    order = names.index(detector) if detector in names else len(names)
    return (
        detector != headline.detector,
        b,
        order,
        models.index(checkpoint.model),
        checkpoint.epoch,
        checkpoint.id_dataset,
    )


def view_of(scores: Scores, detector: str, b: int, ood: str) -> View:
    """The histogram of the test groups of a pair, as one detector scores them."""
    own = scores.checkpoint.id_dataset
    sets = {name: scores.of(detector, b, name) for name in (own, ood)}
    edges, threshold = _edges(sets[own], sets.values()), threshold_of(sets[own])
    checkpoint = scores.checkpoint
    words = {name: _word(values, edges, threshold) for name, values in sets.items()}
    return View(own, ood, checkpoint.model, detector, b, checkpoint.epoch, tuple(edges.tolist()), threshold, words)


def threshold_of(id_scores: np.ndarray, share: float = FALSE_ALARMS) -> float:
    """The lowest ID score (n,) over which at most this share of them lies.

    >>> threshold_of(np.arange(100.0))
    94.0
    """
    return float(np.sort(id_scores)[math.ceil((1 - share) * len(id_scores)) - 1])


def _edges(id_scores: np.ndarray, sets: Iterable[np.ndarray]) -> np.ndarray:
    """(BINS + 1,) scores from the lowest tail of all sets to the highest."""
    finite = id_scores[np.isfinite(id_scores)]
    low, median, high = np.quantile(finite, (0.25, 0.5, 0.75)) if finite.size else (0.0, 0.0, 0.0)
    unit = high - low or 1.0
    scaled = [np.arcsinh((values[np.isfinite(values)] - median) / unit) for values in sets]
    tails = [np.quantile(values, (TAIL, 1 - TAIL)) for values in scaled if values.size] or [np.zeros(2)]
    first, last = np.min(tails, axis=0)[0], np.max(tails, axis=0)[1]
    places = np.linspace(first, last, BINS + 1) if last > first else np.linspace(first - 1, first + 1, BINS + 1)
    return np.sinh(places) * unit + median


def _word(values: np.ndarray, edges: np.ndarray, threshold: float) -> str:
    bars = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    letters = (ascii_lowercase[bar] for bar in bars)
    return "".join(letter.upper() if over else letter for letter, over in zip(letters, values > threshold, strict=True))


def chosen_samples(found: Iterable[View], groupings: Mapping[str, Grouping], room: int) -> Iterator[tuple[str, int]]:
    """(set, place in its test set) of samples to show, no more than `room` of a set, bar by bar and view by view."""
    left = dict.fromkeys(groupings, room)
    taken: set[tuple[str, int]] = set()
    for view in found:
        for dataset, word in view.words.items():
            images = groupings[dataset].images(view.batch_size)
            for group in _of_bars(word):
                new = [(dataset, int(image)) for image in images[group] if (dataset, int(image)) not in taken]
                if len(new) <= left[dataset]:
                    left[dataset] -= len(new)
                    taken.update(new)
                    yield from new
        if not any(left.values()):
            return


def _of_bars(word: str) -> Iterator[int]:
    """The places of the first groups of each bar."""
    seen: dict[str, int] = {}
    for group, letter in enumerate(word):
        seen[letter] = seen.get(letter, 0) + 1
        if seen[letter] <= PER_BAR:
            yield group


@dataclass(frozen=True)
class Extreme:
    """A group of OOD samples: its place among the groups, its score, and the share of ID groups that score lower."""

    dataset: str
    images: tuple[int, ...]
    score: float
    above: float


def extremes(
    scores: Scores, detector: str, b: int, ood: str, images: np.ndarray, number: int
) -> tuple[list[Extreme], list[Extreme]]:
    """The OOD groups that score lowest, the most missed first, and those that score highest, the most certain first.

    images: (G, b), the places of the samples of each group.
    """
    own, other = scores.of(detector, b, scores.checkpoint.id_dataset), scores.of(detector, b, ood)
    order = np.argsort(other, kind="stable")

    def told(group: int) -> Extreme:
        places = tuple(int(image) for image in images[group])
        return Extreme(ood, places, float(other[group]), float((own < other[group]).mean()))

    number = min(number, len(order) // 2)
    return [told(group) for group in order[:number]], [told(group) for group in order[::-1][:number]]
