"""A board whose disk is full, at each write; and one whose storage loses data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgesparse import deploy
from edgesparse.boards import reach
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import BoardSession
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError, EdgesparseError, MeasurementError
from edgesparse.store import RunRecord
from tests.faults.boards import BACKENDS, assert_usable, measure
from tests.faults.conftest import Tell, lost, samples
from tests.waiting import wait_until
from tests.wheelhouse import add_wheel, use_index

DISK_BYTES = 24 << 20


@pytest.fixture
def small_disk(board: Board, tmp_path: Path) -> Iterator[Board]:
    """The board with its store on a file system of 24 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield replace(board, home=str(mount / "edgesparse"))
    subprocess.run(["pkill", "-9", "-f", str(mount)], check=False)
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def fill(board: Board, free_bytes: int) -> Path:
    """Take all of the disk but so much; returns the file that does."""
    disk = Path(str(board.home)).parent
    (disk / "filler").unlink(missing_ok=True)
    there = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, there.f_bavail * there.f_frsize - free_bytes)))
    return disk / "filler"


# From nothing at all to just too little; the bundle, the agent and the spare that a push leaves take about 1.3 MB.
@pytest.mark.parametrize("free_kb", [0, 4, 64, 1000, 1060, 1100, 1200, 1400])
def test_a_deploy_to_a_full_disk(bundle: Bundle, small_disk: Board, free_kb: int, tell: Tell) -> None:
    filler, home = fill(small_disk, free_kb << 10), Path(str(small_disk.home))
    try:
        deploy(bundle, small_disk, backends=BACKENDS)
    except EdgesparseError as error:
        said = str(error).lower()
        assert any(word in said for word in ("full", "space", "filled")), said
    else:
        assert free_kb > 1000
    wait_until(lambda: not list(home.rglob(".part-*")))  # the board sweeps when the host has hung up
    filler.unlink()
    assert_usable(bundle, small_disk)
    if free_kb == 0:
        tell("disk full at a push", "a file system of 24 MB with 0 to 1400 kB free",
             "refused before or undone after; complete once there is space", 0)  # fmt: skip


def test_a_disk_that_fills_while_a_runtime_is_unpacked(
    small_disk: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    cpython = f"cp3{sys.version_info.minor}"
    for name in ("ai_edge_litert-2.3.0", "numpy-2.2.6", "psutil-7.0.0"):
        content = "#" * 8_000_000 * name.startswith("numpy")
        add_wheel(tmp_path / "index", f"{name}-{cpython}-{cpython}-manylinux_2_17_x86_64", content)
    use_index(tmp_path / "index", monkeypatch)
    bare, home = replace(small_disk, python=str(tmp_path / "bare/bin/python")), Path(str(small_disk.home))

    def fill_now(said: str) -> None:
        if said.startswith("unpacking"):
            fill(small_disk, 2_000_000)

    with (
        BoardSession(bare, reach, fill_now) as session,
        pytest.raises(BoardError, match="filled up while the runtime was unpacked"),
    ):
        _ = session.runtime
    assert list((home / "runtimes").iterdir()) == []
    (home.parent / "filler").unlink()
    with BoardSession(bare, reach) as session:
        (directory,) = session.runtime.pythonpath
    assert [str(path) for path in (home / "runtimes").iterdir()] == [directory]


@pytest.mark.parametrize("sequence", [3, 8, 11, 20])
def test_a_disk_that_fills_in_a_run(bundle: Bundle, small_disk: Board, sequence: int, tell: Tell) -> None:
    def fill_now(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == sequence:
            fill(small_disk, 0)

    with pytest.raises(MeasurementError, match="No space left on device"):
        measure(bundle, small_disk, rounds=100, on_message=fill_now)
    record, home = RunRecord.last(), Path(str(small_disk.home))
    assert record.records()[-1]["type"] == "finished"
    assert samples(record.records()) > 0 or sequence < 11
    with pytest.raises(BoardError, match=r"No space left on device|is full|filled up"):
        measure(bundle, small_disk, rounds=1)
    (home.parent / "filler").unlink()
    assert_usable(bundle, small_disk)
    if sequence == 20:
        tell("disk full in a run", "the board's file system filled at the 3rd, 8th, 11th or 20th record",
             "the run ends with that reason; the next is refused until there is space", lost(record, home))  # fmt: skip


def test_a_file_that_lost_its_content(bundle: Bundle, small_disk: Board, tell: Tell) -> None:
    assert_usable(bundle, small_disk)
    home = Path(str(small_disk.home))
    model = next(path for path in (home / "objects").iterdir() if b"TFL3" in path.read_bytes()[:8])
    model.write_bytes(model.read_bytes()[:-1000] + bytes(1000))
    (zipapp,) = (home / "agent").iterdir()
    with pytest.raises(MeasurementError, match="is not what was put there"):
        deploy(bundle, small_disk, backends=BACKENDS)
    assert_usable(bundle, small_disk)
    subprocess.run(["pkill", "-9", "-f", str(home)], check=False)
    zipapp.write_bytes(bytes(zipapp.stat().st_size))
    assert_usable(bundle, small_disk)
    tell("storage loses data", "a model and the agent's own file overwritten with zeros",
         "found before use, removed, and put there anew", 0)  # fmt: skip
