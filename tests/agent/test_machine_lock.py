"""The right to measure, between processes."""

from __future__ import annotations

import getpass
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesparse.agent.machine_lock import MachineLock, default_path

HOLD = (
    "import sys, time; from pathlib import Path; from edgesparse.agent.machine_lock import MachineLock\n"
    "lock = MachineLock(Path(sys.argv[1])); assert lock.acquire(); print('held', flush=True); time.sleep(60)"
)


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_only_one_process_has_it_and_a_kill_frees_it(tmp_path: Path) -> None:
    lock = MachineLock(tmp_path / "lock")
    other = hold(tmp_path / "lock")
    assert not lock.acquire()
    assert lock.holder() == f"{getpass.getuser()}'s agent (process {other.pid})"
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert lock.holder() is None
    assert lock.acquire()
    assert lock.acquire()
    lock.release()
    lock.release()
    hold(tmp_path / "lock").kill()


def test_every_user_may_open_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert MachineLock(tmp_path / "lock").acquire()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o644


def test_a_symbolic_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        MachineLock(tmp_path / "lock").acquire()
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_its_place_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Whoever puts a named pipe there would else stop all agents on the machine, for good."""
    make(tmp_path / "lock")
    code = (
        "import sys; from pathlib import Path; from edgesparse.agent.machine_lock import MachineLock\n"
        "lock = MachineLock(Path(sys.argv[1]))\n"
        "assert not lock.remove()\n"
        "try: lock.acquire()\n"
        "except OSError as error: print(error)"
    )
    # In a process of its own: what waits there cannot be interrupted here.
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "expected a regular file" in done.stdout
    assert (tmp_path / "lock").exists()


def test_a_file_that_was_swept_away_does_not_make_two_holders(tmp_path: Path) -> None:
    other = hold(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    lock = MachineLock(tmp_path / "lock")
    assert lock.acquire()  # a new file: all that come from now on meet here
    assert not MachineLock(tmp_path / "lock").acquire()
    other.kill()
    other.communicate()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGESPARSE_LOCK")
    assert default_path().parent == Path("/tmp")
    monkeypatch.setenv("EDGESPARSE_LOCK", "/elsewhere/lock")
    assert default_path() == Path("/elsewhere/lock")
