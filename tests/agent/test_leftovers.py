"""What the dead have left is swept, and what the living write is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgesparse.agent.leftovers import sweep, writer
from edgesparse.agent.store import BoardStore, write_aside
from tests.agent.conftest import Agent

DIRECTORIES = ["", "agent", "objects", "checks", "runtimes", "runs/run-1"]


def a_dead_writer() -> str:
    code = "from edgesparse.agent.leftovers import writer; print(writer())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def leave(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(b"half")
    return directory / name


def test_a_writer_has_the_same_name_as_long_as_it_lives() -> None:
    pid, began, boot = writer().split(".")
    assert writer() == f"{pid}.{began}.{boot}"
    assert int(pid) == os.getpid()
    assert len(boot) == 8


def test_the_living_are_left_alone_and_the_dead_are_not(tmp_path: Path) -> None:
    pid, began, boot = writer().split(".")
    mine, odd = leave(tmp_path, f".part-{writer()}-a-b"), leave(tmp_path, ".part-of-somebody-else")
    for name in (
        f".part-{a_dead_writer()}",
        f".part-{pid}.{int(began) + 1}.{boot}-my-number-in-another-process",
        f".part-{pid}.{began}.{'0' * 8}-my-number-before-the-power-cut",
    ):
        leave(tmp_path, name)
    (tmp_path / f".part-{a_dead_writer()}-directory" / "inside").mkdir(parents=True)
    assert sweep([tmp_path, tmp_path / "not there"]) == 4
    assert sorted(tmp_path.iterdir()) == sorted([mine, odd])


def test_a_file_that_cannot_be_replaced_leaves_none_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="file"):
        write_aside(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_agent_that_starts_sweeps_its_store(agent: Agent) -> None:
    """As after a power cut: nothing is put any more, the agent's own file is whole."""
    store, dead = BoardStore(agent.home), a_dead_writer()
    left = [leave(store.home / name, f".part-{dead}-x") for name in DIRECTORIES]
    mine = leave(store.home / "objects", f".part-{writer()}")
    assert agent.start()["state"] == "running"
    assert not [path for path in left if path.exists()]
    assert mine.exists()
