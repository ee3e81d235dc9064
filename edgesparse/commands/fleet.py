"""deploy and bench with --boards: many at once, a line each as they go on, one table in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgesparse.commands.options import reach
from edgesparse.errors import EdgesparseError

if TYPE_CHECKING:
    from edgesparse.boards.inventory import Board
    from edgesparse.fleet import Outcome

EXIT_UNEXPECTED = 1


def deploy_all(
    bundle: Path, selection: str, backends: Sequence[str] | None, wait: bool, accept_new_host_key: bool, as_json: bool
) -> None:
    """`edgesparse deploy --boards`."""
    from edgesparse import console, deploy
    from edgesparse.convert.bundle import read_bundle
    from edgesparse.deploy import Deployment
    from edgesparse.fleet import find_boards, on_each
    from edgesparse.report.fleet import deployments_dict, deployments_table

    what, boards, how = read_bundle(bundle), find_boards(selection), reach(accept_new_host_key)
    with console.FleetView([board.name for board in boards]) as view:

        def one(board: Board) -> Deployment:
            deployment = deploy(what, board, backends=backends, wait=wait, progress=view.of(board.name), reach=how)
            deployment.require_parity()
            return deployment

        outcomes = on_each(boards, view.watched(one))
    _show(outcomes, as_json, deployments_dict, deployments_table)


def bench_all(
    bundle: Path, selection: str, accept_new_host_key: bool, as_json: bool, *, rounds: int | None, **options: Any
) -> None:
    """`edgesparse bench --boards`."""
    from edgesparse import bench, console
    from edgesparse.bench import effort
    from edgesparse.convert.bundle import read_bundle
    from edgesparse.fleet import find_boards, on_each
    from edgesparse.report.fleet import runs_dict, runs_table
    from edgesparse.store import Run

    what, boards, how = read_bundle(bundle), find_boards(selection), reach(accept_new_host_key)
    with console.FleetView([board.name for board in boards]) as view:

        def one(board: Board) -> Run:
            fewest, most = effort(board).rounds
            return bench(
                what, board, rounds=(fewest, rounds or most), progress=view.of(board.name),
                on_message=view.messages_of(board.name), reach=how, **options,
            )  # fmt: skip

        outcomes = on_each(boards, view.watched(one))
    _show(outcomes, as_json, runs_dict, runs_table)


def _show(
    outcomes: Sequence[Outcome[Any]],
    as_json: bool,
    to_dict: Callable[[Sequence[Outcome[Any]]], Any],
    to_table: Callable[[Sequence[Outcome[Any]]], Any],
) -> None:
    """All of them, then the exit code: that of the first board that failed."""
    from edgesparse import console

    console.print_json(to_dict(outcomes)) if as_json else console.data.print(to_table(outcomes))
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in failed:
        if not isinstance(error, EdgesparseError):  # nobody expected it: with all that helps to find it
            raise error
    if failed and isinstance(failed[0], EdgesparseError):
        raise typer.Exit(failed[0].exit_code)
