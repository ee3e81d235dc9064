"""What a CI job fails for: cells that are slower than allowed, that fail, or that are missing."""

from __future__ import annotations

import re

from edgesparse.errors import MeasurementError, SlowerThanAllowed, UsageError
from edgesparse.report.comparing.cells import CellChange
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.words import change

# Those of which a time or a count was held against an earlier one.
_JUDGED = ("faster", "slower", "fewer", "more", "no difference")


def share(text: str) -> float:
    """The share in a limit such as 5% or 0.05.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    found = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= found <= 10 or (match and not match[2] and found >= 1):
        raise UsageError(f"Expected a limit such as 5%, found {text!r}.", hint="Such as --fail-if-slower 5%")
    return found


def broken(compared: RunsCompared, limit: float) -> dict[str, str]:
    """What is not allowed: cell -> why.

    A cell is slower than allowed where it takes more than the limit, and the whole of its interval, which is widened by
    the board's noise floor, and Holm's p-value say that it takes more at all. That the whole interval lie beyond the
    limit is not asked for: with ten launches a regression of just the limit would never be found.

    Args:
        limit: how much more of its latency (of instructions, where these are counted) a cell may take, as a share.
    """
    return {cell.cell: reason for cell in compared.cells if (reason := _reason(cell, limit))}


def undecided(compared: RunsCompared, limit: float) -> list[str]:
    """Cells that take more than the limit as they were measured, and had too few launches to tell."""
    return [
        cell.cell
        for cell in compared.cells
        if cell.outcome == "too few launches" and cell.change and (cell.change.value or 0) > 1 + limit
    ]


def require_not_slower(compared: RunsCompared, limit: float) -> None:
    """Raise where the new run is worse than allowed.

    Raises:
        UsageError: the boards are of different types. SlowerThanAllowed: a cell is slower, fails or is missing.
        MeasurementError: no cell at all could be judged, so that nothing may be concluded.
    """
    if not compared.same_type:
        raise UsageError(
            f"Expected two runs of one type of board, found {compared.base.board.get('type')} and "
            f"{compared.new.board.get('type')}.",
            hint="Hold the new run against an earlier one of its own board.",
        )
    if found := broken(compared, limit):
        first, *others = found.values()
        more = f", and {len(others)} more" if others else ""
        raise SlowerThanAllowed(
            f"Run {compared.new.run} is worse than {compared.base.run}, beyond the {limit * 100:g} % allowed: "
            f"{first}{more}.",
            hint=f"All of it: edgesparse report --compare {compared.base.run} {compared.new.run}",
        )
    if not any(cell.outcome in _JUDGED for cell in compared.cells):
        raise MeasurementError(
            f"Not one of {len(compared.cells)} cells could be judged, so nothing says that it is not slower.",
            hint="Measure the same variants under the same backends, with more --rounds, on a board with a latency.",
        )


def _reason(cell: CellChange, limit: float) -> str:
    if cell.outcome == "missing":
        return f"{cell.cell} is missing"
    if cell.outcome == "fails now" and cell.new:
        return f"{cell.cell} failed, {cell.new.failure}"
    if cell.outcome in ("slower", "more") and cell.change and (cell.change.value or 0) > 1 + limit:
        what = "slower" if cell.outcome == "slower" else "more instructions"
        return f"{cell.cell} {what}, {change(cell.change)}"
    return ""
