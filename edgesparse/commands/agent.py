"""`edgesparse agent`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesparse.commands.options import AsJson, BoardName, Host, NewHostKey, Yes, make_group, reach, require_yes

if TYPE_CHECKING:
    from edgesparse.boards.session import BoardSession

app = make_group("The agent on a board: as a service, started, stopped, looked at.")

_UPGRADE_POLL_S = 5.0


@app.command("install")
def agent_install(
    board: BoardName = "local", host: Host = None, accept_new_host_key: NewHostKey = False, as_json: AsJson = False
) -> None:
    """Make the agent a service of the board's systemd: started at boot, restarted when it dies, in a sandbox."""
    from edgesparse import console

    with _session(board, host, accept_new_host_key) as session:
        state = session.control("install")
    if as_json:
        console.print_json(state)
        return
    if not state["service"]:
        console.say(
            f"{board} has no systemd for its user: the agent runs, and after a reboot the next deploy starts it"
        )
        return
    console.say(f"the agent is a service on {board} and runs")
    if not state["sandboxed"]:
        console.say("its kernel keeps namespaces from users: without the sandbox's view of the file system")
    if state["at_boot"]:
        console.say(
            f"it starts when {board}'s user logs in; for a start at boot: sudo loginctl enable-linger USER "
            f"({state['at_boot']})"
        )


@app.command("start")
def agent_start(
    board: BoardName = "local", host: Host = None, accept_new_host_key: NewHostKey = False, as_json: AsJson = False
) -> None:
    """Make sure that this version's agent runs on the board."""
    from edgesparse import console

    with _session(board, host, accept_new_host_key) as session:
        state = session.control("start")
    console.print_json(state) if as_json else console.say(f"the agent on {board}: {state['state']}")


@app.command("upgrade")
def agent_upgrade(
    board: BoardName = "local",
    host: Host = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the run that is on, or be refused (exit code 4).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the agent on the board by this version's, and remove the programs of others."""
    import time

    from edgesparse import console
    from edgesparse.boards.session import AgentBusy

    with _session(board, host) as session:
        told = ""
        while True:
            try:
                state = session.control("upgrade")
                break
            except AgentBusy as busy:
                if not wait:
                    raise
                if busy.message != told:
                    console.say(f"{busy.message} Waiting.")
                    told = busy.message
                time.sleep(_UPGRADE_POLL_S)
    if as_json:
        console.print_json(state)
    else:
        what = "was this version's already" if state["state"] == "running" else "is this version's now"
        console.say(f"the agent on {board} {what}; older ones removed: {state['removed']}")


@app.command("uninstall")
def agent_uninstall(
    board: BoardName = "local",
    host: Host = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also the bundles' files, runtimes and runs that lie on the board.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End the agent and remove it from the board; says what was removed and what stays."""
    from edgesparse import console

    with _session(board, host) as session:
        if purge:
            require_yes(f"Remove all that edgesparse keeps on {board}, in {session.home}?", yes)
        state = session.control("uninstall", *(["--purge"] if purge else []))
    if as_json:
        console.print_json(state)
        return
    for path in state["removed"]:
        console.say(f"removed {path}")
    for path, size_bytes in state["left"].items():
        console.say(f"stays: {path} ({size_bytes / 1e6:.1f} MB)")


@app.command("status")
def agent_status(board: BoardName = "local", host: Host = None, as_json: AsJson = False) -> None:
    """Who is measured on the board, who waits, and what ended lately."""
    from edgesparse import console
    from edgesparse.report.tables import agent_table

    with _session(board, host, quiet=True) as session:
        status: dict[str, Any] | None = None
        if session.agent_runs():
            session.push_agent()
            with session.link() as link:
                status = link.ask({"type": "status"})
    if as_json:
        console.print_json(status or {"state": "not running"})
    else:
        console.data.print(agent_table(status) if status else f"no agent runs on {board}; a deploy starts it")


@app.command("logs")
def agent_logs(
    board: BoardName = "local",
    host: Host = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=0)] = 50,
) -> None:
    """The last lines of the agent's log, also of one that has ended."""
    with _session(board, host, quiet=True) as session:
        for line in session.agent_log(lines):
            print(line)


@app.command("stop")
def agent_stop(
    board: BoardName = "local",
    host: Host = None,
    force: Annotated[bool, typer.Option("--force", help="Even while it measures; that run is cancelled.")] = False,
) -> None:
    """End the agent on the board, also one of another version."""
    from edgesparse import console

    with _session(board, host) as session:
        ran = session.agent_runs() and session.control("stop", *(["--force"] if force else []))["state"] == "stopped"
    console.say(f"the agent on {board} has ended" if ran else f"no agent runs on {board}")


@contextmanager
def _session(
    board: str, host: str | None, accept_new_host_key: bool = False, *, quiet: bool = False
) -> Iterator[BoardSession]:
    from edgesparse import console
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession

    progress = (lambda text: None) if quiet else console.say
    with BoardSession(resolve(board, host=host), reach(accept_new_host_key), progress) as session:
        yield session
