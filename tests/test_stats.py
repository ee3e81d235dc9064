"""Intervals and comparisons, against scipy, against known cases, and by simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, mannwhitneyu, quantile_test, rankdata

from edgesparse import stats
from edgesparse.agent.order import launch_order

Noise = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

RUNS = 3000

# Noise between launches, as the logarithm of their medians: what a quiet board, a busy one, memory placement that falls
# into two groups, and a board where now and then something else runs look like.
NOISES: dict[str, Noise] = {
    "quiet": lambda rng, size: rng.normal(0, 0.001, size),
    "normal": lambda rng, size: rng.normal(0, 0.01, size),
    "lognormal": lambda rng, size: 0.01 * rng.lognormal(0, 1, size),
    "two groups": lambda rng, size: rng.normal(0, 0.004, size) + 0.05 * (rng.random(size) < 0.3),
    "heavy tails": lambda rng, size: 0.01 * np.clip(rng.standard_t(2, size), -50, 50),
    "disturbed": lambda rng, size: rng.normal(0, 0.01, size) + rng.exponential(0.1, size) * (rng.random(size) < 0.15),
}

latencies = st.lists(st.floats(0.01, 1000), min_size=6, max_size=40, unique=True)
some = st.lists(st.floats(0.01, 1000), min_size=6, max_size=16, unique=True)


@pytest.mark.parametrize("launches", [6, 7, 8, 9, 10, 12, 20])
@pytest.mark.parametrize("noise", NOISES)
def test_the_median_s_interval_holds_it_in_95_percent_of_the_runs(noise: str, launches: int) -> None:
    rng = np.random.default_rng(launches)
    truth = float(np.median(np.exp(NOISES[noise](rng, (1000, 1000)))))
    inside = 0
    for medians in np.exp(NOISES[noise](rng, (RUNS, launches))):
        low, high = stats.median_interval(medians) or (math.nan, math.nan)
        inside += low <= truth <= high
    assert 0.93 <= inside / RUNS <= 0.97


@pytest.mark.parametrize("noise", NOISES)
def test_the_plain_bootstrap_would_not(noise: str) -> None:
    """Why launches are not drawn from the few values themselves: with 7 it is right in fewer than 9 of 10 runs."""
    rng = np.random.default_rng(7)
    truth = float(np.median(NOISES[noise](rng, (1000, 1000))))
    values = NOISES[noise](rng, (RUNS, 7))
    resampled = np.median(values[:, rng.integers(0, 7, (400, 7))], axis=2)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=1)
    assert ((low <= truth) & (truth <= high)).mean() < 0.91


@pytest.mark.parametrize("drift", [0.0, 0.2], ids=["steady", "slowing down by 20 %"])
@pytest.mark.parametrize("launches", [6, 9, 12])
@pytest.mark.parametrize("noise", NOISES)
def test_equal_cells_are_called_different_in_less_than_5_percent_of_the_runs(
    noise: str, launches: int, drift: float
) -> None:
    rng = np.random.default_rng(5)
    heat = drift * np.linspace(0, 1, launches)
    dense, equal = (np.exp(NOISES[noise](rng, (RUNS, launches)) + heat) for _ in range(2))
    different = inside = 0
    for one, other in zip(dense, equal, strict=True):
        ratio = stats.compare(dict(enumerate(one)), dict(enumerate(other)))
        low, high = ratio.interval or (math.nan, math.nan)
        inside += low <= 1 <= high
        different += ratio.verdict in ("faster", "slower")
    assert different / RUNS < 0.05
    assert 0.93 <= inside / RUNS <= 0.97


@pytest.mark.parametrize("drift", [0.0, 0.2], ids=["steady", "slowing down by 20 %"])
@pytest.mark.parametrize("noise", NOISES)
def test_in_a_run_of_many_equal_cells_any_is_called_faster_in_less_than_5_percent(noise: str, drift: float) -> None:
    rng = np.random.default_rng(9)
    cells, runs = 12, 600
    launches = stats.fewest_launches(cells)
    heat = drift * np.linspace(0, 1, launches)
    faster = alone = 0
    for medians in np.exp(NOISES[noise](rng, (runs * (cells + 1), launches)).reshape(runs, cells + 1, -1) + heat):
        dense, *others = (dict(enumerate(each)) for each in medians)
        ratios = [stats.compare(dense, other) for other in others]
        alone += any(ratio.verdict == "faster" for ratio in ratios)
        faster += any(ratio.verdict == "faster" for ratio in stats.decide(ratios))
    assert faster / runs < 0.05
    assert faster <= alone, "each for itself they would be called so more often"


def steps_of(run: str, cells: int, rounds: int) -> NDArray[np.intp]:
    """At which step of a run each cell is launched in each round: cells x rounds."""
    steps = np.empty((cells, rounds), np.intp)
    for number in range(rounds):
        for place, cell in enumerate(launch_order(range(cells), run, number)):
            steps[cell, number] = number * cells + place
    return steps


@pytest.mark.parametrize("drift", ["wanders", "warms up", "cools down", "is disturbed for a quarter of the run"])
@pytest.mark.parametrize("noise", ["quiet", "normal", "heavy tails", "disturbed"])
def test_a_board_that_changes_from_launch_to_launch_makes_no_difference(noise: str, drift: str) -> None:
    """Five equal cells in the order that the agent launches them in, on a board that is not the same for each."""
    rng = np.random.default_rng(12)
    cells, rounds, runs = 5, stats.fewest_launches(4), 200
    different = 0
    for run in range(runs):
        steps = cells * rounds
        changes = {
            "wanders": np.cumsum(rng.normal(0, 0.01, steps)),
            "warms up": np.linspace(0, 0.3, steps),
            "cools down": np.linspace(0.3, 0, steps),
            "is disturbed for a quarter of the run": 0.3 * (abs(np.arange(steps) - rng.integers(steps)) <= steps // 8),
        }
        latencies = np.exp(NOISES[noise](rng, (cells, rounds)) + changes[drift][steps_of(str(run), cells, rounds)])
        dense, *others = (dict(enumerate(each)) for each in latencies)
        judged = stats.decide([stats.compare(dense, other) for other in others])
        different += any(ratio.verdict in ("faster", "slower") for ratio in judged)
    assert different / runs < 0.05


@pytest.mark.parametrize("rounds", [6, 10, 12])
@pytest.mark.parametrize("drift", [-0.2, 0.2], ids=["speeding up by 20 %", "slowing down by 20 %"])
@pytest.mark.parametrize("noise", ["quiet", "normal"])
def test_drift_within_a_round_of_many_cells_is_noise_like_any_other(noise: str, drift: float, rounds: int) -> None:
    """Three backends of six equal variants each, so that a round takes as long as the board needs to change."""
    rng = np.random.default_rng(3)
    backends, variants, runs = 3, 6, 150
    cells = backends * variants
    different = inside = 0
    for run in range(runs):
        heat = drift * steps_of(str(run), cells, rounds) / (cells * rounds)
        latencies = np.exp(NOISES[noise](rng, (cells, rounds)) + heat).reshape(backends, variants, rounds)
        ratios = [
            stats.compare(dict(enumerate(dense)), dict(enumerate(other)))
            for dense, *others in latencies
            for other in others
        ]
        different += any(ratio.verdict in ("faster", "slower") for ratio in stats.decide(ratios))
        inside += sum(low <= 1 <= high for low, high in (ratio.interval or (math.nan, math.nan) for ratio in ratios))
    assert different / runs < 0.05
    assert 0.93 <= inside / (runs * len(ratios)) <= 0.97


@pytest.mark.parametrize("ratios", [1, 11, 12, 42, 60])
def test_as_many_launches_as_it_takes_tell_a_large_difference_among_many(ratios: int) -> None:
    rng = np.random.default_rng(4)

    def found(launches: int) -> list[stats.Ratio]:
        dense = dict(enumerate(np.exp(rng.normal(0, 0.01, launches))))
        halves = [dict(enumerate(np.exp(rng.normal(0, 0.01, launches)) / 2)) for _ in range(ratios)]
        return stats.decide([stats.compare(dense, each) for each in halves])

    launches = stats.fewest_launches(ratios)
    assert {ratio.verdict for ratio in found(launches)} == {"faster"}
    if launches > stats.MIN_LAUNCHES:
        assert "too few launches" in {ratio.verdict for ratio in found(launches - 1)}


def test_holm_by_hand() -> None:
    """Four p-values of 1, 4, 3 and 0.5 %: times 4, 3, 2, 1 from the smallest on, never falling."""
    ratios = [stats.Ratio(2.0, (1.9, 2.1), p, p, 10, "no difference") for p in (0.01, 0.04, 0.03, 0.005)]
    judged = stats.decide([*ratios, stats.Ratio(None, None, None, None, 0, "too few launches")])
    assert [ratio.p_adjusted for ratio in judged] == [pytest.approx(p) for p in (0.03, 0.06, 0.06, 0.02)] + [None]
    assert [ratio.verdict for ratio in judged[:4]] == ["faster", "no difference", "no difference", "faster"]
    assert judged[4].verdict == "too few launches"


def test_nothing_is_called_faster_below_the_noise_floor() -> None:
    dense, variant = {n: 1.02 + n / 1e4 for n in range(9)}, {n: 1 + n / 1e4 for n in range(9)}
    assert stats.compare(dense, variant).verdict == "faster"
    assert stats.compare(variant, dense).verdict == "slower"
    assert stats.compare(dense, variant, noise_floor=0.015).verdict == "faster"
    for one, other in ((dense, variant), (variant, dense)):
        assert stats.compare(one, other, noise_floor=0.03).verdict == "no difference"


def test_going_on_until_the_intervals_are_narrow_does_not_make_differences() -> None:
    """The agent stops between 6 and 10 rounds, once every median is known within 2 %."""
    rng = np.random.default_rng(6)
    different = 0
    for one, other in np.exp(rng.normal(0, 0.012, (RUNS, 2, 10))):
        for rounds in range(6, 11):
            intervals = [stats.median_interval(values[:rounds]) or (0.0, math.inf) for values in (one, other)]
            if rounds >= stats.MIN_LAUNCHES and all((high - low) / 2 <= 0.02 for low, high in intervals):
                break
        ratio = stats.compare(dict(enumerate(one[:rounds])), dict(enumerate(other[:rounds])))
        different += ratio.verdict != "no difference"
    assert different / RUNS < 0.05


def test_samples_that_are_alike_within_a_launch_do_not_narrow_the_interval() -> None:
    """From raw samples: launches differ by 2 %, the 70 samples inside one by 0.5 %. Pooling them would claim far
    more than eight launches can know."""
    rng = np.random.default_rng(8)
    inside = pooled = 0
    for _ in range(1000):
        launches = rng.normal(0, 0.02, (8, 1)) + rng.normal(0, 0.005, (8, 70))
        low, high = stats.median_interval(np.median(np.exp(launches), axis=1)) or (math.nan, math.nan)
        inside += low <= 1 <= high
        low, high = stats.median_interval(np.exp(launches).ravel()) or (math.nan, math.nan)
        pooled += low <= 1 <= high
    assert 0.93 <= inside / 1000 <= 0.97
    assert pooled / 1000 < 0.5


def test_pairs_see_through_a_drift_that_hides_the_difference_from_an_unpaired_test() -> None:
    rng = np.random.default_rng(3)
    found = found_unpaired = 0
    for _ in range(300):
        heat = np.linspace(0, 0.2, 8)
        dense = np.exp(rng.normal(0, 0.01, 8) + heat)
        variant = np.exp(rng.normal(0, 0.01, 8) + heat) / 1.05
        found += stats.compare(dict(enumerate(dense)), dict(enumerate(variant))).verdict == "faster"
        found_unpaired += mannwhitneyu(dense, variant).pvalue < 0.05
    assert found / 300 > 0.98
    assert found_unpaired / 300 < 0.1


@settings(deadline=None)
@given(latencies)
def test_the_interval_is_between_the_sign_test_s_limits_and_the_next_values(values: list[float]) -> None:
    expected = quantile_test(values, q=float(np.median(values)), p=0.5).confidence_interval(0.95)
    low, high = stats.median_interval(values) or (math.nan, math.nan)
    ordered = sorted(values)
    nearer = ordered.index(expected.low) + 1
    assert expected.low <= low <= ordered[nearer]
    assert ordered[-1 - nearer] <= high <= expected.high


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=7), st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_mann_whitney_is_the_share_of_all_splits_as_far_from_even(one: list[int], other: list[int]) -> None:
    ranks = rankdata(one + other)
    even = len(one) * (len(ranks) + 1) / 2
    splits = [abs(sum(split) - even) for split in itertools.combinations(ranks, len(one))]
    expected = np.mean(np.array(splits) >= abs(sum(ranks[: len(one)]) - even) - 1e-9)
    assert stats.mann_whitney_p_value(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [(6, 6), (5, 9), (12, 12), (40, 30), (200, 100)])
def test_mann_whitney_is_scipy_s(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, sizes[0]), rng.normal(0.6, 1, sizes[1])
    how = {"method": "exact"} if sum(sizes) <= 60 else {"method": "asymptotic", "use_continuity": False}
    assert stats.mann_whitney_p_value(one, other) == pytest.approx(mannwhitneyu(one, other, **how).pvalue)
    assert stats.mann_whitney_p_value([1.0] * sizes[0], [1.0] * sizes[1]) == 1


@settings(deadline=None)
@given(latencies)
def test_the_p_value_is_scipy_s(values: list[float]) -> None:
    logs = np.log(values)
    above, below = int((logs > 0).sum()), int((logs < 0).sum())
    assert stats.sign_p_value(logs) == pytest.approx(binomtest(max(above, below), len(logs)).pvalue)


def test_known_intervals() -> None:
    """Of the whole numbers from 1 the limits are the places themselves. Six hold the median in 31 of 32 cases, the
    middle four in 25 of 32: 3/5 of a tenth of the way, as Hettmansperger and Sheather weigh it, is 5/14."""
    assert stats.median_interval(range(1, 7)) == pytest.approx((1 + 5 / 14, 6 - 5 / 14))
    for count in (6, 7, 8, 9, 12, 30):
        low, high = stats.median_interval(range(1, count + 1)) or (math.nan, math.nan)
        assert low + high == pytest.approx(count + 1)
        assert 1 - 2 * binom.cdf(int(low) - 1, count, 0.5) >= 0.95 > 1 - 2 * binom.cdf(int(low), count, 0.5)


@given(latencies)
def test_verdict_interval_and_p_value_agree(values: list[float]) -> None:
    variant = dict(enumerate(values))
    dense = dict(enumerate(reversed(values)))
    ratio = stats.compare(dense, variant)
    low, high = ratio.interval or (math.nan, math.nan)
    assert (ratio.verdict == "no difference") == (low <= 1 <= high or ratio.p_value is None or ratio.p_value > 0.05)
    assert ratio.value is not None and low <= ratio.value * (1 + 1e-9) and ratio.value <= high * (1 + 1e-9)


def test_twice_as_fast_in_every_round() -> None:
    variant = {0: 1.0, 1: 1.1, 2: 1.2, 3: 1.0, 4: 1.0, 5: 1.1}
    ratio = stats.compare({number: 2 * latency_ms for number, latency_ms in variant.items()}, variant)
    assert ratio.verdict == "faster"
    assert ratio.value == pytest.approx(2)
    assert ratio.interval == pytest.approx((2, 2))
    assert ratio.p_value == pytest.approx(4 / math.comb(12, 6))


def test_identical_latencies_are_no_difference() -> None:
    same = dict.fromkeys(range(8), 1.5)
    assert stats.compare(same, same) == stats.Ratio(1.0, (1.0, 1.0), 1.0, 1.0, 8, "no difference")


def test_swapping_the_cells_turns_the_ratio_round() -> None:
    rng = np.random.default_rng(0)
    one, other = dict(enumerate(rng.lognormal(0, 0.1, 9))), dict(enumerate(rng.lognormal(0.3, 0.1, 9)))
    there, back = stats.compare(other, one), stats.compare(one, other)
    assert there.interval and back.interval and there.value and back.value
    assert there.value == pytest.approx(1 / back.value)
    assert there.interval == pytest.approx((1 / back.interval[1], 1 / back.interval[0]))
    assert (there.verdict, back.verdict) == ("faster", "slower")
    assert there.p_value == pytest.approx(back.p_value)


def test_too_few_launches_give_a_ratio_without_interval() -> None:
    assert stats.median_interval([1.0] * 5) is None
    ratio = stats.compare(dict.fromkeys(range(5), 2.0), dict.fromkeys(range(5), 1.0))
    assert (ratio.interval, ratio.p_value, ratio.verdict) == (None, None, "too few launches")
    assert ratio.value == pytest.approx(2)
    assert stats.compare({0: 1.0}, {1: 1.0}) == stats.Ratio(None, None, None, None, 0, "too few launches")


def test_only_rounds_that_both_have_are_paired() -> None:
    dense = {number: 2.0 for number in range(8)} | {8: 100.0}
    variant = {number: 1.0 for number in range(8)} | {9: 100.0}
    assert stats.compare(dense, variant).interval == pytest.approx((2, 2))


def test_tail_percentiles_need_their_samples() -> None:
    assert stats.p90(range(63)) is None
    assert stats.p90(range(101)) == pytest.approx(90)
    assert stats.p99(range(661)) is None
    assert stats.p99(range(1001)) == pytest.approx(990)


def test_widths() -> None:
    assert stats.half_width_share(2.0, (1.9, 2.1)) == pytest.approx(0.05)


def test_many_launches_are_quick_and_approach_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(0, 1, 10_000)
    low, high = stats.median_interval(values) or (math.nan, math.nan)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 2) / 100, rel=0.05)


@pytest.mark.parametrize("launches", [(6, 6), (8, 10)])
@pytest.mark.parametrize("noise", NOISES)
def test_two_runs_of_the_same_differ_in_less_than_5_percent_of_the_pairs(noise: str, launches: tuple[int, int]) -> None:
    """As far as their launches tell, and with the noise floor used up by what a run's launches share."""
    rng = np.random.default_rng(11)
    runs, floor = 1000, 0.02
    inside = different = different_at_the_floor = 0
    for _ in range(runs):
        base, new = (np.exp(NOISES[noise](rng, (1, count)))[0] for count in launches)
        change = stats.compare_runs(base.tolist(), new.tolist())
        low, high = change.interval or (math.nan, math.nan)
        inside += low <= 1 <= high
        different += change.verdict in ("less", "more")
        drifted = new * (1 + floor) ** rng.choice([-1, 1])
        different_at_the_floor += stats.compare_runs(base.tolist(), drifted.tolist(), floor).verdict != "no difference"
    assert different / runs < 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert inside / runs > 0.95 - 2 * math.sqrt(0.05 * 0.95 / runs)
    assert different_at_the_floor / runs < 0.05


