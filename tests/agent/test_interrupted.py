"""What an agent does with the runs that one before it left unfinished, also where the disk is full."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgesparse.agent.journal import Journal, last_record
from edgesparse.agent.queue import KEPT_RUNS, Entry, RunQueue
from edgesparse.agent.runner import Runner
from edgesparse.agent.store import BoardStore
from tests.agent.conftest import Agent
from tests.agent.test_hostile import SPEC


def leave(home: Path, run: str) -> Path:
    """What a run leaves whose agent is killed in it."""
    directory = home / "runs" / run
    directory.mkdir(parents=True)
    journal = Journal(directory / "journal.jsonl", reserve=True)
    journal.append("run", run=run)
    assert len(list(directory.iterdir())) == 2
    return directory


async def close_interrupted(home: Path) -> dict[str, Any]:
    queue = RunQueue(BoardStore(home), {}, [])
    queue.close_interrupted()
    return queue.status()


def full(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> None:
    """A disk that refuses what is written to a file while `when` says so of its descriptor."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if when(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_has_space_for_the_end_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = leave(tmp_path, "run-1")
    full(monkeypatch, lambda _: (directory / "journal.reserve").exists())
    status = asyncio.run(close_interrupted(tmp_path))
    assert [(each["run"], each["status"]) for each in status["ended"]] == [("run-1", "failed")]
    assert [path.name for path in directory.iterdir()] == ["journal.jsonl"]


def test_a_run_that_is_cancelled_on_a_full_disk_has_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        with Journal(tmp_path / "journal.jsonl", reserve=True) as journal:
            runner = Runner(SPEC, BoardStore(tmp_path), journal, agent={}, worker_command=[], notify=lambda: None)
            running = asyncio.create_task(runner.run(before=wait))
            await asyncio.sleep(0)
            full(monkeypatch, lambda _: (tmp_path / "journal.reserve").exists())
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()

    asyncio.run(cancel())
    end = last_record(tmp_path / "journal.jsonl")
    assert end and (end["type"], end["status"]) == ("finished", "cancelled")


def test_a_journal_that_takes_nothing_does_not_keep_the_others_from_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing, *others = (leave(tmp_path, f"run-{number}") for number in range(3))
    full(monkeypatch, lambda each: os.path.samestat(os.fstat(each), (refusing / "journal.jsonl").stat()))
    asyncio.run(close_interrupted(tmp_path))
    ends = [last_record(each / "journal.jsonl") for each in (refusing, *others)]
    assert [end and end["type"] for end in ends] == ["run", "finished", "finished"]
    assert "the end of run run-0 cannot be noted: " in capsys.readouterr().err


def test_a_run_leaves_the_line_also_where_its_end_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def cancel() -> None:
        queue = RunQueue(BoardStore(tmp_path), {}, [])
        queue.waiting.append(Entry(replace(SPEC, run="run-1"), leave(tmp_path, "run-1") / "journal.jsonl"))
        full(monkeypatch, lambda _: True)
        assert await queue.cancel("run-1")
        assert queue.waiting == []

    asyncio.run(cancel())
    assert "the end of run run-1 cannot be noted: " in capsys.readouterr().err


def test_only_so_many_are_kept_and_what_is_no_run_stays(tmp_path: Path) -> None:
    for number in range(KEPT_RUNS + 2):
        os.utime(leave(tmp_path, f"run-{number:02}"), (number, number))
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    asyncio.run(close_interrupted(tmp_path))
    assert len(list((tmp_path / "runs").iterdir())) == KEPT_RUNS + 1
    assert (tmp_path / "runs" / "notes.txt").exists()


def test_an_agent_starts_over_a_file_among_the_runs(agent: Agent) -> None:
    (agent.home / "runs" / "notes.txt").write_text("mine")
    os.kill(agent.pid, signal.SIGKILL)
    assert agent.start()["state"] == "started"
    assert agent.connect().ask({"type": "status"})["ended"] == []
