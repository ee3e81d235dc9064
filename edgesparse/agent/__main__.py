"""The agent's command line on the board: `python3 AGENT.pyz COMMAND`. The host runs these over its transport.

start      make sure that this agent's daemon runs
install    make it a service of the user's systemd
upgrade    as start, and remove the agents of other versions
stop       end the daemon, of whatever version; with --force also while it measures
uninstall  end it and remove it; with --purge also what was put here for it
daemon     be the daemon (what `start` starts in the background)
connect    join stdin and stdout to the daemon's socket
missing    read names, one a line; print those that the store lacks
worker     be a worker (what the daemon starts)
sensors    read the power sensors; with --watch once a second until stdin ends
examine    say what would spoil a measurement

start, install, upgrade, stop, uninstall, sensors and examine print one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
from pathlib import Path

# The agent is one file that is compiled at every start: each command imports only what it needs.
EXIT_NO_DAEMON = 3


def main(arguments: list[str] | None = None) -> int:
    """Parse and do."""
    parser = argparse.ArgumentParser(
        prog="edgesparse-agent", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "command",
        choices=["start", "install", "upgrade", "stop", "uninstall", "daemon", "connect", "missing", "worker",
                 "sensors", "examine"],
    )  # fmt: skip
    parser.add_argument("--parent", type=int, default=None, help="with worker: the process to end with")
    parser.add_argument("--watch", action="store_true", help="with sensors")
    parser.add_argument("--meter", default="", help="with sensors: a command that prints readings")
    parser.add_argument("--meter-scope", default="wall", help="with sensors: what the meter is put before")
    parser.add_argument("--home", type=Path, default=Path("~/.edgesparse"))
    parser.add_argument("--force", action="store_true", help="with stop")
    parser.add_argument("--purge", action="store_true", help="with uninstall")
    parser.add_argument(
        "--idle-exit", type=float, default=None, help="seconds without work after which the daemon ends"
    )
    options = parser.parse_args(arguments)
    os.umask(0o077)  # all that is written here is its user's alone
    if options.command == "worker":
        from edgesparse.agent import worker

        return worker.main(options.parent)
    if options.command == "sensors":
        from edgesparse.agent import looking

        return looking.main(options.meter, options.meter_scope, watch=options.watch)
    if options.command == "examine":
        from edgesparse.agent.examining import examine

        print(json.dumps({"findings": examine()}))
        return 0
    home = options.home.expanduser().absolute()
    if options.command == "connect":
        return connect(home)
    from edgesparse.agent.control import Control
    from edgesparse.agent.store import BoardStore

    if options.command == "missing":
        names = sys.stdin.read().split()
        print("\n".join(BoardStore(home).missing(names)))
        return 0
    control = Control(home, os.path.abspath(sys.argv[0]))
    damage = control.check_itself()
    if damage:
        print(json.dumps({"state": "failed", "message": damage}))
        return 0
    if options.command == "daemon":
        from edgesparse.agent import daemon
        from edgesparse.agent.runner import default_worker_command

        return daemon.main(home, control.sha256, default_worker_command(control.zipapp), options.idle_exit)
    if options.command == "start":
        state = control.start(options.idle_exit)
    elif options.command == "install":
        state = control.install()
    elif options.command == "upgrade":
        state = control.upgrade(options.idle_exit)
    elif options.command == "stop":
        state = control.stop(force=options.force)
    else:
        state = control.uninstall(purge=options.purge)
    print(json.dumps(state))
    return 0


def connect(home: Path) -> int:
    """Copy stdin to the daemon's socket and the socket to stdout, until either ends."""
    from edgesparse.agent.dialling import SOCKET, dial

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
