"""Energy against integrals computed by hand, at the rates and under the loads that boards have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from edgesparse import energy
from edgesparse.agent.sensors.told import candidates, main_channels
from edgesparse.energy import Trace

Load = Callable[[NDArray[np.float64]], NDArray[np.float64]]

START_NS = 7_000_000_000_123
WINDOW = (START_NS, START_NS + 10_000_000_000)

# Watts over seconds, and the joules of the ten seconds of the window.
LOADS: dict[str, tuple[Load, float]] = {
    "constant": (lambda t: 0 * t + 3.0, 30.0),
    "ramp": (lambda t: 2 + 0.5 * t, 45.0),
    "square": (lambda t: np.where(t % 2 < 1, 6.0, 2.0), 40.0),
    "bursts": (lambda t: 2 + 10 * np.exp(-(((t % 1) - 0.5) ** 2) / 0.02), 20 + 100 * 0.250663),
}
HERTZ = (10, 50, 100, 1000)


def stamps(hertz: float, jitter: float = 0.2, before_s: float = 1.0) -> NDArray[np.float64]:
    """Seconds from the window's beginning; readings are never quite in step, nor is the window in step with them."""
    rng = np.random.default_rng(int(hertz))
    steps = np.arange(-before_s - 0.37 / hertz, 10 + before_s, 1 / hertz)
    return steps + jitter / hertz * rng.uniform(-1, 1, len(steps))


