"""`edgesparse watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgesparse.commands.options import AsJson, Host, NewHostKey, print_run, reach

if TYPE_CHECKING:
    from edgesparse.boards.session import BoardSession
    from edgesparse.store import RunRecord


def watch(
    run: Annotated[
        str | None, typer.Argument(help="A run's id, or last; the one that goes on on the board where none is given.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="The board it is on; for a run of this host, the run knows it.")
    ] = None,
    host: Host = None,
    accept_new_host_key: NewHostKey = False,
    as_json: AsJson = False,
) -> None:
    """Join a run that goes on, on whatever host it was started. Ctrl-C leaves it alone.

    While a run is watched, its board does not give it up for having been left. What it measured so far is shown at
    once, then every launch as it comes, and the comparison at the end; of a run that has ended, the comparison alone.
    """
    from edgesparse import console
    from edgesparse.boards.inventory import resolve
    from edgesparse.boards.session import BoardSession
    from edgesparse.store import Run, RunRecord, try_to_put_away

    record = None
    if run is not None or board is None:
        record = _find(run or "last", elsewhere=board is not None)
    if record is None or not record.finished:
        known = record.board if record and not board else {}
        where = resolve(board or known["name"], host=host or known.get("address"))
        with BoardSession(where, reach(accept_new_host_key), console.say) as session:
            record = _follow(session, run, record, as_json)
    if record is not None:
        try_to_put_away(record, console.say)  # who started it may be gone
        print_run(Run(RunRecord.load(record.id)), as_json, False, False)


def _find(run: str, *, elsewhere: bool) -> RunRecord | None:
    """The run in this host's store; None where it need not be there, because a board was named."""
    from edgesparse.errors import UsageError
    from edgesparse.store import RunRecord

    try:
        return RunRecord.last() if run == "last" else RunRecord.load(run)
    except UsageError as error:
        if elsewhere:
            return None
        hint = f"{error.hint} A run of another host: edgesparse watch {run} --board BOARD"
        raise UsageError(error.message, hint=hint) from None


def _follow(session: BoardSession, run: str | None, record: RunRecord | None, as_json: bool) -> RunRecord | None:
    """Watch a run to its end. Returns it where it is this host's; shows what was seen where it is not."""
    from edgesparse import console
    from edgesparse.bench import describe
    from edgesparse.live import LEAVES, RunView
    from edgesparse.quantity import quantity_of
    from edgesparse.store import RunRecord
    from edgesparse.store.record import runs_here
    from edgesparse.watching import going_on, watch

    view = RunView(f"watching {session.board.name}", LEAVES)
    if record is None and run is None:
        found = going_on(session)
        console.say(f"{session.board.name} measures {found.run} of {found.owner}")
        run, view.state.left_s = found.run, found.remaining_s
        record = RunRecord.load(run) if run in runs_here() else None
    name = record.id if record else str(run)
    view.state.run, view.quantity = name, quantity_of(record.board if record else describe(session.board))
    if record is not None:
        view.catch_up(name, record.spec, record.records())
    try:
        with view:
            watch(session, name, record=record, on_message=view)
    except KeyboardInterrupt:
        console.say(f"left; the run goes on: edgesparse watch {name} --board {session.board.name}")
        raise
    if record is None:
        console.print_json(view.state.to_dict()) if as_json else console.data.print(view.result())
        console.say(f"it is another host's run, and its comparison is there: edgesparse report {name}")
    return record
