"""How often sources are read, what that costs, and that it happens on the workers' clock."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgesparse.agent import sampling
from edgesparse.agent.sampling import COST_SHARE, ConditionsSampler, Rate, Sampler, find_rate, start_sampling
from edgesparse.agent.sensors import find_sources
from edgesparse.agent.sensors.meter import Meter
from edgesparse.agent.sensors.source import ENERGY, RAIL, Channel, Source
from tests.agent.sensors import trees


class Clock:
    """Time that passes only where somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_s, self.cpu_s = 1000.0, 0.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)

    def thread_time(self) -> float:
        return self.cpu_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def work(self, seconds: float) -> None:
        self.now_s += seconds
        self.cpu_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(sampling, "time", found)
    return found


def stepping(clock: Clock, period_s: float, cost_s: float = 0.0, declared_s: float | None = None) -> Source:
    """A source whose value changes every so often, and takes so long to read."""

    def read() -> float:
        clock.work(cost_s)
        return float(int(clock.now_s / period_s)) if period_s else 1.0

    return Source("steps", lambda: {Channel("steps", RAIL): read}, declared_s)


@pytest.mark.parametrize("period_s", [0.01, 0.05, 0.2, 1.0])
def test_the_rate_is_found_by_watching_values_change(clock: Clock, period_s: float) -> None:
    rate = find_rate(stepping(clock, period_s, cost_s=20e-6, declared_s=0.002))
    assert rate.seen
    assert rate.update_s == pytest.approx(period_s, rel=0.1), "whatever the source says of itself"


def several(clock: Clock, **periods_s: float) -> list[tuple[Channel, Callable[[], float]]]:
    """Channels by name, each with a clock of its own: renewed every so often, half a period out of step by turns."""

    def of(place: int, period_s: float) -> Callable[[], float]:
        return lambda: float(int(clock.now_s / period_s + place / 2)) if period_s else 1.0

    return [(Channel(name, RAIL), of(place, each)) for place, (name, each) in enumerate(periods_s.items())]


def test_each_channel_is_watched_for_itself(clock: Clock) -> None:
    """Two that change in turn are no faster than one; a slow one is not hidden by a fast one beside it."""
    rate = find_rate(Source("x", lambda: dict(several(clock, a=0.1, b=0.1))))
    assert all(seen for _, seen in rate.channels)
    assert [each for each, _ in rate.channels] == pytest.approx([0.1, 0.1], rel=0.1)
    assert rate.update_s == pytest.approx(0.1, rel=0.1)
    source = Source("x", lambda: dict(several(clock, slow=1.0, fast=0.005)))
    rate = find_rate(source)
    assert all(seen for _, seen in rate.channels)
    assert [each for each, _ in rate.channels] == pytest.approx([1.0, 0.005], rel=0.3)
    assert rate.period_s == rate.update_s == rate.channels[1][0], "it is read for the fastest"
    sampler = Sampler(source, rate)
    sampler.close()
    described = sampler.describe()
    assert [each["update_s"] for each in described["channels"]] == [each for each, _ in rate.channels]
    assert described["update_s"] == rate.update_s


@pytest.mark.parametrize(
    ("places", "expected_s", "seen"),
    [(("1-0040", "1-0040"), 0.01, True), (("1-0040", "1-0041"), 0.25, False), (("", ""), 0.25, False)],
)
def test_a_channel_that_stands_still_goes_by_its_own_chip_alone(
    clock: Clock, places: tuple[str, str], expected_s: float, seen: bool
) -> None:
    """It is renewed with the others of its chip; what another chip does says nothing of it."""
    (still, quiet), (fast, quick) = several(clock, still=0, fast=0.01)
    found = {replace(still, place=places[0], declared_s=0.25): quiet, replace(fast, place=places[1]): quick}
    rate = find_rate(Source("x", lambda: found))
    assert [each for each, _ in rate.channels] == pytest.approx([expected_s, 0.01], rel=0.2)
    assert [each for _, each in rate.channels] == [seen, True]
    assert rate.seen and rate.update_s == rate.channels[1][0]


