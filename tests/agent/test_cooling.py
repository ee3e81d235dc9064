"""Between sustained launches the board gets back to the temperature that it had at first, or gets so long."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgesparse import wire
from edgesparse.agent import runner
from edgesparse.agent.conditions import hottest_c, read_conditions
from tests.agent.sensors.trees import write
from tests.agent.test_putting_back import start

CELL = wire.Cell("dense/builtin/1", "dense", "builtin", 1)


def cooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_first_c: float | None, temperatures: Iterator[Any]
) -> Any:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(runner, "hottest_c", lambda: next(temperatures))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    run, records = start(tmp_path)
    asyncio.run(run._cool_down(CELL, at_first_c))
    (found,) = records
    return found, slept


def test_back_within_a_degree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, slept = cooled(tmp_path, monkeypatch, 45.0, iter([60.0, 52.0, 46.1, 46.0, 45.0]))
    assert (found["type"], found["cell"], found["reached"], found["to_c"]) == ("cooled_down", CELL.id, True, 46.0)
    assert slept == [1.0] * 3


def test_a_board_that_does_not_cool_down_is_waited_for_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "COOL_DOWN_S", 0.05)
    found, _ = cooled(tmp_path, monkeypatch, 45.0, iter([60.0] * 10**7))
    assert (found["reached"], found["from_c"], found["to_c"]) == (False, 45.0, 60.0)


# A Jetson Nano's, under JetPack 4, as they read at rest.
NANO = {
    "AO-therm": "41500", "CPU-therm": "34000", "GPU-therm": "32500", "PLL-therm": "33000", "PMIC-Die": "100000",
    "thermal-fan-est": "33250",
}  # fmt: skip


def nano(root: Path, **changed: str) -> Path:
    """Its zones, some of them at another temperature."""
    for number, (name, value) in enumerate(NANO.items()):
        at = f"sys/class/thermal/thermal_zone{number}"
        write(root, {f"{at}/type": name, f"{at}/temp": changed.get(name.partition("-")[0], value)})
    return root


def test_a_jetson_nano_is_waited_for_by_the_zones_that_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its zones says 100 °C whatever the board does."""
    at_first_c = hottest_c(nano(tmp_path))
    assert at_first_c == 41.5
    temperatures = (hottest_c(nano(tmp_path, CPU=value)) for value in ("78000", "55500", "42500", "41000"))
    found, slept = cooled(tmp_path, monkeypatch, at_first_c, temperatures)
    assert (found["reached"], found["to_c"], len(slept)) == (True, 42.5, 2)
    told = read_conditions("after", nano(tmp_path), 0.0)["temperature_c"]
    assert told == {name: int(value) / 1000 for name, value in NANO.items() if name != "PMIC-Die"}


def test_a_zone_that_is_switched_off_has_no_temperature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Jetson Orin's accelerators: the file is there, and its kernel says that there is nothing just now (EAGAIN)."""
    at = "sys/class/thermal/thermal_zone"
    write(tmp_path, {f"{at}0/type": "cpu-thermal", f"{at}0/temp": "47531", f"{at}2/type": "cv0-thermal"})
    write(tmp_path, {f"{at}2/temp": "", f"{at}8/type": "tj-thermal", f"{at}8/temp": "48218"})
    nothing_yet, kept_open = os.pipe()
    os.set_blocking(nothing_yet, False)
    as_ever = io.open

    def opened(file: Any, *args: Any, **kwargs: Any) -> Any:
        is_off = str(file).endswith("thermal_zone2/temp")
        return as_ever(os.dup(nothing_yet) if is_off else file, *args, **kwargs)

    monkeypatch.setattr(io, "open", opened)
    assert read_conditions("before", tmp_path, 0.0)["temperature_c"] == {"cpu-thermal": 47.531, "tj-thermal": 48.218}
    assert hottest_c(tmp_path) == 48.218
    os.close(nothing_yet)
    os.close(kept_open)


def test_a_board_without_a_temperature_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, slept = cooled(tmp_path, monkeypatch, None, iter([None]))
    assert (found["reached"], slept) == (None, [])
