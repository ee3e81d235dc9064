"""A real systemd user manager, with a home of its own, on a machine that need not have been booted with systemd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# What systemd's first process would have made; in a mount namespace of its own, so that nobody else sees it.
_BOOT = """
mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system /run/systemd/inaccessible
cd /run/systemd/inaccessible && : > reg && mkdir dir && mkfifo fifo && mknod chr c 0 0 && mknod blk b 0 0
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('sock')" && chmod 0 * && cd /
exec "$SYSTEMD" --user
"""
_PROGRAM = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(path).exists()), None)
START_DEADLINE_S = 120.0


@pytest.fixture
def user_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The manager runs; gives the home of its user, which is HOME."""
    if _PROGRAM is None or not shutil.which("systemctl"):
        pytest.skip("needs systemd: apt-get install systemd")
    if os.geteuid() != 0:
        pytest.skip("starting a systemd user manager beside the machine's own needs root")
    home, runtime = tmp_path / "user", tmp_path / "run"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for name in ("XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    log = tmp_path / "systemd.log"
    with log.open("wb") as file:
        manager = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", _BOOT], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            env={**os.environ, "SYSTEMD": _PROGRAM}, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_DEADLINE_S
    while not _answers() and manager.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if not _answers():
        manager.kill()
        pytest.skip(f"no systemd user manager can be started here: {log.read_text()[-300:]}")
    yield home
    systemctl("stop", "edgesparse-agent.service")
    manager.send_signal(signal.SIGKILL)
    manager.wait()


def systemctl(*arguments: str) -> str:
    """What systemctl says of the user's manager."""
    done = subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _answers() -> bool:
    return subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True, check=False).returncode == 0
