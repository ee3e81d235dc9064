"""Many boards in one table: what each made of the same bundle, or why nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from edgesparse.errors import EdgesparseError
from edgesparse.report.export import to_json
from edgesparse.report.summary import Comparison, Row
from edgesparse.report.tables import deployment_dict, kilobytes, new_table

if TYPE_CHECKING:
    from edgesparse.deploy import Deployment
    from edgesparse.fleet import Outcome
    from edgesparse.store import Run


def runs_table(outcomes: Sequence[Outcome[Run]]) -> RenderableType:
    """A row for each board: dense at its best, the fastest sparse variant, how much faster, and the run."""
    numbers = ["dense ms", "sparse ms", "x dense"]
    table = new_table("", "board", "type", *numbers, "fastest sparse", "run", right=numbers)
    for outcome in outcomes:
        board = outcome.board
        if outcome.result is None:
            table.add_row(board.name, board.type.name, "-", "-", "-", "-", "-")
            continue
        comparison = outcome.result.comparison()
        dense, sparse = _fastest(comparison)
        name, row = sparse or ("-", None)
        table.add_row(
            board.name, board.type.name, _ms(dense), _ms(row), _times(row),
            f"{name} under {row.backend}" if row else "no time measured", comparison.run,
        )  # fmt: skip
    return Group(table, *_failures(outcomes))


def runs_dict(outcomes: Sequence[Outcome[Run]]) -> dict[str, Any]:
    """The same as one JSON document, with each board's whole comparison."""
    return {"version": 1, "boards": [{**_head(each), "comparison": _comparison(each)} for each in outcomes]}


def deployments_table(outcomes: Sequence[Outcome[Deployment]]) -> RenderableType:
    """A row for each board: its runtime, what moved, how many cells are ready."""
    table = new_table("", "board", "type", "runtime", "ready", "moved", right=["ready", "moved"])
    for outcome in outcomes:
        board, found = outcome.board, outcome.result
        if found is None:
            table.add_row(board.name, board.type.name, "-", "-", "-")
            continue
        ready = sum(check["status"] == "ok" for check in found.checks)
        table.add_row(
            board.name, board.type.name, f"{found.runtime['name']} {found.runtime['version']}",
            f"{ready} of {len(found.checks)}", kilobytes(found.pushed.moved_bytes),
        )  # fmt: skip
    return Group(table, *_failures(outcomes))


def deployments_dict(outcomes: Sequence[Outcome[Deployment]]) -> dict[str, Any]:
    """The same as one JSON document."""
    rows = [{**_head(each), "deployment": each.result and deployment_dict(each.result)} for each in outcomes]
    return {"version": 1, "boards": rows}


def _fastest(comparison: Comparison) -> tuple[Row | None, tuple[str, Row] | None]:
    timed = [
        (variant.name, row) for variant in comparison.variants for row in variant.backends if row.median_ms is not None
    ]
    dense = [row for name, row in timed if name == comparison.variants[0].name]
    sparse = [(name, row) for name, row in timed if name != comparison.variants[0].name]
    return (
        min(dense, key=lambda row: row.median_ms or 0.0, default=None),
        min(sparse, key=lambda each: each[1].median_ms or 0.0, default=None),
    )


def _ms(row: Row | None) -> str:
    return "-" if row is None or row.median_ms is None else f"{row.median_ms:.3f}"


def _times(row: Row | None) -> str:
    ratio = row.ratio_to_dense if row else None
    return "-" if ratio is None or ratio.value is None else f"{ratio.value:.2f}x"


def _head(outcome: Outcome[Any]) -> dict[str, Any]:
    return {
        "board": outcome.board.name,
        "type": outcome.board.type.name,
        "status": "ok" if outcome.error is None else "failed",
        "reason": outcome.error and _said(outcome.error),
    }


def _comparison(outcome: Outcome[Run]) -> Any:
    return None if outcome.result is None else to_json(outcome.result.comparison())


def _failures(outcomes: Sequence[Outcome[Any]]) -> list[Text]:
    lines = []
    for outcome in outcomes:
        if outcome.error is not None:
            lines.append(Text(f"x {outcome.board.name}: {_said(outcome.error)}", style="red"))
            if isinstance(outcome.error, EdgesparseError) and outcome.error.hint:
                lines.append(Text(f"  {outcome.error.hint}", style="dim"))
    return lines


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, EdgesparseError) else repr(error)
