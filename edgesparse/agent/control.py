"""Starting and ending the daemon, from beside it: what a host runs on the board before it talks to the agent."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesparse import __version__, wire
from edgesparse.agent.dialling import SOCKET, dial
from edgesparse.agent.machine_lock import MachineLock
from edgesparse.agent.service import Service, ServiceError
from edgesparse.agent.store import LOCK, LOG, OLD_LOG, BoardStore

# A small board that is busy with something else takes its time.
START_DEADLINE_S = 120.0
HELLO_S = 30.0
LOG_LIMIT_BYTES = 1_000_000

# The variable by which the host tells the daemon which runtime is the one that workers will use.
RUNTIME = "EDGESPARSE_RUNTIME"

State = dict[str, Any]


class Control:
    """The daemon of one store, seen by this very agent: its zipapp, Python and PYTHONPATH.

    Args:
        home: the board's store.
        zipapp: this agent.
    """

    def __init__(self, home: Path, zipapp: str) -> None:
        self.home, self.zipapp = home, zipapp
        self.sha256 = hashlib.sha256(Path(zipapp).read_bytes()).hexdigest()
        self.pythonpath = os.environ.get("PYTHONPATH", "")
        self.runtime = os.environ.get(RUNTIME, "")
        self.service = Service(home)

    def check_itself(self) -> str:
        """Why this agent is not what was put here; "" if it is. Its file is named by its SHA-256."""
        name = Path(self.zipapp).stem
        if len(name) == 64 and name != self.sha256:
            Path(self.zipapp).unlink()
            return f"the agent's file {name[:12]}… is damaged and has been removed; try again to have it put there anew"
        return ""

    def start(self, idle_exit_s: float | None) -> State:
        """Make sure that a daemon of this very agent serves the store.

        An idle daemon of another version is replaced; one that measures is left alone. Where the service is installed,
        it is what runs.

        Returns:
            `state`: "running" (it was), "started", "busy" (another version measures) or "failed", and `message`.
        """
        BoardStore(self.home).sweep()
        hello = self._hello()
        if hello is None and (silence := self._silence()):
            return {"state": "failed", "message": silence}
        if hello is not None:
            mine = (self.sha256, sys.executable, self.pythonpath, self.runtime)
            if tuple(hello.get(key) for key in ("sha256", "python", "pythonpath", "runtime")) == mine:
                return {"state": "running", "pid": hello.get("pid"), "message": ""}
            refusal = self._stop_other()
            if refusal:
                return {"state": "busy", "message": f"{refusal}, under another agent ({hello.get('version')})"}
        return self._start_new(idle_exit_s)

    def install(self) -> State:
        """Make the daemon a service of the user's systemd and start it as such.

        Returns:
            As `start`, with `service`: False where there is no systemd to look after it, and it was only started;
            `sandboxed`; `at_boot`: "" or why it does not start at boot yet.
        """
        if not Service.available():
            return {**self.start(None), "service": False}
        BoardStore(self.home).sweep()
        try:
            self.service.check_free()
            refusal = self._stop_other()
            if refusal:
                return {"state": "busy", "message": refusal, "service": False}
            before = self.service.installed()
            state: State = {}
            for sandboxed in (True, False):
                self._write_unit(sandboxed)
                state = self._start_new(None)
                if state["state"] != "failed":
                    return {**state, "service": True, "sandboxed": sandboxed, "at_boot": self.service.enable()}
            if not before:
                self.service.remove()
        except (ServiceError, OSError) as error:
            return {"state": "failed", "message": str(error), "service": False}
        return {**state, "service": False}

    def upgrade(self, idle_exit_s: float | None) -> State:
        """As `start`; then the agents of other versions are removed. Returns their number as `removed`, too."""
        state = self.start(idle_exit_s)
        removed = 0
        if state["state"] in ("running", "started"):
            for path in (self.home / "agent").glob("*.pyz"):
                if path.resolve() != Path(self.zipapp).resolve():
                    path.unlink()
                    removed += 1
        return {**state, "removed": removed}

    def stop(self, *, force: bool) -> State:
        """End the daemon, of whatever version and protocol.

        Args:
            force: also while it measures; that run is cancelled.

        Returns:
            `state`: "stopped", "absent" (none ran), "busy" (it measures) or "failed" (it does not answer), and
            `message`.
        """
        if self._ended():
            return {"state": "absent", "message": ""}
        if self._hello() is None and (silence := self._silence()):
            return {"state": "failed", "message": silence}
        refusal = self._stop_other(force=force)
        return {"state": "busy" if refusal else "stopped", "message": refusal}

    def uninstall(self, *, purge: bool) -> State:
        """End the daemon and remove the agent: unit, programs, socket, log, and its lock where no other user's agent
        has that.

        Args:
            purge: the files of bundles, runtimes and runs as well.

        Returns:
            `state`: "removed" or "busy"; `removed`: paths; `left`: bytes by path, of all that stays anywhere.
        """
        refusal = self._stop_other()
        if refusal:
            return {"state": "busy", "message": refusal}
        removed, elsewhere = [], []
        if self.service.installed():
            elsewhere.append(self.service.lingering)
            try:
                self.service.remove()
            except ServiceError as error:
                return {"state": "failed", "message": str(error)}
            removed.append(str(self.service.path))
        names = ["agent", SOCKET, LOG, OLD_LOG, LOCK]
        names += ["objects", "runs", "checks", "runtimes"] if purge else []
        for path in (self.home / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.is_symlink() or path.exists():
                path.unlink()
            else:
                continue
            removed.append(str(path))
        lock = MachineLock()
        if lock.path.exists():
            if lock.remove():
                removed.append(str(lock.path))
            else:
                elsewhere.append(lock.path)
        left = {str(path): _bytes_of(path) for path in sorted(self.home.iterdir())}
        if not left:
            self.home.rmdir()
        left.update({str(path): _bytes_of(path) for path in elsewhere if path.exists()})
        return {"state": "removed", "message": "", "removed": removed, "left": left}

    # -- how ---------------------------------------------------------------------------------------------------------

    def _start_new(self, idle_exit_s: float | None) -> State:
        log = self.home / LOG
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(self.home / OLD_LOG)
        before = log.stat().st_size if log.exists() else 0
        try:
            gone = self._start_service() if self.service.installed() else self._spawn(log, idle_exit_s)
        except ServiceError as error:
            return {"state": "failed", "message": f"the agent's service did not start: {error}"}
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            ended = gone()  # looked at first: it may end just after it has said hello
            hello = self._hello()
            if hello is not None and hello.get("sha256") == self.sha256:
                return {"state": "started", "pid": hello.get("pid"), "message": ""}
            if ended:
                break
            time.sleep(0.02)
        else:
            return {"state": "failed", "message": f"the agent did not answer within {START_DEADLINE_S:g} s"}
        with log.open(errors="replace") as file:
            file.seek(before)
            said = " | ".join(file.read().splitlines()[-3:]) or "it said nothing"
        return {"state": "failed", "message": f"the agent did not start: {said}"}

    def _spawn(self, log: Path, idle_exit_s: float | None) -> Callable[[], bool]:
        """A daemon of its own session; returns what tells whether it has ended."""
        command = self._command()
        if idle_exit_s is not None:
            command += ["--idle-exit", str(idle_exit_s)]
        with log.open("ab") as log_file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True,
                cwd=self.home,
            )  # fmt: skip
        return lambda: process.poll() is not None

    def _start_service(self) -> Callable[[], bool]:
        self._write_unit(self.service.sandboxed())
        self.service.restart()
        return self.service.failed

    def _write_unit(self, sandboxed: bool) -> None:
        self.service.write(self._command(), {"PYTHONPATH": self.pythonpath, RUNTIME: self.runtime}, sandboxed=sandboxed)

    def _command(self) -> list[str]:
        return [sys.executable, self.zipapp, "daemon", "--home", str(self.home)]

    def _hello(self) -> wire.Message | None:
        connection = dial(self.home)
        if connection is None:
            return None
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(HELLO_S)
            try:
                return wire.decode(lines.readline(wire.MAX_LINE_BYTES))
            except (wire.WireError, OSError):  # it is just ending, or no agent at all
                return None

    def _silence(self) -> str:
        """What to do about an agent that holds the socket and has not said hello; "" where none holds it."""
        connection = dial(self.home)
        if connection is None:
            return ""
        with connection:
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return (
            f"the agent that runs there, process {pid}, does not answer within {HELLO_S:g} s; if it stays so, end it "
            f"there: kill -9 {pid}"
        )

    def _stop_other(self, *, force: bool = False) -> str:
        """Ask the daemon that runs to end and wait until it has; "" then, else why it does not."""
        connection = dial(self.home)
        if connection is None:
            return ""
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(START_DEADLINE_S)
            try:
                other = wire.decode(lines.readline(wire.MAX_LINE_BYTES))
                connection.sendall(wire.encode({**wire.hello(__version__), "protocol": other.get("protocol")}))
                connection.sendall(wire.encode({"type": "stop", "force": force}))
                answer = wire.decode(lines.readline(wire.MAX_LINE_BYTES))
            except (wire.WireError, OSError) as error:
                return f"the agent that runs does not answer ({error})"
            if answer["type"] == "error":
                return str(answer.get("message"))
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            if self._ended():
                return ""
            time.sleep(0.05)
        return "the other agent does not end"

    def _ended(self) -> bool:
        """Whether no daemon listens, and none that has ceased to still ends its runs."""
        connection = dial(self.home)
        if connection is not None:
            connection.close()
            return False
        try:
            with (self.home / LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True


def _bytes_of(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
