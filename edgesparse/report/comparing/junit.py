"""Two runs for a CI server: a test case for each cell, in the XML of JUnit that Ant wrote and all others read."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from edgesparse.report.comparing import words
from edgesparse.report.comparing.cells import CellChange
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import Verdict

# What is no character of XML 1.0, escaped or not.
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(compared: RunsCompared, verdict: Verdict) -> str:
    """The XML document.

    A cell that is slower than allowed, fails or is missing is a failure; one that cannot be judged is skipped. Where
    the job fails without such a cell, a case named "gate" is an error. `time` is the latency of the new run in seconds,
    for servers that draw it; 0 where there is none.

    Args:
        verdict: from `gate.judge`.
    """
    reasons, new = verdict.broken, compared.new
    root = ElementTree.Element("testsuites")
    total_s = sum(_seconds(cell) for cell in compared.cells)
    skipped = {
        cell.cell: reason for cell in compared.cells if cell.cell not in reasons and (reason := _skipped(cell, verdict))
    }
    suite = ElementTree.SubElement(
        root, "testsuite", id="0", package="edgesparse", name=_plain(words.title(compared)),
        timestamp=new.created.rstrip("Z"), hostname=_plain(str(new.board.get("hostname") or new.board["name"])),
        tests=str(count_cases(compared, verdict)), failures=str(len(reasons)), errors=str(int(bool(verdict.reason))),
        skipped=str(len(skipped)), time=f"{total_s:.9f}",
    )  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"base": compared.base.run, "new": new.run, "allowed": f"{verdict.limit:.3g}", "gate": verdict.kind}
    changed = {f"changed: {each.what}": f"{each.base} -> {each.new}" for each in compared.settings}
    for name, value in {**facts, **changed}.items():
        ElementTree.SubElement(properties, "property", name=_plain(name), value=_plain(value))
    for cell in compared.cells:
        of = f"edgesparse.{new.board['name']}.{cell.backend}"
        case = ElementTree.SubElement(
            suite, "testcase", name=_plain(cell.cell), classname=_plain(of), time=f"{_seconds(cell):.9f}"
        )
        if cell.cell in reasons:
            failure = ElementTree.SubElement(case, "failure", message=_plain(reasons[cell.cell]), type=cell.outcome)
            failure.text = _plain(_details(compared, cell))
        elif cell.cell in skipped:
            ElementTree.SubElement(case, "skipped", message=_plain(skipped[cell.cell]))
    if verdict.reason:
        of = f"edgesparse.{new.board['name']}"
        case = ElementTree.SubElement(suite, "testcase", name="gate", classname=_plain(of), time=f"{0:.9f}")
        error = ElementTree.SubElement(case, "error", message=_plain(verdict.reason), type=verdict.kind)
        error.text = _plain(verdict.hint)
    ElementTree.SubElement(suite, "system-out").text = _plain(
        "\n".join([words.headline(compared, verdict), *words.sentences(compared, verdict), *compared.warnings])
    )
    ElementTree.SubElement(suite, "system-err")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def count_cases(compared: RunsCompared, verdict: Verdict) -> int:
    """How many test cases there are: one for each cell, and one where the job fails without a cell that is worse."""
    return len(compared.cells) + bool(verdict.reason)


def _skipped(cell: CellChange, verdict: Verdict) -> str:
    """Why a cell is neither good nor bad; "" where it is one of them."""
    if verdict.kind == "refused":
        return "not judged: the boards are of different types"
    if cell.outcome == "fails in both" and cell.new:
        return f"failed in the base run as well: {cell.new.failure}"
    return {
        "too few launches": "too few launches to tell",
        "added": "not in the base run: nothing to hold it against",
        "not timed": "the board is emulated and has no latency",
    }.get(cell.outcome, "")


def _details(compared: RunsCompared, cell: CellChange) -> str:
    unit, base, new = words.figure_head(compared), cell.base, cell.new
    figures = f"base {words.figure(compared, base)} {unit}, new {words.figure(compared, new)} {unit}"
    return "\n".join([figures, f"change {words.change(cell.change)}", *words.beside(cell)])


def _seconds(cell: CellChange) -> float:
    return (cell.new.median_ms or 0.0) / 1e3 if cell.new else 0.0


def _plain(text: str) -> str:
    return _NO_XML.sub("�", text)