def test_among_many_cells_of_two_equal_runs_any_differs_in_less_than_5_percent_of_the_pairs() -> None:
    rng = np.random.default_rng(12)
    cells, runs = 12, 400
    told = alone = 0
    for _ in range(runs):
        medians = np.exp(NOISES["heavy tails"](rng, (2 * cells, 8)))
        changes = [
            stats.compare_runs(medians[2 * cell].tolist(), medians[2 * cell + 1].tolist()) for cell in range(cells)
        ]
        alone += any(change.verdict != "no difference" for change in changes)
        told += any(change.verdict in ("less", "more") for change in stats.decide_changes(changes))
    assert told / runs < 0.05
    assert alone / runs > 0.3, "each for itself they would be called so far more often"


def test_what_a_run_s_launches_share_is_beyond_them_without_a_noise_floor() -> None:
    """Why the floor is needed: a board that is another 2 % off in each run, all of it alike, looks slower or faster."""
    rng = np.random.default_rng(13)
    found = {0.0: 0, 0.06: 0}
    for _ in range(300):
        base, new = (np.exp(rng.normal(0, 0.004, 8) + rng.normal(0, 0.02)) for _ in range(2))
        for floor in found:
            found[floor] += stats.compare_runs(base.tolist(), new.tolist(), floor).verdict in ("less", "more")
    assert found[0.0] / 300 > 0.5
    assert found[0.06] / 300 < 0.05


