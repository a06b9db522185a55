"""When scores that come one after another are no longer those of ID data: conformal test martingales.

A stream of scores is exchangeable if every order of them is as likely. Then the *online p-values*, the randomised rank
of each among those before it,

    p_t = (#{i < t: s_i > s_t} + U_t #{i ≤ t: s_i = s_t}) / t,        U_t uniform on [0, 1],

are independent and uniform (Vovk, Gammerman & Shafer 2005), from the first on; calibration scores come first, so that
drift is told from the beginning of the stream. A bet on each p-value against its being uniform, whose mean gain is 1,
gives a capital S_t that is a martingale: by Ville's inequality

    P(S_t ≥ 1/a for any t) ≤ a,

so that an alarm at a capital of 1/a is false with a probability of at most a, however long the stream is. Nothing is
assumed of the scores, and no test is repeated.

*Simple jumper* (Vovk et al. 2021, Retrain or not retrain, arXiv 2102.10439): the capital begins in equal parts with the
bets 1 + ε(p − ½), ε in {−1, 0, 1}; before each bet a share J of all of it is dealt anew to the three. So it follows
drift that begins late, or changes its direction, for the price of a slow fall where there is none. ε = −1 wins where
p-values are small, which is where scores rise.
"""

import math
from bisect import bisect_left, bisect_right, insort

import numpy as np

__all__ = ["JUMP", "first_alarm", "log_capital", "online_p_values"]

JUMP = 0.01
BETS = (-1, 0, 1)


def online_p_values(stream: np.ndarray, calibration: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(T,) randomised p-values of a stream of (T,) scores, each against (n,) calibration scores and all before it.

    Of groups that belong together only one may be among the scores: they are not exchangeable. Raises ValueError if a
    score is NaN.
    """
    if np.isnan(stream).any() or np.isnan(calibration).any():
        raise ValueError("a score is NaN: nothing can be said of its rank; did training diverge?")
    before, uniform = sorted(calibration.tolist()), generator.random(len(stream))
    found = np.empty(len(stream))
    for t, score in enumerate(stream.tolist()):
        insort(before, score)
        above = len(before) - bisect_right(before, score)
        ties = len(before) - above - bisect_left(before, score)
        found[t] = (above + uniform[t] * ties) / len(before)
    return found


def log_capital(p: np.ndarray, jump: float = JUMP) -> np.ndarray:
    """(T,) the logarithm of the simple jumper's capital after each of (T,) p-values, from 1 before the first."""
    log_total, shares = 0.0, [1 / len(BETS)] * len(BETS)
    found = np.empty(len(p))
    for t, each in enumerate(p.tolist()):  # of three numbers, plain Python is ten times as fast as NumPy
        dealt = [(1 - jump) * share + jump / len(BETS) for share in shares]
        parts = [share * (1 + bet * (each - 0.5)) for share, bet in zip(dealt, BETS, strict=True)]
        gain = sum(parts)
        log_total += math.log(gain)
        shares = [part / gain for part in parts]
        found[t] = log_total
    return found


def first_alarm(log_capital: np.ndarray, level: float) -> int | None:
    """The place at which a capital first reaches 1 / level, None if it never does.

    >>> first_alarm(np.log([1.0, 30.0, 150.0, 2.0]), 0.01)
    2
    """
    reached = np.flatnonzero(log_capital >= -np.log(level))
    return int(reached[0]) if len(reached) else None
