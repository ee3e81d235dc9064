"""Wheels that a board fetches with its own pip: all of them or none, unpacked, and nothing else left in its store."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgesparse.boards import reach
from edgesparse.boards.facts import Interpreter
from edgesparse.boards.fetching import fetch_newest, fetch_same, lock_of
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.transport import Transport
from edgesparse.boards.unpacking import RuntimeEnv, check_unpacked, unpack
from edgesparse.errors import BoardError
from edgesparse.files import sha256_of
from tests.sshd import Sshd
from tests.waiting import wait_until

RUNTIME = "ai-edge-litert"
PINS = ["ai-edge-litert==2.3.0", "numpy==2.2.6", "psutil==7.0.0"]


@pytest.fixture
def there(venv: Path, wheels: Path, tmp_path: Path) -> Path:
    """What the board's pip finds."""
    found = tmp_path / "there"
    shutil.copytree(wheels, found)
    (venv / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {found}\n")
    return found


@pytest.fixture
def board(sshd: Sshd) -> Board:
    return resolve("x86-64", host=sshd.host)


@pytest.fixture
def transport(board: Board) -> Iterator[Transport]:
    transport = reach(board)
    yield transport
    transport.close()


@pytest.fixture
def python(venv: Path) -> Interpreter:
    return Interpreter(str(venv / "bin" / "python"), sys.version_info[:3], {"pip": "24.0"})


@pytest.fixture
def runtimes(sshd: Sshd) -> Path:
    return sshd.board_home / "runtimes"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_same_wheels_become_an_environment(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, wheels: Path, there: Path
) -> None:
    local = sorted(wheels.iterdir())
    fetched = fetch_same(transport, board, python, local, RUNTIME, print)
    assert fetched is not None
    assert fetched.wheels == {wheel.name: sha256_of(wheel) for wheel in local}
    assert names(runtimes) == [lock_of(fetched.wheels)]
    check_unpacked(fetched.unpacked, board, python, RuntimeEnv(python.path, ["x"], RUNTIME, "2.3.0"))


def test_one_other_wheel_leaves_none_of_them(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, wheels: Path, there: Path
) -> None:
    with zipfile.ZipFile(next(there.glob("psutil*")), "a") as archive:  # the last of them by name
        archive.writestr("psutil/evil.py", "")
    assert fetch_same(transport, board, python, sorted(wheels.iterdir()), RUNTIME, print) is None
    assert names(runtimes) == []


def test_another_number_of_wheels_than_was_asked_for(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, there: Path
) -> None:
    with pytest.raises(BoardError, match=r"could not fetch them either: pip fetched psutil-7\.0\.0-.* for psutil"):
        fetch_newest(transport, board, python, ["psutil>=5.9", "psutil"], RUNTIME)
    assert names(runtimes) == []


def test_wheels_that_do_not_work_there(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, there: Path
) -> None:
    with zipfile.ZipFile(next(there.glob("psutil*")), "a") as archive:
        archive.writestr("psutil.py", "")
        archive.writestr("numpy/__init__.py", "raise ImportError('made for another board')")
    fetched = fetch_newest(transport, board, python, PINS, RUNTIME)
    with pytest.raises(BoardError, match=r"does not work on x86-64 .*made for another board"):
        check_unpacked(fetched.unpacked, board, python, RuntimeEnv(python.path, ["x"], RUNTIME, "2.3.0"))
    assert names(runtimes) == []


def test_a_pip_that_is_too_slow_is_ended(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, wheels: Path, there: Path, venv: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """So that nothing of it comes later."""
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    slow = site_packages / "slow.pth"
    slow.write_text("import sys, time; ' -m pip ' in ' '.join(sys.orig_argv) and time.sleep(10)\n")
    monkeypatch.setattr("edgesparse.boards.fetching.FETCH_S", 2.0)
    try:
        assert fetch_same(transport, board, python, sorted(wheels.iterdir()), RUNTIME, print) is None
        assert running(python) == []
        with pytest.raises(BoardError, match="could not fetch them either: pip did not end within 2 s"):
            fetch_newest(transport, board, python, PINS, RUNTIME)
        assert running(python) == []
    finally:
        slow.unlink()
    assert names(runtimes) == []


def running(python: Interpreter) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [""])[0] == python.path]


def test_a_link_that_is_cut_while_it_fetches(
    transport: Transport, board: Board, python: Interpreter, runtimes: Path, there: Path, sshd: Sshd, venv: Path
) -> None:
    """What is fetched when nobody waits for it any more is unpacked, or gone."""
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    slow = site_packages / "slow.pth"
    slow.write_text("import sys, time; ' -m pip ' in ' '.join(sys.orig_argv) and time.sleep(2)\n")
    try:
        threading.Timer(1, sshd.cut).start()
        with pytest.raises(BoardError):
            fetch_newest(transport, board, python, PINS, RUNTIME)
        wait_until(lambda: not running(python))
    finally:
        slow.unlink()
    assert all(len(name) == 16 for name in names(runtimes))


def test_an_environment_is_for_its_user_alone(transport: Transport, board: Board, wheels: Path, tmp_path: Path) -> None:
    """Whatever the board's umask is."""
    runtimes = tmp_path / "board" / "runtimes"
    shutil.copytree(wheels, runtimes)
    before = os.umask(0o002)
    try:
        local = reach(resolve("local"))
        bare = tmp_path / "bare"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
        python = Interpreter(str(bare / "bin" / "python"), sys.version_info[:3])
        runtime = RuntimeEnv(python.path, [str(runtimes / "made")], RUNTIME, "2.3.0")
        unpack(local, board, python, runtime, [str(path) for path in runtimes.glob("*.whl")], print)
    finally:
        os.umask(before)
    assert names(runtimes) == ["made"]
    made = [runtimes / "made", *(runtimes / "made").rglob("*")]
    assert len(made) > 5
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in made} == {0}
