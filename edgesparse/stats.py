"""Medians, intervals and comparisons, from the latencies of several launches. Pure: no files, no clock.

**The launch is the unit of independence.** Samples inside one launch share its memory layout, its clock and its
moment, so a thousand of them know no more about the next launch than one median does. Everything with an interval
here is computed from one value per launch, the launch's median; the number of samples inside never narrows it.

**Intervals** are those of a bootstrap over launches: launches drawn anew, not from the few values themselves but from
the line through them (their interpolated quantiles), at the level that is calibrated for that number of launches. It
needs no drawing: with what chance two ordered launches enclose the median is known, whatever the noise, and between the
pair that does so in 95 % and more and the next, Hettmansperger and Sheather tell the place. It holds the true median in
94 to 96 % of the runs with 6 launches and more. The plain percentile bootstrap breaks its word with so few launches:
that of 7 holds the median in 86 to 89 % of the runs, because a resample of so few values repeats them; Student's t of
12 in 68 % when launches fall into two groups. `tests/test_stats.py` simulates it.

**Ratios** pair round r of one cell with round r of the other: both were launched within that round, so whatever
drifts over rounds (heat, clocks, other load) cancels. What drifts within a round does not; but every round draws an
order of its own (`edgesparse.agent.order`), so that it favours neither cell and is noise like any other. The interval
is the median's, over the logarithms of the pairs' ratios.

**Verdicts** need all of three things: an interval that leaves 1 out, a p-value that stands among all the ratios of the
run (Holm), and a ratio beyond the board's own noise floor where that was measured (`bench --aa`). The p-value is the
smaller one of two, doubled for the choice: the sign test of the pairs, which sees small differences through a drift;
and Mann-Whitney's of the launches, which with few launches can tell large differences more surely than any test of
pairs (with 6, 0.2 % against 3 %). Where even launches that do not overlap at all could not stand among so many ratios,
the verdict is "too few launches" and no claim that there is no difference.

**Two runs** were measured at different times, so nothing pairs their launches and nothing cancels. They are compared by
Mann and Whitney's test of all launches of one against all of the other, and the interval is the test's own: the changes
that it does not refuse (Moses), around the middle of all quotients (Hodges and Lehmann). It holds a change of all
launches alike in 95 % of the pairs and more, with 6 launches and whatever the noise. What the launches of a run share,
such as a warmer room or another layout of memory since boot, neither of the two can show. So the question asked is not
whether the runs differ but whether they differ by more than the board's noise floor: interval and p-value are widened
by it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95

# The smallest number of launches n whose extremes enclose the median with 95 % confidence: 2 / 2^n <= 0.05.
MIN_LAUNCHES = 6

# Up to so many values in both groups Mann-Whitney's distribution is counted out; beyond, it is normal.
_COUNTED_VALUES = 60

# The fewest samples for a tail percentile to be claimed; the rule of MLPerf Inference.
MIN_SAMPLES_P90 = 64
MIN_SAMPLES_P99 = 662

Verdict = Literal["faster", "slower", "no difference", "too few launches"]
ChangeVerdict = Literal["less", "more", "no difference", "too few launches"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as dense: dense over variant, above 1 is faster.

    Attributes:
        value: the median of the rounds' ratios; None where no round has both. It may differ in the last digits from the
            quotient of the two medians, which drift does not leave alone.
        interval: 95 % interval of `value`; None with fewer than 6 rounds.
        p_value: how well launches without any difference would agree with these; None with fewer than 6 rounds.
        p_adjusted: the same among all ratios of the run (Holm).
        launches: how many rounds have both.
        verdict: "faster" or "slower" where interval, `p_adjusted` and noise floor all say so.
    """

    value: float | None
    interval: Interval | None
    p_value: float | None
    p_adjusted: float | None
    launches: int
    verdict: Verdict


@dataclass(frozen=True)
class Change:
    """What became of a figure from one run to another: new over base, above 1 is more.

    Attributes:
        value: the middle of all quotients of a launch of the new run by one of the base; None where a run has none.
        interval: 95 % interval of `value`, widened by the noise floor; None with fewer than 6 launches in either.
        p_value: how well launches that differ by no more than the noise floor would agree with these.
        p_adjusted: the same among all cells of the two runs (Holm).
        launches: of the base and of the new run.
        verdict: "less" or "more" where `interval` leaves 1 out and `p_adjusted` says so too.
    """

    value: float | None
    interval: Interval | None
    p_value: float | None
    p_adjusted: float | None
    launches: tuple[int, int]
    verdict: ChangeVerdict


