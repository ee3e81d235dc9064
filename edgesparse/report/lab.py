"""A lab on the terminal: one row for each pattern, the conclusions, where the page is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from edgesparse.lab.result import Lab
from edgesparse.report.tables import new_table, percent


def render(lab: Lab, page: Path) -> RenderableType:
    """The table, what to conclude, the page."""
    backends = list(dict.fromkeys(row.backend for row in lab.dense.backends))
    right = ["regularity", "bytes", "smaller", "pruned", "tuned", *backends]
    table = new_table(
        f"{percent(lab.sparsity, 0)} zeros on {lab.board['name']}, run {lab.run}; {lab.layer}: "
        f"{' x '.join(map(str, lab.shape))}",
        "pattern", "form", *right, right=right,
    )  # fmt: skip
    for each in lab.patterns:
        rows = {row.backend: row for row in each.backends}
        cells = [
            "" if each.regularity is None else f"{each.regularity:.2f}",
            f"{each.own.total_bytes:,}",
            f"{each.own.ratio:.2f}x" if each.own.ratio else "-",
            percent(each.accuracy_pruned) if each.accuracy_pruned is not None else "",
            percent(each.accuracy),
            *(rows[name].shown if name in rows else "-" for name in backends),
        ]
        table.add_row(*map(Text, (each.pattern, each.own_form, *cells)))
    parts: list[RenderableType] = [table]
    for conclusion in lab.conclusions:
        parts += [Text(), Text(conclusion.question, "bold"), *(Text(f"  {answer}") for answer in conclusion.answers)]
    parts += [Text(f"! {warning}", "yellow") for warning in lab.warnings]
    return Group(*parts, Text(), Text.assemble(("The page: ", "bold"), str(page)))