def trace(seconds: NDArray[np.float64], values: NDArray[np.float64], **more: object) -> Trace:
    return Trace((START_NS + np.round(seconds * 1e9)).astype(np.int64), values, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("hertz", HERTZ)
@pytest.mark.parametrize("load", LOADS)
def test_power_integrates_to_within_one_percent(load: str, hertz: int) -> None:
    watts, expected = LOADS[load]
    assert quad(lambda t: float(watts(np.array(t))), 0, 10, limit=500)[0] == pytest.approx(expected, rel=1e-3)
    seconds = stamps(hertz)
    found = energy.joules(trace(seconds, watts(seconds), update_s=1 / hertz), WINDOW)
    assert found is not None
    assert found.joules == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("wraps_at", [None, 17.0])
@pytest.mark.parametrize("hertz", HERTZ)
@pytest.mark.parametrize("load", LOADS)
def test_a_counter_gives_the_difference_also_across_wraps(load: str, hertz: int, wraps_at: float | None) -> None:
    watts, expected = LOADS[load]
    seconds = stamps(hertz)
    fine = np.linspace(seconds[0], seconds[-1], 200_001)
    count = np.interp(
        seconds, fine, np.concatenate([[0], np.cumsum((watts(fine)[1:] + watts(fine)[:-1]) / 2 * np.diff(fine))])
    )
    if wraps_at:
        count = count % wraps_at
        assert (np.diff(count) < 0).any()
    found = energy.joules(trace(seconds, count, counter=True, wraps_at=wraps_at, update_s=1 / hertz), WINDOW)
    assert found is not None
    assert found.joules == pytest.approx(expected, rel=0.01)
    assert abs(found.joules - expected) <= found.off_by


@pytest.mark.parametrize("wraps_at", [None, 17.0])
@pytest.mark.parametrize("hertz", HERTZ)
def test_a_counter_misses_no_spike_however_seldom_it_is_read(hertz: int, wraps_at: float | None) -> None:
    """2 W, and 50 W more for 2 ms in each eighth of a second: far shorter than the time between two readings. 80 times
    2 ms of 50 W are 8 J of the 28 J of ten seconds."""
    seconds = stamps(hertz)
    spikes, since_s = np.divmod(seconds - 0.05, 0.125)
    count = 20 + 2 * seconds + 50 * (0.002 * spikes + np.minimum(since_s, 0.002))
    if wraps_at:
        count = count % wraps_at
        assert (np.diff(count) < 0).any()
    found = energy.joules(trace(seconds, count, counter=True, wraps_at=wraps_at, update_s=1 / hertz), WINDOW)
    assert found is not None
    assert found.joules == pytest.approx(28, rel=0.01)
    assert abs(found.joules - 28) <= found.off_by


def test_a_counter_that_was_set_back_goes_on_from_where_it_was() -> None:
    assert energy.unwrapped(np.array([5.0, 6.0, 0.5, 1.5]), None).tolist() == [5.0, 6.0, 6.0, 7.0]
    assert energy.unwrapped(np.array([15.0, 16.0, 0.5]), 17.0).tolist() == [15.0, 16.0, 17.5]
    assert energy.unwrapped(np.array([5.0, 6.0, 0.5, 1.5]), 17.0).tolist() == [5.0, 6.0, 6.0, 7.0], (
        "no wrap so far down"
    )


def test_readings_that_do_not_cover_the_window_give_nothing() -> None:
    seconds = stamps(50)
    values = np.full(len(seconds), 3.0)
    for part in (seconds > 0.5, seconds < 9.5, (seconds < 4) | (seconds > 6), seconds < -0.5):
        assert energy.joules(trace(seconds[part], values[part], update_s=0.02), WINDOW) is None
    assert energy.joules(trace(seconds, values), (WINDOW[0], WINDOW[0])) is None


def test_a_short_silence_costs_certainty_and_a_long_one_the_window() -> None:
    """A machine that is busy reads late now and then. What a counter counted meanwhile is in its next reading."""
    seconds = stamps(50)
    watts = LOADS["square"][0](seconds)
    for silent_s, told in ((0.3, True), (0.8, False)):
        heard = (seconds < 4.1) | (seconds > 4.1 + silent_s)
        whole = energy.joules(trace(seconds, watts, update_s=0.02), WINDOW)
        found = energy.joules(trace(seconds[heard], watts[heard], update_s=0.02), WINDOW)
        assert (found is not None) == told and whole is not None
        if found is not None:
            assert abs(found.joules - whole.joules) <= found.off_by - whole.off_by == pytest.approx(0.3 * 2, rel=0.1)
        count = np.cumsum(watts) / 50
        counted = energy.joules(trace(seconds[heard], count[heard], counter=True, update_s=0.02), WINDOW)
        assert counted is not None and counted.joules == pytest.approx(40, rel=0.01)
        late = (seconds < -0.1) | (seconds > silent_s)
        assert (energy.joules(trace(seconds[late], count[late], counter=True, update_s=0.02), WINDOW) is None) != told


def test_resolution_and_rate_are_part_of_what_is_not_known() -> None:
    seconds = stamps(10)
    coarse = np.floor(LOADS["ramp"][0](seconds) / 0.25) * 0.25
    found = energy.joules(trace(seconds, coarse, resolution=0.25, update_s=0.1), WINDOW)
    assert found is not None
    assert 0.01 < abs(found.joules - 45) <= found.off_by
    finer = energy.joules(trace(seconds, coarse, resolution=0.01, update_s=0.1), WINDOW)
    assert finer is not None and finer.off_by < found.off_by


def run_of(launches: int, busy_w: float, idle_w: tuple[float, float], noise: float = 0.0) -> energy.PerInference:
    """Launches of 1 s with 1000 inferences, with 1 s of rest around each, between two idle windows of 2 s."""
    rng = np.random.default_rng(0)
    seconds = np.arange(-1, 2 * launches + 8, 0.01)
    busy = (seconds > 3) & (seconds < 3 + 2 * launches) & ((seconds - 3) % 2 < 1)
    idle = np.where(seconds < 2.5, idle_w[0], idle_w[1])
    watts = np.where(busy, busy_w, idle) + noise * rng.normal(size=len(seconds))
    read = trace(seconds, watts, update_s=0.01)

    def window(begin_s: float, end_s: float) -> tuple[int, int]:
        return START_NS + round(begin_s * 1e9), START_NS + round(end_s * 1e9)

    after_s = 3 + 2 * launches
    known = energy.idle_power(read, [window(0, 2), window(after_s + 1, after_s + 3)])
    assert known is not None
    windows = [(window(3 + 2 * number, 4 + 2 * number), 1000) for number in range(launches)]
    found = energy.per_inference(read, windows, known)
    assert found is not None
    return found


def test_energy_of_an_inference_is_above_idle() -> None:
    found = run_of(8, busy_w=5.0, idle_w=(2.0, 2.0))
    assert found.median_mj == pytest.approx(3.0, rel=0.02)
    assert found.gross_mj == pytest.approx(5.0, rel=0.02)
    assert found.interval_mj is not None and found.interval_mj[0] < 3.0 < found.interval_mj[1]
    assert len(found.launches_mj) == 8


def test_an_idle_power_that_drifts_widens_the_interval() -> None:
    steady, drifted = run_of(8, 5.0, (2.0, 2.0), 0.1), run_of(8, 5.0, (1.6, 2.4), 0.1)
    assert steady.interval_mj and drifted.interval_mj
    width = [high - low for low, high in (steady.interval_mj, drifted.interval_mj)]
    assert width[1] == pytest.approx(width[0] + 0.8, rel=0.1)
    assert run_of(5, 5.0, (2.0, 2.0)).interval_mj is None, "too few launches"


def test_rails_without_a_total_are_summed_launch_by_launch() -> None:
    """One rail takes what the other leaves, so their medians do not add up; and a launch of which one of them was not
    read is left out whole."""
    seconds = np.arange(-1.0, 21.0, 0.01)
    number = np.clip(seconds - 2, 0, 15).astype(int)
    share = np.array([0.1, 0.9] * 8)[number]
    rails = [trace(seconds, 1 + 4 * part, update_s=0.01) for part in (share, 1 - share)]
    broken = trace(seconds[(seconds < 9.2) | (seconds > 9.8)], rails[1].values[(seconds < 9.2) | (seconds > 9.8)],
                   update_s=0.01)  # fmt: skip
    windows = [((START_NS + n * 10**9 + 2 * 10**9, START_NS + (n + 3) * 10**9), 100) for n in range(16)]
    idles = [energy.Idle(1.0, 0.0, 0.0)] * 2
    found, without = (energy.per_inference([rails[0], other], windows, idles) for other in (rails[1], broken))
    assert found is not None and without is not None
    assert found.median_mj == pytest.approx(40, rel=0.02), "4 W between them for a second"
    assert found.launches_mj == pytest.approx([40] * 16, rel=0.1)
    assert (found.left_out, without.left_out, len(without.launches_mj)) == (0, 1, 15)
    assert energy.per_inference([rails[0], trace(seconds[:2], seconds[:2])], windows, idles) is None


def test_idle_power_has_to_be_known_from_all_its_windows() -> None:
    seconds = stamps(50)
    read = trace(seconds, np.full(len(seconds), 3.0), update_s=0.02)
    before, never = (START_NS, START_NS + 10**9), (START_NS - 10 * 10**9, START_NS - 9 * 10**9)
    known = energy.idle_power(read, [before, before])
    assert known is not None and known.watts == pytest.approx(3.0)
    assert energy.idle_power(read, [before, never]) is None, "how far it drifted is not known"


def source(name: str, *channels: tuple[str, str, bool], simulated: bool = False) -> dict[str, object]:
    listed = [{"name": each, "scope": scope, "total": total} for each, scope, total in channels]
    return {"source": name, "channels": listed, "simulated": simulated}


def test_the_total_is_used_alone_and_scopes_are_never_added() -> None:
    jetson = source("ina3221", ("VDD_IN", "board-input", True), ("VDD_SOC", "rail", False))
    wall = source("meter", ("meter", "wall", True))
    agx = source("ina3221", ("A", "rail", False), ("B", "rail", False))
    made_up = source("simulated", ("simulated", "board-input", True), simulated=True)

    def names(*sources: dict[str, object]) -> list[str]:
        return [channel["name"] for _, channel in main_channels(sources)]

    assert names(jetson) == ["VDD_IN"]
    assert names(jetson, wall) == ["meter"]
    assert names(agx) == ["A", "B"]
    assert names(made_up, agx) == ["A", "B"], "what is made up counts where there is nothing else"
    assert names(made_up) == ["simulated"]
    assert names() == []


def test_what_else_may_speak_holds_the_processor_too() -> None:
    battery = source("battery", ("BAT0", "board-input", True))
    rapl = source("rapl", ("package-0", "soc", True), ("core", "rail", False))
    gpu = source("nvml", ("GPU 0", "gpu", True))
    rails = source("hwmon ina226", ("A", "rail", False))

    def names(*sources: dict[str, object]) -> list[list[str]]:
        return [[channel["name"] for _, channel in group] for group in candidates(sources)]

    assert names(rapl, battery, gpu, rails) == [["BAT0"], ["package-0"]]
    assert names(gpu, rails) == [["GPU 0"]]
    assert names(rails) == [["A"]]