def test_a_value_that_idles_on_a_step_is_renewed_more_often_than_it_changes(clock: Clock) -> None:
    """Every second renewal brings the same again."""
    values = random.Random(1).choices([1.0, 1.025], k=10_000)
    rate = find_rate(Source("x", lambda: {Channel("x", RAIL): lambda: values[int(clock.now_s / 0.02) % 10_000]}))
    assert rate.seen and rate.update_s == pytest.approx(0.02, rel=0.2)


def test_what_changes_seldom_is_watched_for_longer_and_not_for_ever(clock: Clock) -> None:
    find_rate(stepping(clock, 0.05))
    assert clock.now_s == pytest.approx(1000 + sampling.WATCH_S, abs=0.01)
    find_rate(stepping(clock, 30))
    assert clock.now_s == pytest.approx(1000 + sampling.WATCH_S + sampling.LONGEST_WATCH_S, abs=0.02)


def test_what_cannot_be_read_is_not_waited_for(clock: Clock) -> None:
    def refuse() -> float:
        raise PermissionError(13, "Permission denied")

    rate = find_rate(Source("rapl", lambda: {Channel("package-0", RAIL): refuse}))
    assert not rate.seen
    assert clock.now_s == pytest.approx(1000 + sampling.WATCH_S, abs=0.01)


@pytest.mark.parametrize(("declared_s", "expected_s"), [(0.02, 0.02), (None, 0.1)])
def test_values_that_do_not_change_tell_no_rate(clock: Clock, declared_s: float | None, expected_s: float) -> None:
    rate = find_rate(stepping(clock, 0, declared_s=declared_s))
    assert (rate.seen, rate.update_s) == (False, expected_s)


def test_a_source_that_takes_long_to_read_is_read_less_often(clock: Clock) -> None:
    rate = find_rate(stepping(clock, 0.02, cost_s=0.004))
    assert rate.cost_s == pytest.approx(0.008), "beside a worker caches are cold"
    assert rate.period_s == pytest.approx(1.6) and rate.update_s < 0.05


def test_the_step_of_a_sensor_is_seen_in_its_values(clock: Clock) -> None:
    """A hundred steps of 25 mW, of a chip whose file has microwatts; a counter's steps are of what it counts."""
    power, counter = Channel("power", RAIL, resolution=1e-6), Channel("counter", RAIL, ENERGY, 1e-6)
    steps = iter(range(10**6))

    def watts() -> float:
        return 3 + 0.025 * (next(steps) * 37 % 101)

    source = Source("steps", lambda: {power: watts, counter: lambda: clock.now_s})
    sampler = Sampler(source, find_rate(source))
    sampler.close()
    found = {each["name"]: (each["resolution"], each["resolution_seen"]) for each in sampler.describe()["channels"]}
    assert found == {"power": (pytest.approx(0.025), True), "counter": (1e-6, False)}


