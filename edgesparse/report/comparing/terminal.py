"""Two runs on the terminal: the verdict, what was otherwise, a line per cell, what to keep in mind."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edgesparse.report.comparing import words
from edgesparse.report.comparing.compared import RunsCompared
from edgesparse.report.comparing.verdict import NO_LIMIT, Verdict
from edgesparse.report.tables import new_table

# Below so many columns a cell takes a line for its name and one for its numbers.
_WIDE = 100
_STYLES = {"fails": "bold red", "mind": "bold yellow", "good": "bold green"}


class CompareView:
    """Renders two compared runs as wide as there is room for.

    Args:
        compared: what to show.
        verdict: from `gate.judge`.
    """

    def __init__(self, compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> None:
        self.compared, self.verdict = compared, verdict

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        compared = self.compared
        yield Text(words.title(compared), style="bold")
        style = _STYLES[words.mood(compared, self.verdict)]
        if any(cell.outcome in words.BAD for cell in compared.cells):
            style = _STYLES["fails"]
        yield Text(words.headline(compared, self.verdict), style=style)
        if compared.settings:
            settings = new_table("", "what changed", "base", "new")
            for each in compared.settings:
                settings.add_row(Text(each.what), Text(each.base), Text(each.new))
            yield settings
        else:
            yield Text("Nothing changed in files, software, board and conditions.")
        yield self._cells(wide=options.max_width >= _WIDE)
        for line in words.sentences(compared, self.verdict):
            yield Text(f"  {line}", style="dim")
        for line in compared.warnings:
            yield Text(f"! {line}", style="yellow")

    def _cells(self, *, wide: bool) -> Table:
        unit = words.figure_head(self.compared)
        numbers = [f"base {unit}", f"new {unit}", "change"]
        table = new_table("", "cell", *numbers, "", *["besides"] * wide, right=numbers)
        for cell in self.compared.cells:
            style = "red" if cell.outcome in words.BAD else "green" if cell.outcome in words.GOOD else ""
            besides = "; ".join(words.beside(cell))
            name: RenderableType = Text(cell.cell)
            if besides and not wide:
                name = Group(Text(cell.cell), Text(f"  {besides}", style="dim"))
            verdict = Text("noise" if cell.outcome == "no difference" else cell.outcome, style)
            figures = [words.figure(self.compared, side) for side in (cell.base, cell.new)]
            table.add_row(
                name, *map(Text, figures), Text(words.change(cell.change)), verdict, *[Text(besides)] * wide
            )  # fmt: skip
        return table


def render(compared: RunsCompared, verdict: Verdict = NO_LIMIT) -> CompareView:
    """The comparison, ready to print, with what `gate.judge` made of it if there was a limit."""
    return CompareView(compared, verdict)
