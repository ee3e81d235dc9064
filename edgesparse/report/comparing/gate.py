"""What a CI job fails for: cells that are slower than allowed, that fail, or that are missing."""

from __future__ import annotations

import re

from edgesparse.errors import MeasurementError, SlowerThanAllowed, UsageError
from edgesparse.report.comparing.cells import CellChange
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import Verdict
from edgesparse.report.comparing.words import JUDGED, change


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


def judge(compared: RunsCompared, limit: float | None) -> Verdict:
    """What a CI job makes of two runs; nothing is raised yet, so that it can be shown first.

    Args:
        limit: as `broken` takes it; None where nothing is asked for, so that nothing fails.
    """
    if limit is None:
        return Verdict(kind="no limit", broken=broken(compared, 0.0))
    if not compared.same_type:
        return Verdict(
            kind="refused", limit=limit, hint="Hold the new run against an earlier one of its own board.",
            reason=f"Expected two runs of one type of board, found {compared.base.board.get('type')} and "
            f"{compared.new.board.get('type')}.",
        )  # fmt: skip
    not_counted = undecided(compared, limit)
    if found := broken(compared, limit):
        return Verdict(kind="worse", limit=limit, broken=found, not_counted=not_counted)
    if not any(cell.outcome in JUDGED for cell in compared.cells):
        return Verdict(
            kind="undecided", limit=limit, not_counted=not_counted,
            reason=f"Not one of {len(compared.cells)} cells could be judged, so nothing says that it is not slower.",
            hint="Measure the same variants under the same backends, with more --rounds, on a board with a latency.",
        )  # fmt: skip
    return Verdict(kind="passed", limit=limit, not_counted=not_counted)


def require_passed(compared: RunsCompared, verdict: Verdict) -> None:
    """Raise where the job fails.

    Raises:
        UsageError: the boards are of different types. SlowerThanAllowed: a cell is slower, fails or is missing.
        MeasurementError: no cell at all could be judged, so that nothing may be concluded.
    """
    if verdict.kind == "refused":
        raise UsageError(verdict.reason, hint=verdict.hint)
    if verdict.kind == "worse":
        first, *others = verdict.not_allowed
        more = f", and {len(others)} more" if others else ""
        raise SlowerThanAllowed(
            f"Run {compared.new.run} is worse than {compared.base.run}, beyond the {verdict.limit * 100:g} % allowed: "
            f"{first}{more}.",
            hint=f"All of it: edgesparse report --compare {compared.base.run} {compared.new.run}",
        )
    if verdict.kind == "undecided":
        raise MeasurementError(verdict.reason, hint=verdict.hint)


def require_not_slower(compared: RunsCompared, limit: float) -> None:
    """Judge, and raise where the new run is worse than allowed, as `require_passed` does."""
    require_passed(compared, judge(compared, limit))


def _reason(cell: CellChange, limit: float) -> str:
    if cell.outcome == "missing":
        return f"{cell.cell} is missing"
    if cell.outcome == "fails now" and cell.new:
        return f"{cell.cell} failed, {cell.new.failure}"
    if cell.outcome in ("slower", "more") and cell.change and (cell.change.value or 0) > 1 + limit:
        what = "slower" if cell.outcome == "slower" else "more instructions"
        return f"{cell.cell} {what}, {change(cell.change)}"
    return ""
