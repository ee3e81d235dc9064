"""What is read beside the workers of a run, on sensors of this test's own."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from edgesparse import wire
from edgesparse.agent import beside, sampling
from edgesparse.agent.beside import Beside
from edgesparse.agent.sensors.source import BOARD_INPUT, Channel, Source

SPEC: dict[str, Any] = {
    "run": "r", "owner": "o", "bundle": "b", "cells": [], "files": {}, "runtime": "t", "runtime_version": "1",
}  # fmt: skip


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def __call__(self, type_: str, **fields: Any) -> None:
        self.records.append({"type": type_, **fields})

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == type_]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """Renewed at every look, so that watching it is over at once."""
    channel = Channel("VDD_IN", BOARD_INPUT, total=True)
    found = Source("test", lambda: {channel: lambda: float(time.monotonic_ns())}, 0.02)
    monkeypatch.setattr(beside, "find_sources", lambda: [found])
    monkeypatch.setattr(sampling.find_rate, "__defaults__", (0.05, 0.05, sampling.COST_SHARE))
    return found


def samplers() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name in ("sampling test", "sampling conditions")]


def test_idle_windows_have_readings_on_either_side(source: Source) -> None:
    """Otherwise idle power would not be known, and no energy."""
    kept = Kept()

    async def run() -> None:
        reading = Beside(wire.RunSpec(**SPEC), kept)
        await reading.start()
        assert beside.SHORTEST_WINDOW_S <= reading.window_s <= beside.LONGEST_WINDOW_S
        for when in ("before", "after"):
            await reading.stay_idle(when)
        reading.stop()

    asyncio.run(run())
    (found,) = kept.of("sensors_found")
    assert [each["source"] for each in found["sources"]] == ["test"]
    stamps = [stamp for record in kept.of("sensors") for stamp in record["t_ns"]]
    idle = kept.of("idle")
    assert [each["when"] for each in idle] == ["before", "after"]
    for begin_ns, end_ns in (each["window_ns"] for each in idle):
        assert end_ns - begin_ns >= beside.SHORTEST_WINDOW_S * 1e9
        assert stamps[0] <= begin_ns and any(stamp >= end_ns for stamp in stamps)
    assert samplers() == []


def test_a_run_that_is_cancelled_while_sensors_are_watched_leaves_none_reading(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()
    monkeypatch.setattr(source, "close", closed.set)
    monkeypatch.setattr(sampling.find_rate, "__defaults__", (0.3, 0.3, sampling.COST_SHARE))

    async def run() -> None:
        reading = Beside(wire.RunSpec(**SPEC), Kept())
        task = asyncio.ensure_future(reading.start())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reading.stop()

    asyncio.run(run())
    assert closed.wait(30)
    assert samplers() == []


def test_without_energy_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "find_sources", lambda: pytest.fail("nobody asked for sensors"))
    kept = Kept()

    async def run() -> None:
        reading = Beside(wire.RunSpec(**SPEC, energy=False), kept)
        await reading.start()
        assert reading.window_s == 0
        await reading.stay_idle("before")
        reading.stop()

    asyncio.run(run())
    assert [record["type"] for record in kept.records] == ["sensors_found"]


@pytest.mark.parametrize("slow_is_told", [True, False])
def test_a_launch_lasts_as_long_as_the_slowest_channel_needs_of_which_energy_is_told(
    monkeypatch: pytest.MonkeyPatch, slow_is_told: bool
) -> None:
    """And no longer for another one beside it."""
    slow = Channel("slow", BOARD_INPUT, total=slow_is_told)
    fast = Channel("fast", BOARD_INPUT, total=not slow_is_told)
    found = Source("test", lambda: {slow: lambda: time.monotonic() // 0.2, fast: time.monotonic}, 0.02)
    monkeypatch.setattr(beside, "find_sources", lambda: [found])
    monkeypatch.setattr(sampling.find_rate, "__defaults__", (1.5, 5.0, sampling.COST_SHARE))

    async def run() -> float:
        reading = Beside(wire.RunSpec(**SPEC), Kept())
        await reading.start()
        window_s = reading.window_s
        reading.stop()
        return window_s

    window_s = asyncio.run(run())
    assert (window_s > 0.15 * beside.READINGS_PER_WINDOW) == slow_is_told, window_s


def test_a_meter_that_does_not_start_takes_no_other_sensor_with_it(source: Source) -> None:
    kept = Kept()

    async def run() -> None:
        reading = Beside(wire.RunSpec(**SPEC, meter="'unbalanced"), kept)
        await reading.start()
        reading.stop()

    asyncio.run(run())
    (found,) = kept.of("sensors_found")
    assert [each["source"] for each in found["sources"]] == ["test"]
    assert found["reason"] == "the meter's command does not start: No closing quotation"


def test_a_meter_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "find_sources", list)
    kept = Kept()

    async def run() -> None:
        reading = Beside(wire.RunSpec(**SPEC, meter="/no/such/meter"), kept)
        await reading.start()
        reading.stop()

    asyncio.run(run())
    assert "/no/such/meter" in kept.records[0]["reason"] and kept.records[0]["sources"] == []
