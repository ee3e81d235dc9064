"""Two runs of one board, the second with what a test wants otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgesparse.store import Record, Run
from tests.report.runs import fill, make_run

Change = Callable[[Record], Record | None]


def same(record: Record) -> Record | None:
    """Nothing is otherwise."""
    return record


def slower(factors: Mapping[str, float]) -> Change:
    """So many times the latencies, by cell."""

    def change(record: Record) -> Record | None:
        if record["type"] == "samples" and record["cell"] in factors:
            return {**record, "latency_ns": [round(ns * factors[record["cell"]]) for ns in record["latency_ns"]]}
        return record

    return change


def without(cell: str) -> Change:
    """No trace of a cell's launches."""
    return lambda record: None if record.get("cell") == cell and record["type"] in ("launch", "samples") else record


def make_pair(
    directory: Path, change: Change = same, *, rounds: int = 8, base: Mapping[str, Any] | None = None, **new: Any
) -> tuple[Run, Run]:
    """A base run, and a new one whose records went through `change`.

    Args:
        base: what `make_run` makes otherwise of the base.
        new: what `fill` or `make_run` (with `make_` before its name) makes otherwise of the new one.
    """
    made = {name.removeprefix("make_"): value for name, value in new.items() if name.startswith("make_")}
    filled = {name: value for name, value in new.items() if not name.startswith("make_")}
    first = fill(make_run(directory, rounds=rounds, **(base or {})), rounds=rounds, seed=1)
    source = fill(make_run(directory, rounds=rounds, **made), rounds=rounds, **{"seed": 2, **filled})
    second = make_run(directory, rounds=rounds, **made)
    kept = [changed for record in source.records() if (changed := change(record)) is not None]
    second.append([{**record, "seq": seq} for seq, record in enumerate(kept, start=1)])
    return Run(first), Run(second)
