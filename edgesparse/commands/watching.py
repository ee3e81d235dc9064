"""`edgesparse watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgesparse.commands.options import AsJson, Host, NewHostKey, print_run, reach

if TYPE_CHECKING:
    from edgesparse.boards.inventory import Board
    from edgesparse.live import RunView
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
    from edgesparse.boards.inventory import resolve
    from edgesparse.store import Run, RunRecord

    if board is None and run in (None, "last"):
        record: RunRecord | None = RunRecord.last()
    else:
        record = None if run is None else _find(run, elsewhere=board is not None)
    if record is not None and not record.finished:
        where = resolve(board, host=host) if board else resolve(record.board["name"], host=record.board.get("address"))
        _follow(record.id, where, record, accept_new_host_key)
    elif record is None:
        assert board is not None
        record = _join(run, resolve(board, host=host), accept_new_host_key, as_json)
    if record is not None:
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


def _join(run: str | None, board: Board, accept_new_host_key: bool, as_json: bool) -> RunRecord | None:
    """Watch a run by its board. Returns it where it is this host's as well; shows what was seen where it is not."""
    from edgesparse import console
    from edgesparse.boards.session import BoardSession
    from edgesparse.store import RunRecord, list_runs
    from edgesparse.watching import going_on

    left_s = None
    if run is None:
        with BoardSession(board, reach(accept_new_host_key), console.say) as session:
            found = going_on(session)
        run, left_s = found.run, found.remaining_s
        console.say(f"{board.name} measures {run} of {found.owner}")
    record = RunRecord.load(run) if run in list_runs() else None
    view = _follow(run, board, record, accept_new_host_key, left_s)
    if record is None:
        if as_json:
            console.print_json(view.state.to_dict())
        else:
            console.data.print(view.result())
            console.say(f"{run} is another host's run: its comparison is there, edgesparse report {run}")
    return record


def _follow(
    run: str, board: Board, record: RunRecord | None, accept_new_host_key: bool, left_s: float | None = None
) -> RunView:
    from edgesparse import console
    from edgesparse.bench import describe
    from edgesparse.live import LEAVES, RunView
    from edgesparse.quantity import quantity_of
    from edgesparse.watching import watch as watch_run

    view = RunView(f"watching {board.name}", LEAVES)
    view.state.run, view.state.left_s = run, left_s
    view.quantity = quantity_of(record.board if record else describe(board))
    if record is not None:
        view.catch_up(record.id, record.spec, record.records())
    try:
        with view:
            watch_run(
                run, board, record=record, progress=console.say, on_message=view, reach=reach(accept_new_host_key)
            )  # fmt: skip
    except KeyboardInterrupt:
        console.say(f"left; the run goes on: edgesparse watch {run} --board {board.name}")
        raise
    return view
