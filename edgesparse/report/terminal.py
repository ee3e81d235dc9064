"""A comparison on the terminal: one row per variant and backend, conditions and warnings below."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from edgesparse.report import export
from edgesparse.report.summary import Comparison, Row
from edgesparse.report.tables import kilobytes, new_table, percent

P_COLUMNS_FROM = 110  # columns of terminal from which p90 and p99 fit


class ComparisonView:
    """Renders a comparison as wide as there is room for.

    Args:
        comparison: what to show.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(export.title(self.comparison), style="bold")
        yield self._table(percentiles=options.max_width >= P_COLUMNS_FROM)
        yield Group(*[Text(f"  {line}", style="dim") for line in self._notes()])
        for warning in self.comparison.warnings:
            yield Text(f"! {warning}", style="yellow")

    def _notes(self) -> list[str]:
        return export.notes(self.comparison, export.failures(self.comparison))

    def _table(self, percentiles: bool) -> RenderableType:
        several = len({row.threads for variant in self.comparison.variants for row in variant.backends}) > 1
        extra = ["p90", "p99"] if percentiles else []
        right = ["size", "density", "accuracy", "median ms [95 %]", *extra, "x dense [95 %]"]
        table = new_table("", "variant", "backend", *right, "path", "parity", right=right)
        for variant in self.comparison.variants:
            for number, row in enumerate(variant.backends):
                facts = (variant.name, kilobytes(variant.bytes), percent(variant.density, 0), percent(variant.accuracy))
                name, size, density, accuracy = facts if number == 0 else ("", "", "", "")
                tails = [export.milliseconds(row.p90_ms), export.milliseconds(row.p99_ms)] if percentiles else []
                table.add_row(
                    name, f"{row.backend} x{row.threads}" if several else row.backend, size, density, accuracy,
                    export.latency(row), *tails, _ratio(row), _path(row), _parity(row),
                )  # fmt: skip
        return table


def render(comparison: Comparison) -> ComparisonView:
    """The comparison, ready to print."""
    return ComparisonView(comparison)


def _ratio(row: Row) -> Text:
    verdict = row.ratio_to_dense.verdict if row.ratio_to_dense else ""
    return Text(export.ratio(row), style={"faster": "bold green", "slower": "bold red"}.get(verdict, ""))


def _path(row: Row) -> Text:
    return Text(export.path(row), style="yellow" if row.path["requested"] != row.path["taken"] else "")


def _parity(row: Row) -> Text:
    if row.status != "ok":
        return Text("failed", style="bold red")
    return Text(export.parity(row), style="green")