@pytest.mark.parametrize(
    ("values", "declared", "expected"),
    [([1.0, 1.025, 1.05], 0.0, 0.025), ([1.0, 1.025], 0.001, 0.025), ([1.0, 1.025], 0.04, 0.04), ([1.0], 0.0, 0.0)],
)
def test_two_values_tell_a_step(clock: Clock, values: list[float], declared: float, expected: float) -> None:
    """An INA226 that idles among a few."""
    turn = iter(range(10**6))
    channel = Channel("ina226 power1", RAIL, resolution=declared)
    source = Source("hwmon ina226", lambda: {channel: lambda: values[next(turn) % len(values)]})
    sampler = Sampler(source, find_rate(source))
    sampler.close()
    assert sampler.describe()["channels"][0]["resolution"] == pytest.approx(expected)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_readings_are_stamped_on_the_monotonic_clock_and_taken_once(tmp_path: Path) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    (source,) = find_sources(tmp_path)
    begin_ns = time.monotonic_ns()
    sampler = Sampler(source, Rate(0.01, 0.01, seen=True, cost_s=0.0))
    until(lambda: len(sampler._kept.t_ns) >= 5)
    found = sampler.take()
    assert found is not None
    assert begin_ns < found["t_ns"][0] and found["t_ns"] == sorted(found["t_ns"])
    assert found["t_ns"][-1] < time.monotonic_ns()
    assert list(found["values"]) == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert {len(column) for column in found["values"].values()} == {len(found["t_ns"])}
    (monitor / "curr2_input").write_text("?\n")
    until(lambda: any(sampler._kept.errors))
    more = sampler.take()
    assert more is not None and more["t_ns"][0] > found["t_ns"][-1]
    assert more["values"]["VDD_CPU_GPU_CV"][-1] is None and more["values"]["VDD_IN"][-1] is not None
    assert more["errors"][-1][1:] == ["VDD_CPU_GPU_CV", "no number: '?'"]
    sampler.close()
    assert not [each.name for each in threading.enumerate() if each.name == f"sampling {source.name}"]


def test_more_readings_than_a_record_holds_come_in_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sampling, "_MOST_READINGS", 3)
    monitor = trees.jetson_orin_nano(tmp_path)
    (monitor / "curr1_input").write_text("?\n")
    sampler = Sampler(find_sources(tmp_path)[0], Rate(0.002, 0.002, seen=True, cost_s=0.0))
    until(lambda: len(sampler._kept.t_ns) >= 7)
    sampler.close()
    parts: list[dict[str, Any]] = []
    while part := sampler.take():
        parts.append(part)
    assert len(parts) >= 3 and {len(each["t_ns"]) for each in parts[:-1]} == {3}
    for each in parts:
        assert [stamp for stamp, _, _ in each["errors"]] == each["t_ns"]


def test_a_source_that_raises_costs_its_readings_and_not_the_run() -> None:
    """A library's own kind of exception, now and then."""
    answers = iter([RuntimeError("GPU is lost"), None] * 10**6)

    def read() -> float:
        answer = next(answers)
        if answer:
            raise answer
        return 3.0

    sampler = Sampler(Source("odd", lambda: {Channel("odd", RAIL): read}), Rate(0.002, 0.002, seen=True, cost_s=0.0))
    until(lambda: len(sampler._kept.t_ns) >= 4)
    sampler.close()
    found = sampler.take()
    assert found is not None
    assert found["values"]["odd"][:4] == [None, 3.0, None, 3.0]
    assert found["errors"][0][1:] == ["odd", "RuntimeError: GPU is lost"]


def spent_s(sampler: Sampler) -> float:
    """What the sampler's thread has had of the CPU, as the kernel counts it."""
    counted = Path(f"/proc/self/task/{sampler._thread.native_id}/schedstat")
    if not counted.exists():
        pytest.skip("this kernel does not count the time of threads in nanoseconds")
    return int(counted.read_text().split()[0]) / 1e9


def test_reading_costs_less_than_one_percent_of_a_core_however_fast_the_sensor(tmp_path: Path) -> None:
    """Renewed a thousand times a second, and found to cost nothing while it was watched: it goes by what it costs."""
    trees.jetson_orin_nano(tmp_path)
    sampler = Sampler(find_sources(tmp_path)[0], Rate(0.001, 0.001, seen=True, cost_s=0.0))
    until(lambda: sampler.rate.period_s > 0.001 and sampler.rate.cost_s > 0)
    time.sleep(0.5)
    before_s, begin_s = spent_s(sampler), time.monotonic()
    time.sleep(2.0)
    share = (spent_s(sampler) - before_s) / (time.monotonic() - begin_s)
    sampler.close()
    print(f"{share:.2%} of a core, every {sampler.rate.period_s * 1e3:.1f} ms")
    assert 0 < share < 0.01
    assert sampler.rate.period_s == pytest.approx(sampler.rate.cost_s / COST_SHARE)
    assert sampler.describe()["period_s"] == sampler.rate.period_s and sampler.rate.update_s == 0.001


