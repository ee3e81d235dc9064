"""How often sources are read, what that costs, and that it happens on the workers' clock."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesparse.agent.sampling import ConditionsSampler, Sampler, find_rate, start_sampling
from edgesparse.agent.sensors import find_sources
from edgesparse.agent.sensors.source import RAIL, Channel, Source
from tests.agent.sensors import trees


def stepping(period_s: float, cost_s: float = 0.0, declared_s: float | None = None) -> Source:
    """A source whose value changes every so often, and takes so long to read."""

    def read() -> float:
        if cost_s:
            time.sleep(cost_s)
        return float(int(time.monotonic() / period_s)) if period_s else 1.0

    return Source("steps", lambda: {Channel("steps", RAIL): read}, declared_s)


@pytest.mark.parametrize("period_s", [0.01, 0.05, 0.2])
def test_the_rate_is_found_by_watching_values_change(period_s: float) -> None:
    rate = find_rate(stepping(period_s, declared_s=0.002))
    assert rate.seen
    assert rate.update_s == pytest.approx(period_s, rel=0.25), "whatever the source says of itself"


@pytest.mark.parametrize(("declared_s", "expected_s"), [(0.02, 0.02), (None, 0.1)])
def test_values_that_do_not_change_tell_no_rate(declared_s: float | None, expected_s: float) -> None:
    rate = find_rate(stepping(0, declared_s=declared_s), watch_s=0.3)
    assert (rate.seen, rate.update_s) == (False, expected_s)


def test_a_source_that_is_slow_to_read_is_read_less_often() -> None:
    rate = find_rate(stepping(0.02, cost_s=0.004))
    assert rate.cost_s >= 0.004
    assert rate.period_s >= 0.4


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_readings_are_stamped_on_the_monotonic_clock_and_taken_once(tmp_path: Path) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    begin_ns = time.monotonic_ns()
    (sampler,) = start_sampling(find_sources(tmp_path))
    until(lambda: len(sampler._kept.t_ns) >= 5)
    (monitor / "curr2_input").write_text("?\n")
    found = sampler.take()
    assert found is not None
    assert begin_ns < found["t_ns"][0] and found["t_ns"] == sorted(found["t_ns"])
    assert list(found["values"]) == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert {len(column) for column in found["values"].values()} == {len(found["t_ns"])}
    time.sleep(2 * sampler.rate.period_s + 0.1)
    more = sampler.take()
    assert more is not None and more["t_ns"][0] > found["t_ns"][-1]
    assert more["values"]["VDD_CPU_GPU_CV"][-1] is None
    assert more["errors"][-1][1:] == ["VDD_CPU_GPU_CV", "no number: '?'"]
    sampler.close()
    count = threading.active_count()
    assert not [each for each in threading.enumerate() if each.name.startswith("sampling")], count


def test_reading_at_the_sensors_rate_costs_less_than_one_percent_of_a_core(tmp_path: Path) -> None:
    trees.jetson_orin_nano(tmp_path)
    (sampler,) = start_sampling(find_sources(tmp_path))

    def spent_s() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    shares = []
    for _ in range(5):
        before_s, begin_s = spent_s(), time.monotonic()
        time.sleep(1.0)
        shares.append((spent_s() - before_s) / (time.monotonic() - begin_s))
    sampler.close()
    print(f"{min(shares):.2%} of a core, every {sampler.rate.period_s * 1e3:.1f} ms")
    assert min(shares) < 0.01


def test_conditions_are_looked_at_once_a_second() -> None:
    sampler = ConditionsSampler(lambda: {"temperature_c": {"cpu": 50.0}})
    time.sleep(2.5)
    found = sampler.take()
    sampler.close()
    assert len(found) == 2 and found[0]["temperature_c"] == {"cpu": 50.0}
    assert found[1]["t_ns"] - found[0]["t_ns"] == pytest.approx(1e9, rel=0.1)
    assert sampler.take() == []


def test_a_sampler_ends_its_source() -> None:
    closed: list[bool] = []
    source = stepping(0.01)
    source.close = lambda: closed.append(True)  # type: ignore[method-assign]
    Sampler(source, find_rate(source, 0.1)).close()
    assert closed == [True]
