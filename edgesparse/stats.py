"""Medians, intervals and comparisons, from the latencies of several launches. Pure: no files, no clock.

**The launch is the unit of independence.** Samples inside one launch share its memory layout, its clock and its
moment, so a thousand of them know no more about the next launch than one median does. Everything with an interval
here is computed from one value per launch, the launch's median; the number of samples inside never narrows it.

**Intervals** are those of the sign test, interpolated between order statistics (`median_interval`). They suppose
nothing about the noise but that launches are independent. Simulated with 6 to 12 launches under normal, lognormal,
bimodal and contaminated noise between launches, they hold the true median in 94.4 to 95.9 % of the runs. The
alternatives do not: the sign test's own interval, without interpolation, in up to 99.2 % (8 launches); the bootstrap
percentile interval in 86 to 88 % with 7 launches, because a resample of so few values repeats them; Student's t in as
little as 70 % when launches fall into two groups. `tests/test_stats.py` repeats the simulation.

**Ratios** pair round r of one cell with round r of the other: both were launched one after the other, so whatever
drifts over rounds (heat, clocks, other load) cancels. The interval is the median's, over the logarithms of the pairs'
ratios. Unpaired tests such as Mann-Whitney's see the drift as noise: where launches slow down by 20 % over a run, they
miss a difference of 5 % that the pairs show nearly every time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
        p_value: one minus the highest confidence whose interval leaves 1 out, so that it never contradicts the verdict;
            None with fewer than 6 rounds. n rounds reach 2^(1-n) at best.
        verdict: "faster" or "slower" where the interval leaves 1 out.
    """

    value: float | None
    interval: Interval | None
    p_value: float | None
    verdict: Verdict


def median_interval(values: ArrayLike) -> Interval | None:
    """The 95 % interval of the median of the population that the values come from.

    Source: Hettmansperger and Sheather, "Confidence intervals based on interpolated order statistics", Statistics &
    Probability Letters 4 (1986). The interval lies between two neighbouring intervals of the sign test, of which one
    holds the median more often than asked for and the next less often.

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
    depth, share = _depth(count)
    low = (1 - share) * ordered[depth - 1] + share * ordered[depth]
    high = (1 - share) * ordered[count - depth] + share * ordered[count - depth - 1]
    return float(low), float(high)


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
    """How compatible the values are with a median of 0: the two-sided p that belongs to `median_interval`.

    Equal to the exact sign test's where 0 lies outside all values or on one of them, and between its steps elsewhere.
    """
    ordered = np.sort(np.asarray(values, float))
    middle = float(np.median(ordered)) if len(ordered) else 0.0
    if middle == 0:
        return 1.0
    if middle < 0:
        ordered = -ordered[::-1]
    count, depth = len(ordered), int((ordered <= 0).sum())
    if depth == 0:
        return 1 - _coverage(count)[1]
    share = -ordered[depth - 1] / (ordered[depth] - ordered[depth - 1])
    outer, inner = _coverage(count)[depth : depth + 2]
    step = share * depth / ((count - depth) - share * (count - 2 * depth))
    return float(min(1.0, 1 - outer + step * (outer - inner)))


def p90(samples: ArrayLike) -> float | None:
    """The 90th percentile; None with fewer than MIN_SAMPLES_P90 samples."""
    return _percentile(np.asarray(samples, float), 90, MIN_SAMPLES_P90)


def p99(samples: ArrayLike) -> float | None:
    """The 99th percentile; None with fewer than MIN_SAMPLES_P99 samples."""
    return _percentile(np.asarray(samples, float), 99, MIN_SAMPLES_P99)


def half_width_share(median: float, interval: Interval) -> float:
    """Half the interval's width as a share of the median: the figure behind "known within 2 %"."""
    return (interval[1] - interval[0]) / 2 / median


def farthest_share(values: Sequence[float]) -> float:
    """How far the value farthest from the median is from it, as a share of the median; 0 for no values."""
    if not values:
        return 0.0
    middle = float(np.median(values))
    return max(abs(value - middle) for value in values) / middle


def _percentile(samples: NDArray[np.float64], percent: float, at_least: int) -> float | None:
    return float(np.percentile(samples, percent)) if len(samples) >= at_least else None


@lru_cache(maxsize=256)
def _depth(count: int) -> tuple[int, float]:
    """Where the interval ends among `count` order statistics: the depth, and the share of the step to the next one."""
    coverage = _coverage(count)
    depth = max(depth for depth in range(1, len(coverage)) if coverage[depth] >= CONFIDENCE)
    step = (coverage[depth] - CONFIDENCE) / (coverage[depth] - coverage[depth + 1])
    return depth, (count - depth) * step / (depth + (count - 2 * depth) * step)


@lru_cache(maxsize=256)
def _coverage(count: int) -> list[float]:
    """How often the depth-th smallest and the depth-th largest of `count` values enclose the median: an entry for every
    depth from 0 to one past the middle."""
    coverage, below, exactly, total = [1.0], 0, 1, 2**count
    for depth in range(1, count // 2 + 2):
        below += exactly
        exactly = exactly * (count - depth + 1) // depth
        coverage.append(1 - 2 * (below / total))
    return coverage