def test_what_another_process_does_for_a_reading_is_counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the firmware of a Raspberry Pi is a program's work, while this thread waits. What a worker had used that
    ends just then is not counted for more than the time there was."""
    children_s = [0.0]

    class Used:
        ru_stime = 0.0

        @property
        def ru_utime(self) -> float:
            return children_s[0]

    monkeypatch.setattr("resource.getrusage", lambda who: Used())
    source = stepping(clock, 0.05)
    source.elsewhere = True
    ask = source._readers[source.channels[0]]

    def read() -> float:
        clock.sleep(0.002)
        children_s[0] += 0.001
        return ask()

    source._readers[source.channels[0]] = read
    assert find_rate(source).cost_s == pytest.approx(0.002)
    cost = sampling._Cost(source)
    clock.sleep(0.01)
    children_s[0] += 50
    cost.count()
    assert cost.mean_s == pytest.approx(0.01)


def test_a_slow_meters_lines_tell_its_rate(tmp_path: Path) -> None:
    """One that prints nothing but a heading at first, then a line in a while."""
    script = tmp_path / "meter.py"
    script.write_text(
        "import time\nprint('seconds,watts', flush=True)\n"
        "for n in range(1000):\n    time.sleep(0.25)\n    print(f'{n / 4},{n}', flush=True)\n"
    )
    meter = Meter(f"{sys.executable} {script}")
    rate = find_rate(meter, watch_s=0.1, longest_s=30)
    meter.close()
    assert rate.seen and rate.update_s == pytest.approx(0.25), "by its own clock"


def test_a_meter_that_ends_says_so_for_as_long_as_it_is_read() -> None:
    """Also where it had ended before anyone listened to its lines."""
    meter = Meter("sh -c 'exit 3'")
    rate = find_rate(meter, watch_s=0.1, longest_s=0.1)
    sampler = Sampler(meter, rate)
    until(lambda: any(sampler._kept.errors))
    sampler.close()
    found = sampler.take()
    assert found is not None and found["values"]["meter"][-1] is None
    assert found["errors"][-1][1:] == ["meter", "the meter's command has ended with exit status 3"]


def test_conditions_are_looked_at_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampling.CONDITIONS_S == 1.0
    monkeypatch.setattr(sampling, "CONDITIONS_S", 0.1)
    begin_ns = time.monotonic_ns()
    sampler = ConditionsSampler(lambda: {"temperature_c": {"cpu": 50.0}})
    until(lambda: len(sampler._kept) >= 4)
    sampler.close()
    found = sampler.take()
    assert found[0]["temperature_c"] == {"cpu": 50.0}
    assert found[3]["t_ns"] - begin_ns >= 4 * 0.1e9, "never more often"
    assert sampler.take() == []


def test_a_sampler_ends_its_source() -> None:
    closed: list[bool] = []
    source = Source("steps", lambda: {Channel("steps", RAIL): lambda: 1.0})
    source.close = lambda: closed.append(True)  # type: ignore[method-assign]
    (sampler,) = [Sampler(source, Rate(0.01, 0.01, seen=True, cost_s=0.0))]
    sampler.close()
    assert closed == [True]


def test_all_sources_are_watched_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling.find_rate, "__defaults__", (0.2, 0.2, COST_SHARE))
    trees.jetson_orin_nano(tmp_path)
    trees.carrier_with_ina226(tmp_path)
    sources = find_sources(tmp_path)
    samplers = start_sampling(sources)
    assert [sampler.source for sampler in samplers] == sources and len(sources) == 4
    assert {sampler._share for sampler in samplers} == {COST_SHARE / 4}, "together they take no more than one"
    for sampler in samplers:
        sampler.close()
