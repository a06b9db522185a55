"""Martingales: fair bets, Ville's bound, and that drift is seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from immature_ood.martingale import first_alarm, log_capital, online_p_values

STREAMS = 800


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5]), max_size=8), st.lists(st.sampled_from([0.0, 1.0]), max_size=5))
def test_online_p_values_are_the_definition(stream, calibration):
    found = online_p_values(np.array(stream), np.array(calibration), np.random.default_rng(0))
    uniform = np.random.default_rng(0).random(len(stream))
    for t, score in enumerate(stream):
        before = [*calibration, *stream[: t + 1]]  # with the score itself, which ties
        above, ties = sum(s > score for s in before), sum(s == score for s in before)
        assert found[t] == pytest.approx((above + uniform[t] * ties) / len(before))


@pytest.mark.parametrize("ties", [False, True])
def test_online_p_values_of_an_exchangeable_stream_are_uniform_and_independent(ties):
    generator = np.random.default_rng(1)
    drawn = generator.normal(size=(3000, 14))
    drawn = np.round(drawn) if ties else drawn
    p = np.array([online_p_values(row[4:], row[:4], generator) for row in drawn])
    assert stats.kstest(p.ravel(), "uniform").pvalue > 0.01
    correlations = np.corrcoef(p.T)[~np.eye(10, dtype=bool)]
    assert np.abs(correlations).max() < 5 / math.sqrt(len(p))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="a score is NaN"):
        online_p_values(np.array([np.nan]), np.zeros(3), np.random.default_rng(0))


def slow_capital(p, jump):
    """The definition: the mean over all paths of bets, by their parts of the capital."""
    parts = dict.fromkeys((-1, 0, 1), 1 / 3)
    found = []
    for each in p:
        total = sum(parts.values())
        parts = {bet: ((1 - jump) * part + jump * total / 3) * (1 + bet * (each - 0.5)) for bet, part in parts.items()}
        found.append(math.log(sum(parts.values())))
    return found


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1))
def test_the_capital_is_that_of_the_definition(p, jump):
    np.testing.assert_allclose(log_capital(np.array(p), jump), slow_capital(p, jump), atol=1e-9)


@given(st.lists(st.floats(0, 1), max_size=10))
def test_the_next_bet_is_fair(p):
    """The mean capital over a uniform next p-value is the capital before: it is linear in p, so two values tell."""
    after = [math.exp(log_capital(np.array([*p, end]))[-1]) for end in (0.0, 1.0)]
    before = math.exp(log_capital(np.array(p))[-1]) if p else 1.0
    assert np.mean(after) == pytest.approx(before)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_few_streams_without_drift_ever_raise_an_alarm(level):
    """Ville's bound over 300 groups, each stream with calibration scores of its own."""
    generator = np.random.default_rng(2)
    alarms = [
        first_alarm(log_capital(online_p_values(row[50:], row[:50], generator)), level) is not None
        for row in generator.normal(size=(STREAMS, 350))
    ]
    assert np.mean(alarms) <= level + 4 * math.sqrt(level * (1 - level) / STREAMS)


@pytest.mark.parametrize(("begins", "latest"), [(0, 60), (200, 320)])
@pytest.mark.parametrize("direction", [-1, 1])
def test_drift_is_seen_soon_after_it_begins_whatever_its_direction(begins, latest, direction):
    generator = np.random.default_rng(3)
    stream = generator.normal(size=500) + 2 * direction * (np.arange(500) >= begins)
    alarm = first_alarm(log_capital(online_p_values(stream, generator.normal(size=300), generator)), 0.01)
    assert begins < alarm < latest


def test_no_alarm_is_none():
    assert first_alarm(np.zeros(5), 0.01) is None
    assert first_alarm(np.empty(0), 0.01) is None