def median_interval(values: ArrayLike) -> Interval | None:
    """The interval that holds the median of the population that the values come from in 95 % of the cases.

    Source: Hettmansperger and Sheather, Confidence intervals based on interpolated order statistics, Statistics and
    Probability Letters 4 (1986).

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
    position = _position(count) - 1
    below, share = int(position), position - int(position)
    low = ordered[below] + share * (ordered[below + 1] - ordered[below])
    high = ordered[count - 1 - below] - share * (ordered[count - 1 - below] - ordered[count - 2 - below])
    return float(low), float(high)


def compare(dense_ms: Mapping[int, float], variant_ms: Mapping[int, float], noise_floor: float = 0.0) -> Ratio:
    """Hold a variant against dense, as if there were no other ratio; `decide` judges several.

    Args:
        dense_ms: round -> median latency of that round's launch of the dense model.
        variant_ms: the same of the variant; rounds that only one of them has are left out.
        noise_floor: by how much of it a variant differs from itself on this board, such as 0.01.

    Returns:
        The ratio, with verdict "too few launches" where fewer than MIN_LAUNCHES rounds have both.
    """
    rounds = sorted(dense_ms.keys() & variant_ms.keys())
    if not rounds:
        return Ratio(None, None, None, None, 0, "too few launches")
    dense, variant = (np.log([side[number] for number in rounds]) for side in (dense_ms, variant_ms))
    value = math.exp(float(np.median(dense - variant)))
    interval = median_interval(dense - variant)
    if interval is None:
        return Ratio(value, None, None, None, len(rounds), "too few launches")
    low, high = interval
    p_value = min(1.0, 2 * min(sign_p_value(dense - variant), mann_whitney_p_value(dense, variant)))
    ratio = Ratio(value, (math.exp(low), math.exp(high)), p_value, p_value, len(rounds), "no difference")
    return decide([ratio], noise_floor)[0]


def decide(ratios: Sequence[Ratio], noise_floor: float = 0.0) -> list[Ratio]:
    """Judge the ratios of a run among each other.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).

    Args:
        ratios: all of the run, in any order.
        noise_floor: by how much of it a variant differs from itself on this board, such as 0.01.

    Returns:
        The same in the same order, with p_adjusted and verdict.
    """
    adjusted = _holm([ratio.p_value for ratio in ratios])
    family = sum(ratio.p_value is not None for ratio in ratios)
    return [
        ratio if p_adjusted is None else _judged(ratio, p_adjusted, family, noise_floor)
        for ratio, p_adjusted in zip(ratios, adjusted, strict=True)
    ]


def compare_runs(base: Sequence[float], new: Sequence[float], noise_floor: float = 0.0) -> Change:
    """Hold a cell of one run against the same cell of another, as if there were no other; `decide_changes` judges
    several.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition, sections 4.1 to 4.3.

    Args:
        base, new: one positive value per launch, such as its median latency; any order, one unit.
        noise_floor: by how much the same cell may differ from itself on this board, such as 0.01.

    Returns:
        The change, with verdict "too few launches" where either run has fewer than MIN_LAUNCHES.
    """
    launches = (len(base), len(new))
    if not all(launches):
        return Change(None, None, None, None, launches, "too few launches")
    before, after = np.log(np.asarray(base, float)), np.log(np.asarray(new, float))
    shifts = np.sort((after[:, None] - before[None, :]).ravel())
    shift, allowed = float(np.median(shifts)), math.log1p(noise_floor)
    if min(launches) < MIN_LAUNCHES:
        return Change(math.exp(shift), None, None, None, launches, "too few launches")
    beyond = _shifts_beyond(*launches)
    low, high = float(shifts[beyond]) - allowed, float(shifts[len(shifts) - 1 - beyond]) + allowed
    # Of all the shifts that the noise floor allows, the nearest one agrees best with these launches.
    near = math.copysign(allowed, shift)
    p_value = 1.0 if abs(shift) <= allowed else mann_whitney_p_value(before, after - near)
    change = Change(
        math.exp(shift), (math.exp(low), math.exp(high)), p_value, p_value, launches, "no difference"
    )  # fmt: skip
    return decide_changes([change])[0]


def decide_changes(changes: Sequence[Change]) -> list[Change]:
    """Judge the changes of all cells of two runs among each other (Holm); the same in the same order."""
    family = sum(change.p_value is not None for change in changes)
    judged = []
    for change, p_adjusted in zip(changes, _holm([each.p_value for each in changes]), strict=True):
        if p_adjusted is None or change.interval is None:
            judged.append(change)
            continue
        low, high = change.interval
        verdict: ChangeVerdict = "no difference"
        if low > 1 or high < 1:
            if p_adjusted <= 1 - CONFIDENCE:
                verdict = "more" if low > 1 else "less"
            elif family * 2 / math.comb(sum(change.launches), change.launches[0]) > 1 - CONFIDENCE:
                verdict = "too few launches"
        judged.append(replace(change, p_adjusted=p_adjusted, verdict=verdict))
    return judged


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p-value among all of them; None stays None."""
    known = sorted(p_value for p_value in p_values if p_value is not None)
    adjusted: dict[float, float] = {}
    highest = 0.0
    for place, p_value in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * p_value))
        adjusted.setdefault(p_value, highest)
    return [None if p_value is None else adjusted[p_value] for p_value in p_values]


