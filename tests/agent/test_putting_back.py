"""Whatever ends a run, the governor is put back and nothing goes on reading sensors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesparse import wire
from edgesparse.agent import runner
from edgesparse.agent.journal import Journal
from edgesparse.agent.runner import Runner
from edgesparse.agent.store import BoardStore
from tests.agent.test_beside import SPEC


class Tuned:
    """Stands for the board's governors."""

    def __init__(self) -> None:
        self.governor = "schedutil"
        self.refuses = False

    def __call__(self, home: Path) -> Tuned:
        return self

    def apply(self) -> dict[str, str]:
        self.governor = "performance"
        return {"cpu0": "schedutil"}

    def restore(self) -> bool:
        if self.refuses:
            raise OSError("cpu0 is not schedutil again")
        was, self.governor = self.governor, "schedutil"
        return was != "schedutil"


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> Tuned:
    found = Tuned()
    monkeypatch.setattr(runner, "Tuning", found)
    monkeypatch.setattr(runner, "SETTLE_S", 0.0)
    return found


def start(tmp_path: Path, **more: Any) -> tuple[Runner, list[dict[str, Any]]]:
    store = BoardStore(tmp_path / "home")
    directory = store.run_dir("r")
    directory.mkdir(parents=True)
    made = Runner(
        wire.RunSpec(**SPEC, tune=True, energy=False, **more), store, Journal(directory / "journal.jsonl"),
        agent={"version": "1", "sha256": "0"}, worker_command=["false"], notify=lambda: None,
    )  # fmt: skip
    records: list[dict[str, Any]] = []
    keep = made.record

    def record(type_: str, **fields: Any) -> None:
        records.append({"type": type_, **fields})
        keep(type_, **fields)

    made.record = record  # type: ignore[method-assign]
    made._beside._record = record
    return made, records


async def at_once() -> None:
    """Nothing to wait for."""


def ends(run: Runner, task_of: Callable[[Runner], Any] | None = None) -> None:
    async def go() -> None:
        task = asyncio.ensure_future(run.run(at_once))
        if task_of:
            await task_of(run)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # and again, while it is putting things back
        try:
            await asyncio.wait_for(task, 30)
        except asyncio.CancelledError:
            assert task_of

    asyncio.run(go())


def test_a_run_to_its_end(tmp_path: Path, tuned: Tuned) -> None:
    run, records = start(tmp_path)
    ends(run)
    kinds = [record["type"] for record in records]
    assert kinds.index("tuned") < kinds.index("conditions") < kinds.index("untuned")
    assert tuned.governor == "schedutil"


def test_a_run_that_is_cancelled_twice(tmp_path: Path, tuned: Tuned) -> None:
    async def when(run: Runner) -> None:
        while tuned.governor != "performance":
            await asyncio.sleep(0.001)

    run, records = start(tmp_path)
    ends(run, when)
    assert tuned.governor == "schedutil"
    assert records[-1]["status"] == "cancelled"


def test_a_disk_that_is_full_when_it_is_recorded(tmp_path: Path, tuned: Tuned) -> None:
    run, records = start(tmp_path)
    record = run.record

    def full(type_: str, **fields: Any) -> None:
        if type_ == "tuned":
            raise OSError(28, "No space left on device")
        record(type_, **fields)

    run.record = full  # type: ignore[method-assign]
    ends(run)
    assert tuned.governor == "schedutil"
    assert records[-1]["status"] == "failed" and "No space" in records[-1]["reason"]


def test_a_governor_that_cannot_be_put_back_is_told(tmp_path: Path, tuned: Tuned) -> None:
    tuned.refuses = True
    run, records = start(tmp_path)
    ends(run)
    (untuned,) = [record for record in records if record["type"] == "untuned"]
    assert untuned["reason"] == "cpu0 is not schedutil again"


def test_cores_that_there_are_not(tmp_path: Path, tuned: Tuned) -> None:
    run, records = start(tmp_path, cpus="4000")
    ends(run)
    assert tuned.governor == "schedutil"
    assert "found 4000" in records[-1]["reason"]
