"""Between sustained launches the board gets back to the temperature that it had at first, or gets so long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgesparse import wire
from edgesparse.agent import runner
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


def test_a_board_without_a_temperature_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, slept = cooled(tmp_path, monkeypatch, None, iter([None]))
    assert (found["reached"], slept) == (None, [])
