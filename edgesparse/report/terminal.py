"""A comparison on the terminal: one row per variant and backend, conditions and warnings below."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from edgesparse.quantity import Quantity
from edgesparse.report import export
from edgesparse.report.summary import Comparison, Row
from edgesparse.report.tables import kilobytes, new_table, percent

# The columns of numbers: what was measured, then against dense.
_HEADS: dict[Quantity, list[str]] = {
    "latency": ["median ms", "x dense", "mJ"],
    "instructions": ["instructions (M)", "of dense"],
    "nothing": ["latency"],
}


class ComparisonView:
    """Renders a comparison as wide as there is room for.

    Args:
        comparison: what to show.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison, self._measured = comparison, comparison.measured

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(export.title(self.comparison), style="bold")
        yield self._table(console, options.max_width)
        for line in export.failures(self.comparison):
            yield Text(f"x {line}", style="red")
        if self.comparison.aa:
            yield Text(export.aa_verdict(self.comparison), style="bold")
        for line in export.sustained(self.comparison):
            yield Text(f"  {line}")
        for number, line in enumerate(export.ranking(self.comparison)):
            yield Text(f"  {number}. {line}" if number else line, style="bold" if number < 2 else "")
        for line in export.footnotes(self.comparison):
            yield Text(f"  {line}", style="dim")
        for line in self.comparison.warnings:
            yield Text(f"! {line}", style="yellow")

    def _table(self, console: Console, room: int) -> Table:
        """The widest that fits; a table that does not would be folded by rich in the middle of numbers."""
        for table in (self._wide(tails=True), self._wide(tails=False)):
            if Measurement.get(console, console.options.update(width=1000), table).maximum <= room:
                return table
        return self._narrow()

    def _wide(self, *, tails: bool) -> Table:
        """A line for each row; with the tail percentiles where any is known."""
        rows = [row for variant in self.comparison.variants for row in variant.backends]
        heads = _HEADS[self._measured]
        has_p90 = tails and any(row.p90_ms is not None for row in rows)
        has_p99 = tails and any(row.p99_ms is not None for row in rows)
        numbers = ["size", "density", "acc.", heads[0], *["p90"] * has_p90, *["p99"] * has_p99, *heads[1:]]
        table = new_table("", "variant", "type", "backend", *numbers, "path", "parity", right=numbers)
        for variant in self.comparison.variants:
            sizes = [kilobytes(variant.bytes), percent(variant.density, 0), percent(variant.accuracy)]
            facts = [variant.name, variant.precision, *sizes]
            for row in variant.backends:
                name, kind, size, density, accuracy = map(Text, facts)
                facts = [""] * len(facts)  # said once
                shown = [export.milliseconds(value) for value in (*[row.p90_ms] * has_p90, *[row.p99_ms] * has_p99)]
                table.add_row(
                    name, kind, self._backend(row), size, density, accuracy, self._value(row), *shown,
                    *self._ratio(row), _path(row), _parity(row),
                )  # fmt: skip
        return table

    def _value(self, row: Row) -> Text:
        """What was measured, or that nothing was."""
        return Text(export.latency(row) if self._measured == "latency" else export.values(self.comparison, row)[0])

    def _ratio(self, row: Row) -> list[Text]:
        """Against dense, if there is anything to compare, and energy."""
        if self._measured == "latency":
            return [_ratio(row), Text(export.energy(row), style="yellow" * row.energy.simulated)]
        return [Text(export.of_dense(row))] * (self._measured == "instructions")

    def _narrow(self) -> Table:
        """A few lines for each row: size, density and accuracy under the variant's name, intervals under their values,
        energy under what it belongs to."""
        timed = self._measured == "latency"
        numbers = ["median ms, mJ", "x dense"] if timed else _HEADS[self._measured]
        table = new_table("", "variant", "backend", *numbers, "path", "parity", right=numbers)
        for variant in self.comparison.variants:
            facts = [variant.name, f"{variant.precision}, {kilobytes(variant.bytes)}"]
            more = [f"density {percent(variant.density, 0)}", f"accuracy {percent(variant.accuracy)}"]
            beside = [facts, more] if len(variant.backends) > 1 else [facts + more]
            for number, row in enumerate(variant.backends):
                lines = beside[number] if number < len(beside) else []
                value, against = _folded(self._value(row)), list(map(_folded, self._ratio(row)))
                if timed:
                    value = Text("\n").join([value, _folded(against.pop())])
                table.add_row(
                    Text("\n".join(lines)), self._backend(row), value, *against, _folded(_path(row)), _parity(row),
                )  # fmt: skip
        return table

    def _backend(self, row: Row) -> str:
        several = len({row.threads for variant in self.comparison.variants for row in variant.backends}) > 1
        return f"{row.backend} x{row.threads}" if several else row.backend


def render(comparison: Comparison) -> ComparisonView:
    """The comparison, ready to print."""
    return ComparisonView(comparison)


def _folded(text: Text) -> Text:
    """Interval and path taken on a second line."""
    plain = text.plain.replace(" [", "\n[").replace("→ ", "→\n")
    return Text(plain, style=text.style)


def _ratio(row: Row) -> Text:
    verdict = row.ratio_to_dense.verdict if row.ratio_to_dense else ""
    return Text(export.ratio(row), style={"faster": "bold green", "slower": "bold red"}.get(verdict, ""))


def _path(row: Row) -> Text:
    return Text(export.path(row), style="yellow" if "→" in export.path(row) else "")


def _parity(row: Row) -> Text:
    text = export.parity(row)
    return Text(text, style={"ok": "green", "-": ""}.get(text, "bold red"))
