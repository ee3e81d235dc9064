"""The words that terminal, Markdown and JUnit share about two runs."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec

from edgesparse import stats
from edgesparse.quantity import NO_LATENCY, millions
from edgesparse.report.comparing.cells import CellChange, Reading, told_energy, worst_first
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import NO_LIMIT, Verdict
from edgesparse.report.export import milliseconds
from edgesparse.report.tables import kilobytes, percent

BAD = ("slower", "more", "fails now", "missing")
GOOD = ("faster", "fewer", "works now")
# Those of which a time or a count was held against an earlier one.
JUDGED = ("faster", "slower", "fewer", "more", "no difference")


def to_json(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> dict[str, Any]:
    """In JSON types: the structs, with the verdict in a sentence, and what the gate says and does not allow."""
    return {
        **msgspec.to_builtins(compared),
        "verdict": headline(compared, verdict),
        "gate": verdict.kind,
        "not_allowed": verdict.not_allowed,
    }


def title(compared: RunsCompared) -> str:
    """Which runs, of what, where."""
    base, new = compared.base, compared.new
    emulated = "emulated " * bool(new.board.get("emulated"))
    boards = dict.fromkeys(
        f"{side.board['name']}, {side.board.get('cpu') or side.board['type']}" for side in (base, new)
    )
    bundles = dict.fromkeys(str(side.bundle.get("name")) for side in (base, new))
    return f"{' and '.join(bundles)} on {emulated}{' and '.join(boards)}: {new.run} against {base.run}"


def mood(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> Literal["fails", "mind", "good"]:
    """Whether the job fails; else whether somebody should look: something is worse, or nothing could be judged."""
    if verdict.fails:
        return "fails"
    outcomes = {cell.outcome for cell in compared.cells}
    looked = outcomes.isdisjoint(BAD) and not verdict.not_counted and not outcomes.isdisjoint((*JUDGED, *GOOD))
    return "good" if looked else "mind"


def headline(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> str:
    """The verdict in a sentence: why a job fails, else what got worse first."""
    if verdict.reason:
        return verdict.reason
    if broken := verdict.not_allowed:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return f"Worse than allowed: {broken[0]}{more}."
    counts = Counter(cell.outcome for cell in compared.cells)
    if not counts:
        return "The runs have no cell."
    parts = [f"{count} {outcome}" for outcome, count in sorted(counts.items(), key=lambda each: _rank(each[0]))]
    worst = next((cell for cell in worst_first(compared.cells) if cell.outcome in ("slower", "more")), None)
    detail = f"; at worst {worst.cell}, {change(worst.change)}" if worst else ""
    said = "Slower" if counts["slower"] else "More instructions" if counts["more"] else ""
    said = said or ("Fails" if counts["fails now"] or counts["missing"] else "")
    said = said or ("Faster" if counts["faster"] else "Fewer instructions" if counts["fewer"] else "")
    said = said or ("No difference shown" if counts["no difference"] else "Nothing could be judged")
    cells = "cell" if len(compared.cells) == 1 else "cells"
    return f"{said}: of {len(compared.cells)} {cells} {', '.join(parts)}{detail}."


def _rank(outcome: str) -> int:
    return BAD.index(outcome) if outcome in BAD else 10 + GOOD.index(outcome) if outcome in GOOD else 20


def change(found: stats.Change | None) -> str:
    """New over base as percent more or less, with its interval; ~ where no difference can be claimed."""
    if found is None or found.value is None:
        return "-"
    interval = f" [{_signed(found.interval[0])}, {_signed(found.interval[1])}]" if found.interval else ""
    mark = {"no difference": " ~", "too few launches": " ?"}.get(found.verdict, "")
    return f"{_signed(found.value)} %{interval}{mark}"


def _signed(ratio: float) -> str:
    share = (ratio - 1) * 100
    return f"{share:+.0f}" if abs(share) >= 100 else f"{share:+.1f}"


def figure(compared: RunsCompared, reading: Reading | None) -> str:
    """What was measured, or why nothing: milliseconds, or millions of instructions."""
    if reading is None:
        return "-"
    if reading.failure:
        return reading.failure.split(":")[0]
    if compared.measured == "latency":
        return milliseconds(reading.median_ms)
    return millions(reading.instructions) if compared.measured == "instructions" else NO_LATENCY


def figure_head(compared: RunsCompared) -> str:
    """The unit of `figure`."""
    return {"latency": "ms", "instructions": "M instr.", "nothing": "latency"}[compared.measured]


def beside(cell: CellChange) -> list[str]:
    """What else changed of a cell: the path, energy, accuracy, size, parity."""
    base, new = cell.base, cell.new
    if base is None or new is None:
        return []
    found = []
    if base.path != new.path and "unknown" not in (base.path, new.path):
        found.append(f"runs {new.path}, was {base.path}")
    verdict = told_energy(cell)
    if verdict in ("more", "less") and cell.energy and cell.energy.change and cell.energy.change.value:
        simulated = "simulated " * new.energy.simulated
        found.append(f"{simulated}energy {_signed(cell.energy.change.value)} %")
    elif cell.energy and cell.energy.reason:
        found.append(f"energy: {cell.energy.reason}")
    if base.accuracy is not None and new.accuracy is not None and base.accuracy != new.accuracy:
        points = f"accuracy {(new.accuracy - base.accuracy) * 100:+.1f} points, {percent(new.accuracy)}"
        found.append(points + ("" if cell.accuracy_told else " ~"))
    if base.bytes != new.bytes:
        found.append(f"size {_signed(new.bytes / base.bytes)} %, {kilobytes(new.bytes)}")
    if base.parity_ok != new.parity_ok and None not in (base.parity_ok, new.parity_ok):
        found.append("outputs match again" if new.parity_ok else "outputs no longer match")
    return found


def sentences(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> list[str]:
    """What the marks mean, every failure in words, and what the gate left out."""
    found = [
        f"{cell} took more than allowed, and had too few launches to tell: it is not counted."
        for cell in verdict.not_counted
    ]
    for cell in compared.cells:
        if cell.outcome == "missing":
            found.append(f"{cell.cell} is missing in the new run.")
        elif cell.new and cell.new.failure:
            also = ", as in the base run" if cell.outcome == "fails in both" else ""
            found.append(f"{cell.cell} failed{also}: {cell.new.failure}.")
    outcomes = {cell.outcome for cell in compared.cells}
    timed = any(cell.change for cell in compared.cells)
    if timed and compared.measured == "latency":
        floor = compared.noise_floor
        widened = f", widened by the board's noise floor, {floor.share:.1%} (run {floor.run})" if floor else ""
        found.append(f"Change: latency of the new run over that of the base, with a 95 % interval{widened}.")
    elif timed:
        found.append("Change: instructions of the new run over those of the base; no proof of another latency.")
    if metered := [cell for cell in compared.cells if cell.energy and cell.energy.change]:
        told = sum(told_energy(cell) in ("more", "less") for cell in metered)
        found.append(f"Energy above idle differs in {told} of the {len(metered)} cells where both runs measured it.")
    if "no difference" in outcomes:
        found.append("~: noise; no difference that these launches could show.")
    if "too few launches" in outcomes:
        found.append("?: too few launches to tell, among so many cells; more --rounds.")
    return found