def fewest_launches(ratios: int) -> int:
    """How many launches each cell needs so that a difference can be told among so many ratios."""
    count = MIN_LAUNCHES
    while ratios * _least_p_value(count) > 1 - CONFIDENCE:
        count += 1
    return count


def _judged(ratio: Ratio, p_adjusted: float, family: int, noise_floor: float) -> Ratio:
    assert ratio.interval is not None and ratio.value is not None
    low, high = ratio.interval
    verdict: Verdict = "no difference"
    if (low > 1 or high < 1) and abs(math.log(ratio.value)) > math.log1p(noise_floor):
        if p_adjusted <= 1 - CONFIDENCE:
            verdict = "faster" if low > 1 else "slower"
        elif family * _least_p_value(ratio.launches) > 1 - CONFIDENCE:
            verdict = "too few launches"
    return replace(ratio, p_adjusted=p_adjusted, verdict=verdict)


def _least_p_value(launches: int) -> float:
    """What `compare` gives where no launch of one overlaps with any of the other."""
    return min(1.0, 2 * min(math.ldexp(2, -launches), 2 / math.comb(2 * launches, launches)))


def sign_p_value(values: ArrayLike) -> float:
    """How compatible the values are with a median of 0: the p-value of the exact two-sided sign test.

    Values that are 0 count against a difference: they are put with those on the side that has fewer.
    """
    signs = np.sign(np.asarray(values, float))
    above, below = int((signs > 0).sum()), int((signs < 0).sum())
    fewer = len(signs) - max(above, below)
    return min(1.0, 2 * next(islice(_shares_up_to(len(signs)), fewer, None)))


def mann_whitney_p_value(one: ArrayLike, other: ArrayLike) -> float:
    """How compatible two groups are with being of one population: Mann and Whitney's two-sided test of their ranks.

    Exact, ties included, up to 60 values in all: counts out which share of all ways to split the ranks is as far from
    even as this one. Beyond, by the normal distribution.
    """
    first, values = len(np.asarray(one)), np.concatenate([np.asarray(one, float), np.asarray(other, float)])
    total = len(values)
    doubled = _doubled_ranks(values)
    off = abs(2 * sum(doubled[:first]) - 2 * first * (total + 1))  # from the mean of the sum, times four
    if total > _COUNTED_VALUES:
        _, ties = np.unique(values, return_counts=True)
        variance = first * (total - first) / 12 * (total + 1 - float((ties**3 - ties).sum()) / total / (total - 1))
        return 1.0 if variance <= 0 else math.erfc((off / 4) / math.sqrt(2 * variance))
    ways = _ways_to_split(tuple(sorted(doubled)), first)
    far = sum(count for sum_, count in ways.items() if abs(2 * sum_ - 2 * first * (total + 1)) >= off)
    return far / math.comb(total, first)


@lru_cache(maxsize=256)
def _ways_to_split(ranks: tuple[int, ...], size: int) -> Mapping[int, int]:
    """Sum -> in how many ways so many of the ranks have it."""
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter() for _ in range(size))]  # of none, one, two, …
    for rank in ranks:
        for taken in range(size, 0, -1):
            for so_far, count in ways[taken - 1].items():
                ways[taken][so_far + rank] += count
    return ways[size]


@lru_cache(maxsize=256)
def _shifts_beyond(first: int, other: int) -> int:
    """How many of the ordered differences of two groups lie outside of the interval on either side: as many as Mann and
    Whitney's count U stays below with 2.5 %."""
    total, pairs = first + other, first * other
    if total > _COUNTED_VALUES:
        return max(0, math.floor(pairs / 2 - 1.959964 * math.sqrt(pairs * (total + 1) / 12)))
    least = first * (first + 1)  # the smallest sum of doubled ranks
    ways = _ways_to_split(tuple(range(2, 2 * total + 2, 2)), first)
    allowed, below, count = (1 - CONFIDENCE) / 2 * math.comb(total, first), 0, 0
    while below + ways[least + 2 * count] <= allowed:
        below += ways[least + 2 * count]
        count += 1
    return count - 1


def _doubled_ranks(values: NDArray[np.float64]) -> list[int]:
    """The rank of each value from 1, times two, so that equal ones share a whole number."""
    ordered = np.sort(values)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return [int(rank) for rank in low + high + 1]


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
def _position(count: int) -> float:
    """Where among `count` ordered values, counted from 1, the lower limit lies: between the last that with its opposite
    holds the median in 95 % of the cases, and the next."""
    chances = (1 - 2 * outside for outside in _shares_up_to(count))
    held = [1.0]
    while held[-1] >= CONFIDENCE:
        held.append(next(chances))
    place, share = len(held) - 2, (held[-2] - CONFIDENCE) / (held[-2] - held[-1])
    return place + (count - place) * share / (place + (count - 2 * place) * share)


def _shares_up_to(count: int) -> Iterator[float]:
    """How often at most 0, 1, 2, … of `count` fair coins show heads."""
    ways, total = 1, 0
    for heads in range(count + 1):
        total += ways
        yield total / 2**count
        ways = ways * (count - heads) // (heads + 1)
