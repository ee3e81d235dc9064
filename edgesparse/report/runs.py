"""Runs as a list, and the facts of one, as `edgesparse runs` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgesparse.report.tables import kilobytes, new_table

if TYPE_CHECKING:
    from edgesparse.store.asking import Answer
    from edgesparse.store.catalogue import Entry


def runs_table(entries: Sequence[Entry]) -> RenderableType:
    """A line per run, oldest first."""
    if not entries:
        return Text("No runs.")
    table = new_table(
        "", "run", "board", "type", "bundle", "cells", "samples", "status", "kept", right=["cells", "samples"]
    )
    table.title = None
    for entry in entries:
        facts = entry.to_dict()
        samples = "-" if entry.samples is None else f"{entry.samples:,}"
        table.add_row(
            Text(entry.run), *(Text(str(facts[key] or "-")) for key in ("board", "board_type", "bundle")),
            str(facts["cell_count"] or "-"), samples, _status(entry), _kept(entry),
        )  # fmt: skip
    return table


def facts_table(entry: Entry, path: str, files: Sequence[tuple[str, int]]) -> Table:
    """What a run is and where it lies.

    Args:
        entry: the run.
        path: its directory.
        files: names and sizes in bytes.
    """
    facts = entry.to_dict()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    board = f"{facts['board']} ({facts['board_type']}, {facts['transport']})"
    rows = {
        "run": entry.run, "made": f"{entry.created} by {facts['owner']}, edgesparse {facts['edgesparse']}",
        "status": _status(entry).plain, "board": board, "bundle": f"{facts['bundle']} {facts['bundle_id'] or ''}"[:60],
        "kept": f"{_kept(entry)}, {path}",
        "files": ", ".join(f"{name} {kilobytes(size)}" for name, size in files),
    }  # fmt: skip
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def answer_table(answer: Answer) -> RenderableType:
    """The rows of an answer, numbers to the right."""
    columns = [str(name) for name in answer.columns]
    numbers = [
        bool(answer.rows) and all(isinstance(row[place], (int, float, type(None))) for row in answer.rows)
        for place in range(len(columns))
    ]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, number in zip(columns, numbers, strict=True):
        table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _status(entry: Entry) -> Text:
    style = {"finished": "", "unfinished": "yellow"}.get(entry.status, "red")
    return Text(f"{entry.status}: {entry.reason}" if entry.reason else entry.status, style=style)


def _kept(entry: Entry) -> str:
    return "in the store" if entry.where == "store" else "here" if entry.form == "packed" else "here, as a journal"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
