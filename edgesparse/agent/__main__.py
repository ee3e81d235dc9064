"""The agent's command line on the board: `python3 AGENT.pyz COMMAND`. The host runs these over its transport.

start    make sure that this agent's daemon runs; prints one JSON object
daemon   be the daemon (what `start` starts in the background)
connect  join stdin and stdout to the daemon's socket
missing  read names, one a line; print those that the store lacks
worker   be a worker (what the daemon starts)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from edgesparse import __version__, wire
from edgesparse.agent.store import LOG, SOCKET, BoardStore

START_DEADLINE_S = 20.0
LOG_LIMIT_BYTES = 1_000_000
EXIT_NO_DAEMON = 3


def main(arguments: list[str] | None = None) -> int:
    """Parse and do."""
    parser = argparse.ArgumentParser(prog="edgesparse-agent", description=__doc__)
    parser.add_argument("command", choices=["start", "daemon", "connect", "missing", "worker"])
    parser.add_argument("--home", type=Path, default=Path("~/.edgesparse"))
    parser.add_argument(
        "--idle-exit", type=float, default=None, help="seconds without work after which the daemon ends"
    )
    options = parser.parse_args(arguments)
    if options.command == "worker":
        from edgesparse.agent import worker

        return worker.main()
    home = options.home.expanduser().absolute()
    if options.command == "connect":
        return connect(home)
    if options.command == "missing":
        names = sys.stdin.read().split()
        print("\n".join(BoardStore(home).missing(names)))
        return 0
    zipapp = os.path.abspath(sys.argv[0])
    sha256 = hashlib.sha256(Path(zipapp).read_bytes()).hexdigest()
    if options.command == "daemon":
        from edgesparse.agent import daemon
        from edgesparse.agent.runner import default_worker_command

        return daemon.main(home, sha256, default_worker_command(zipapp), options.idle_exit)
    print(json.dumps(start(home, zipapp, sha256, options.idle_exit)))
    return 0


def dial(home: Path) -> socket.socket | None:
    """A connection to the daemon's socket; None when nobody listens. Changes the working directory to the store."""
    if not home.is_dir():
        return None
    os.chdir(home)  # the socket's name is relative, so that the length of the path never matters
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(SOCKET)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def start(home: Path, zipapp: str, sha256: str, idle_exit_s: float | None) -> dict[str, object]:
    """Make sure that a daemon of this very agent, with this Python and PYTHONPATH, serves the store.

    An idle daemon of another version is replaced; one that measures is left alone.

    Returns:
        `state`: "running" (it was), "started", "busy" (another version measures) or "failed", and `message`.
    """
    BoardStore(home)
    hello = _hello(home)
    if hello is not None:
        mine = (sha256, sys.executable, os.environ.get("PYTHONPATH", ""))
        if (hello.get("sha256"), hello.get("python"), hello.get("pythonpath")) == mine:
            return {"state": "running", "pid": hello.get("pid"), "message": ""}
        refusal = _stop_other(home)
        if refusal:
            return {"state": "busy", "message": f"{refusal}, under another agent ({hello.get('version')})"}
    log = home / LOG
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old.log"))
    command = [sys.executable, zipapp, "daemon", "--home", str(home)]
    if idle_exit_s is not None:
        command += ["--idle-exit", str(idle_exit_s)]
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True, cwd=home
        )
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        hello = _hello(home)
        if hello is not None and hello.get("sha256") == sha256:
            return {"state": "started", "pid": hello.get("pid"), "message": ""}
        time.sleep(0.02)
    tail = log.read_text(errors="replace").splitlines()[-3:]
    return {"state": "failed", "message": "the agent did not start: " + " | ".join(tail)}


def _hello(home: Path) -> wire.Message | None:
    connection = dial(home)
    if connection is None:
        return None
    with connection, connection.makefile("rb") as lines:
        connection.settimeout(5)
        try:
            return wire.decode(lines.readline(wire.MAX_LINE_BYTES))
        except (wire.WireError, OSError):  # it is just ending, or no agent at all
            return None


def _stop_other(home: Path) -> str:
    """Ask the daemon that runs to end and wait until it has; "" then, else why it does not."""
    connection = dial(home)
    if connection is None:
        return ""
    with connection, connection.makefile("rb") as lines:
        connection.settimeout(START_DEADLINE_S)
        other = wire.decode(lines.readline(wire.MAX_LINE_BYTES))
        connection.sendall(wire.encode({**wire.hello(__version__), "protocol": other.get("protocol")}))
        connection.sendall(wire.encode({"type": "stop", "force": False}))
        answer = wire.decode(lines.readline(wire.MAX_LINE_BYTES))
        if answer["type"] == "error":
            return str(answer.get("message"))
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        connection = dial(home)
        if connection is None:
            return ""
        connection.close()
        time.sleep(0.05)
    return "the other agent does not end"


def connect(home: Path) -> int:
    """Copy stdin to the daemon's socket and the socket to stdout, until either ends."""
    connection = dial(home)
    if connection is None:
        print(f"no agent listens on {home / SOCKET}", file=sys.stderr)
        return EXIT_NO_DAEMON

    def upstream() -> None:
        while data := os.read(0, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=upstream, daemon=True).start()
    while data := connection.recv(65536):
        while data:
            data = data[os.write(1, data) :]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