def test_a_regression_beyond_the_noise_floor_is_found() -> None:
    rng = np.random.default_rng(14)
    found = [
        stats.compare_runs(rng.lognormal(0, 0.01, 8).tolist(), (1.08 * rng.lognormal(0, 0.01, 8)).tolist(), 0.02)
        for _ in range(200)
    ]
    assert sum(change.verdict == "more" for change in found) / 200 > 0.95
    assert np.median([change.value or 0 for change in found]) == pytest.approx(1.08, rel=0.01)
    held = [(change.interval or (math.nan, math.nan)) for change in found]
    assert sum(low <= 1.08 <= high for low, high in held) / 200 > 0.95


@pytest.mark.parametrize("sizes", [(6, 6), (7, 12), (40, 30)])
def test_the_interval_of_a_change_holds_what_mann_and_whitney_do_not_refuse(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(15)
    base, new = rng.lognormal(0, 0.05, sizes[0]), rng.lognormal(0.05, 0.05, sizes[1])
    low, high = stats.compare_runs(base.tolist(), new.tolist()).interval or (math.nan, math.nan)
    for ratio, kept in ((low * 1.0001, True), (low * 0.9999, False), (high * 0.9999, True), (high * 1.0001, False)):
        p_value = mannwhitneyu(base * ratio, new, method="exact" if sum(sizes) <= 60 else "asymptotic").pvalue
        if sum(sizes) <= 60:
            assert (p_value > 0.05) == kept
        else:
            assert p_value == pytest.approx(0.05, abs=0.005)


def test_changes_by_hand() -> None:
    same = [1.5] * 8
    assert stats.compare_runs(same, same) == stats.Change(1.0, (1.0, 1.0), 1.0, 1.0, (8, 8), "no difference")
    double = stats.compare_runs([1.0, 1.1, 1.2, 1.0, 1.0, 1.1], [2.0, 2.2, 2.4, 2.0, 2.0, 2.2])
    assert double.verdict == "more"
    assert double.value == pytest.approx(2.0)
    assert double.p_value == pytest.approx(2 / math.comb(12, 6))
    widened = stats.compare_runs([1.0] * 6, [1.5] * 6, 0.1)
    assert widened.interval == pytest.approx((1.5 / 1.1, 1.5 * 1.1))
    assert stats.compare_runs([1.0] * 6, [1.05] * 6, 0.1).verdict == "no difference"
    few = stats.compare_runs([1.0] * 5, [2.0] * 9)
    assert (few.interval, few.launches, few.verdict) == (None, (5, 9), "too few launches")
    assert few.value == pytest.approx(2)
    assert stats.compare_runs([], [1.0]).value is None


def test_a_change_that_cannot_stand_among_so_many_says_so() -> None:
    one = stats.compare_runs([1.0] * 6, [2.0] * 6)
    assert {change.verdict for change in stats.decide_changes([one] * 30)} == {"too few launches"}
    assert {change.verdict for change in stats.decide_changes([one] * 10)} == {"more"}


@settings(deadline=None)
@given(some, some, st.floats(0, 0.2))
def test_swapping_the_runs_turns_the_change_round(base: list[float], new: list[float], floor: float) -> None:
    there, back = stats.compare_runs(base, new, floor), stats.compare_runs(new, base, floor)
    assert there.value and back.value and there.interval and back.interval
    assert there.value == pytest.approx(1 / back.value)
    assert there.interval == pytest.approx((1 / back.interval[1], 1 / back.interval[0]))
    assert there.p_value == pytest.approx(back.p_value)
    assert {(there.verdict, back.verdict)} <= {("more", "less"), ("less", "more"), ("no difference", "no difference")}


@settings(deadline=None)
@given(some, some, st.floats(0, 0.2))
def test_verdict_and_interval_of_a_change_agree(base: list[float], new: list[float], floor: float) -> None:
    change = stats.compare_runs(base, new, floor)
    low, high = change.interval or (math.nan, math.nan)
    assert low <= (change.value or 0) * (1 + 1e-9) and (change.value or 0) <= high * (1 + 1e-9)
    if change.verdict == "more":
        assert low > 1
    if change.verdict == "less":
        assert high < 1
