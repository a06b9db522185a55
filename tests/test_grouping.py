"""Groups of images that are not independent of one another."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from immature_ood.grouping import group

UNITS = st.lists(st.integers(0, 12), max_size=80).map(lambda units: np.array(units, np.int64))
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)


@given(UNITS, SIZES)
def test_no_image_is_in_two_groups_and_all_are_used_alone(units, sizes):
    grouping = group(units, sizes)
    for b in sizes:
        used = grouping.images(b).ravel().tolist()
        assert len(used) == len({*used})
        assert {*used} <= {*range(len(units))}
        if b == 1:
            assert len(used) == len(units)


@given(UNITS, SIZES)
def test_the_images_of_a_group_are_of_different_units_of_one_cell(units, sizes):
    grouping = group(units, sizes)
    for b in sizes:
        members: dict[int, set[int]] = {}
        for images, cell in zip(grouping.images(b), grouping.cells(b), strict=True):
            assert len({*units[images]}) == b
            members.setdefault(int(cell), set()).update(units[images].tolist())
        shared = Counter(unit for cell in members.values() for unit in cell)
        assert all(count == 1 for count in shared.values())


@given(st.integers(0, 60), SIZES)
def test_images_on_their_own_are_grouped_as_they_come(number, sizes):
    grouping, together = group(np.arange(number), sizes), math.lcm(*sizes)
    for b in sizes:
        used = number if b == 1 else number // together * together
        assert grouping.images(b).ravel().tolist() == [*range(used)]
        assert grouping.cells(b).tolist() == [*range(used // b)]


@given(UNITS, SIZES)
def test_what_units_are_called_does_not_matter(units, sizes):
    one, other = group(units, sizes), group(1000 - 7 * units, sizes)
    for name in ("units", "order", "rest"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


@given(UNITS, SIZES)
def test_the_passes_hold_each_image_that_is_used_once(units, sizes):
    grouping = group(units, sizes)
    passes = [*grouping.passes(sizes)]
    places = np.concatenate([places for places, _ in passes])
    assert sorted(places.tolist()) == sorted(grouping.images(min(sizes)).ravel().tolist())
    assert all(len(places) % b == 0 for places, of in passes for b in of)


def test_units_of_about_one_size_take_turns_until_one_has_no_more():
    units = np.array([*"eabacdadbd"])  # a and d have three images, b two, e and c one
    grouping = group(units, [1, 2])
    assert grouping.images(2).tolist() == [
        [1, 5],
        [3, 7],
        [6, 9],
        [2, 0],
    ]  # a d, a d, a d, b e; one b and the c are left
    assert grouping.cells(2).tolist() == [0, 0, 0, 1]
    assert grouping.rest.tolist() == [4, 8]
    in_order = grouping.cells(1)[np.argsort(grouping.images(1)[:, 0])]
    assert in_order.tolist() == ["adbec".index(unit) for unit in units]


@given(UNITS.filter(len), st.integers(2, 4))
def test_no_more_images_are_left_than_the_units_sizes_need(units, b):
    """In each cell its largest unit has at most as many over as it is larger than the smallest."""
    counts = sorted(np.unique(units, return_counts=True)[1], reverse=True)
    groups = sum(counts[start + b - 1] for start in range(0, len(counts) - b + 1, b))
    assert len(group(units, [1, b]).images(b)) == groups


@pytest.mark.parametrize(("units", "groups"), [([0] * 20, 0), ([0, 1] * 10, 10), ([0, 1, 2] * 10, 10)])
def test_too_few_units_make_no_groups(units, groups):
    assert len(group(np.array(units), [1, 2]).images(2)) == groups
