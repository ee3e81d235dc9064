"""Two runs as a comment under a pull request: a verdict on top, a table, the rest folded."""

from __future__ import annotations

from collections.abc import Sequence

from edgesparse.report.comparing import words
from edgesparse.report.comparing.cells import CellChange
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import NO_LIMIT, Verdict

# A table longer than this shows what is no noise, and folds the rest.
_LONG = 12
_MARKS = {"fails": "❌", "mind": "⚠️", "good": "✅"}


def to_markdown(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> str:
    """GitHub's Markdown, which GitLab and Gitea read as well.

    Args:
        verdict: from `gate.judge`; with a cross the job fails.
    """
    mark = _MARKS[words.mood(compared, verdict)]
    told = [cell for cell in compared.cells if cell.outcome not in ("no difference", "fails in both")]
    short = len(compared.cells) <= _LONG
    lines = [f"{mark} **{_escaped(words.headline(compared, verdict))}**", "", _escaped(words.title(compared)), ""]
    if shown := compared.cells if short else told:
        lines += [*_table(compared, shown), ""]
    if compared.settings:
        rows = [[each.what, each.base, each.new] for each in compared.settings]
        lines += _folded("What changed in the setting", _rows(["", "base", "new"], rows))
    if not short and len(told) < len(compared.cells):
        lines += _folded(f"All {len(compared.cells)} cells", _table(compared, compared.cells))
    notes = [*words.sentences(compared, verdict), *(f"**Mind:** {text}" for text in compared.warnings)]
    lines += _folded("How to read this", [f"- {_escaped(note)}" for note in notes])
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(compared: RunsCompared, cells: Sequence[CellChange]) -> list[str]:
    unit = words.figure_head(compared)
    rows = [
        [
            cell.cell, words.figure(compared, cell.base), words.figure(compared, cell.new), words.change(cell.change),
            "noise" if cell.outcome == "no difference" else cell.outcome, "; ".join(words.beside(cell)),
        ]
        for cell in cells
    ]  # fmt: skip
    return _rows(["cell", f"base {unit}", f"new {unit}", "change [95 %]", "verdict", "besides"], rows)


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(heads), "|" + " --- |" * len(heads), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _folded(summary: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>", ""]


def _escaped(text: str) -> str:
    """Nothing of it ends a cell, begins a tag, or is taken for strike-through."""
    plain = " ".join(text.split()).replace("<", "&lt;")
    return plain.replace("|", "\\|").replace("~", "\\~")
