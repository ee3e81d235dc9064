"""The steady state of a long launch, on series whose state is known."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edgesparse.errors import UsageError
from edgesparse.report.power import PowerOfRun
from edgesparse.report.sustained import joined, steady_from, sustained

RNG = np.random.default_rng(0)


def noisy(values: list[float]) -> list[float]:
    return [float(value) for value in np.array(values) * np.exp(RNG.normal(0, 0.003, len(values)))]


def test_a_board_that_never_slows_down_is_steady_from_the_start() -> None:
    assert steady_from(noisy([1.0] * 120)) == 0


def test_a_board_that_throttles_is_steady_after_it() -> None:
    found = steady_from(noisy([1.0] * 60 + [1.0 + 0.01 * step for step in range(40)] + [1.4] * 200))
    assert found is not None and 90 <= found <= 105


def test_a_board_that_goes_on_slowing_down_is_never_steady() -> None:
    assert steady_from(noisy([1 + 0.01 * step for step in range(120)])) is None


@pytest.mark.parametrize("rise", [-0.1, -0.05, 0.03, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("count", [60, 600])
def test_a_ramp_that_never_levels_off_is_never_steady(rise: float, count: int) -> None:
    """However slow it is: its last quarter alone changes by less than what a steady state may."""
    assert steady_from([float(value) for value in np.linspace(1, 1 + rise, count)]) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_ramp_is_seen_through_noise(seed: int) -> None:
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.005, 600))
    assert steady_from([float(value) for value in np.linspace(1, 1.1, 600) * noise]) is None
    assert steady_from([float(value) for value in np.linspace(1, 1.002, 600) * noise]) is not None


def test_what_levels_off_or_goes_to_and_fro_is_steady() -> None:
    """A board that warms up, with a time constant of a sixth of the run; and one whose fan comes and goes."""
    share = np.arange(600) / 600
    warming = [float(value) for value in 1 + 0.2 * (1 - np.exp(-6 * share))]
    found = steady_from(warming)
    assert found is not None and abs(warming[found] / warming[-1] - 1) < 0.025
    for phase in range(6):
        assert steady_from([float(value) for value in 1 + 0.01 * np.sin(2 * np.pi * 7.3 * share + phase)]) == 0


def test_hours_take_little_memory() -> None:
    """The trend over all pairs of 4000 values would need hundreds of megabytes."""
    values = noisy([1.0] * 4000)
    tracemalloc.start()
    try:
        assert steady_from(values) is not None
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_board_that_throttles_at_the_very_end_is_not_steady() -> None:
    assert steady_from(noisy([1.0] * 102 + [1.5] * 18)) is None


@pytest.mark.parametrize("count", [1, 5, 8])
def test_short_series(count: int) -> None:
    assert steady_from([1.0] * count) == (0 if count >= 8 else None)


def test_a_series_that_scatters_widely_is_steady_at_its_level() -> None:
    values = [float(each) for each in np.exp(RNG.normal(0, 0.08, 120))]
    assert steady_from(values) is not None


def test_first_minute_and_steady_state_are_told_apart() -> None:
    """Two minutes at 10 ms, then three at 13 ms, 45 to 78 degrees."""
    slices, during = [], []
    for second in range(300):
        latency_ms = 10 if second < 120 else 13
        begin_ns = second * 1_000_000_000
        slices.append({"latency_ns": [latency_ms * 1_000_000] * 70, "window_ns": [begin_ns, begin_ns + 999_000_000],
                       "inferences": 70})  # fmt: skip
        clock = 2400 if second < 120 else 1800
        during.append({"t_ns": begin_ns, "temperature_c": {"cpu": 45 + second / 10, "gpu": 30.0},
                       "frequency_mhz": [clock, 600]})  # fmt: skip
    found = sustained(slices, PowerOfRun([]), during)
    assert found.first_ms == 10 and found.steady_ms == 13
    assert found.steady_from_s is not None and 115 <= found.steady_from_s <= 121
    assert (found.first_w, found.steady_w) == (None, None), "nothing is guessed"
    assert len(found.moments) == 300 and found.moments[200].temperature_c == pytest.approx(65, abs=0.2)
    sentence = found.sentence()
    assert sentence.startswith("first 60 s 10.000 ms; steady from ")
    assert "13.000 ms (+30.0%)" in sentence and "45 to 75 °C" in sentence and "2400 to 1800 MHz" in sentence
    whole = joined(slices)
    assert len(whole["latency_ns"]) == whole["inferences"] == 300 * 70


def test_durations() -> None:
    from edgesparse.commands.options import seconds

    assert [seconds(each) for each in ("90s", "10m", "1.5h", "45", "2 min")] == [90, 600, 5400, 45, 120]
    for wrong in ("", "10x", "4s", "-3m", "9999h"):
        with pytest.raises(UsageError, match="from 5s to a week"):
            seconds(wrong)
