"""Medians, intervals and comparisons, from the latencies of several launches. Pure: no files, no clock.

**The launch is the unit of independence.** Samples inside one launch share its memory layout, its clock and its
moment, so a thousand of them know no more about the next launch than one median does. Everything with an interval
here is computed from one value per launch, the launch's median; the number of samples inside never narrows it.

**Intervals** are those of the sign test, between order statistics (`median_interval`). They suppose nothing about the
noise but that launches are independent, hold the true median in at least 95 % of the runs whatever its distribution,
and are what the agent's rule for stopping goes by. The price is steps: with 6 launches it is 96.9 %, with 8 99.2 %,
with 10 97.9 %. What would be narrower breaks its word with so few launches: the bootstrap percentile interval of 7
holds the median in 86 to 89 % of the runs, because a resample of so few values repeats them, and Student's t of 12 in
68 % when launches fall into two groups; interpolation between order statistics holds about 95 %, so that equal cells
are called different somewhat more often than allowed. `tests/test_stats.py` simulates it.

**Ratios** pair round r of one cell with round r of the other: both were launched one after the other, so whatever
drifts over rounds (heat, clocks, other load) cancels. The interval is the median's, over the logarithms of the pairs'
ratios. Unpaired tests such as Mann-Whitney's see the drift as noise: where launches slow down by 20 % over a run, they
miss a difference of 5 % that the pairs show nearly every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95

# The smallest number of launches n whose extremes enclose the median with 95 % confidence: 2 / 2^n <= 0.05.
MIN_LAUNCHES = 6

# The fewest samples for a tail percentile to be claimed; the rule of MLPerf Inference.
MIN_SAMPLES_P90 = 64
MIN_SAMPLES_P99 = 662

Verdict = Literal["faster", "slower", "no difference", "too few launches"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as dense: dense over variant, above 1 is faster.

    Attributes:
        value: the median of the rounds' ratios; None where no round has both. It may differ in the last digits from the
            quotient of the two medians, which drift does not leave alone.
        interval: 95 % interval of `value`; None with fewer than 6 rounds.
        p_value: the exact sign test's, which never contradicts the verdict; None with fewer than 6 rounds. n rounds
            reach 2^(1-n) at best.
        verdict: "faster" or "slower" where the interval leaves 1 out.
    """

    value: float | None
    interval: Interval | None
    p_value: float | None
    verdict: Verdict


def median_interval(values: ArrayLike) -> Interval | None:
    """The interval that holds the median of the population that the values come from in at least 95 % of the cases.

    Source: the sign test turned round (Conover, Practical Nonparametric Statistics, 3.2). The narrowest one between two
    values, as many from the bottom as from the top, whose confidence is 95 %.

    Args:
        values: independent values, such as the medians of launches; any order, any unit.

    Returns:
        (low, high) in the values' unit; None with fewer than MIN_LAUNCHES of them, whose extremes already hold the
        median less often than 95 %.
    """
    ordered = np.sort(np.asarray(values, float))
    count = len(ordered)
    if count < MIN_LAUNCHES:
        return None
    depth = _depth(count)
    return float(ordered[depth - 1]), float(ordered[count - depth])


def compare(dense_ms: Mapping[int, float], variant_ms: Mapping[int, float]) -> Ratio:
    """Hold a variant against dense.

    Args:
        dense_ms: round -> median latency of that round's launch of the dense model.
        variant_ms: the same of the variant; rounds that only one of them has are left out.

    Returns:
        The ratio, with verdict "too few launches" where fewer than MIN_LAUNCHES rounds have both.
    """
    rounds = sorted(dense_ms.keys() & variant_ms.keys())
    if not rounds:
        return Ratio(None, None, None, "too few launches")
    logs = np.log([dense_ms[number] / variant_ms[number] for number in rounds])
    value = math.exp(float(np.median(logs)))
    interval = median_interval(logs)
    if interval is None:
        return Ratio(value, None, None, "too few launches")
    low, high = interval
    verdict: Verdict = "faster" if low > 0 else "slower" if high < 0 else "no difference"
    return Ratio(value, (math.exp(low), math.exp(high)), sign_p_value(logs), verdict)


def sign_p_value(values: ArrayLike) -> float:
    """How compatible the values are with a median of 0: the p-value of the exact two-sided sign test.

    Values that are 0 count against a difference: they are put with those on the side that has fewer. So the p-value is
    at most 5 % exactly where `median_interval` leaves 0 out.
    """
    signs = np.sign(np.asarray(values, float))
    above, below = int((signs > 0).sum()), int((signs < 0).sum())
    fewer = len(signs) - max(above, below)
    return min(1.0, 2 * next(islice(_shares_up_to(len(signs)), fewer, None)))


def p90(samples: ArrayLike) -> float | None:
    """The 90th percentile; None with fewer than MIN_SAMPLES_P90 samples."""
    return _percentile(np.asarray(samples, float), 90, MIN_SAMPLES_P90)


def p99(samples: ArrayLike) -> float | None:
    """The 99th percentile; None with fewer than MIN_SAMPLES_P99 samples."""
    return _percentile(np.asarray(samples, float), 99, MIN_SAMPLES_P99)


def half_width_share(median: float, interval: Interval) -> float:
    """Half the interval's width as a share of the median: the figure behind "known within 2 %"."""
    return (interval[1] - interval[0]) / 2 / median


def _percentile(samples: NDArray[np.float64], percent: float, at_least: int) -> float | None:
    return float(np.percentile(samples, percent)) if len(samples) >= at_least else None


@lru_cache(maxsize=256)
def _depth(count: int) -> int:
    """Which of `count` ordered values, from either end, is the limit: the last that leaves 2.5 % outside at most."""
    for depth, beyond in enumerate(_shares_up_to(count)):
        if 2 * beyond > 1 - CONFIDENCE:
            return depth
    return 0


def _shares_up_to(count: int) -> Iterator[float]:
    """How often at most 0, 1, 2, … of `count` fair coins show heads."""
    ways, total = 1, 0
    for heads in range(count + 1):
        total += ways
        yield total / 2**count
        ways = ways * (count - heads) // (heads + 1)
