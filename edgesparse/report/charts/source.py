"""Where a chart takes its rows and its colours from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgesparse.report.charts.style import Style
from edgesparse.report.charts.tables import TABLES, Entry
from edgesparse.report.summary import Comparison


@dataclass(frozen=True)
class Source:
    """A run to draw.

    Attributes:
        comparison: what its samples say.
        style: the colours.
        number: which of several runs in one figure; each has its own parameters.
        inline: whether charts hold their rows, or name the table (of `TABLES`) that a page has once for all of them.
    """

    comparison: Comparison
    style: Style
    inline: bool = True
    number: int = 0

    def data(self, table: str) -> Any:
        """Altair's data for a chart."""
        import altair as alt

        return alt.InlineData(values=self.rows(table), name=table) if self.inline else alt.NamedData(name=table)

    def named(self, parameter: str) -> str:
        """A parameter's name in this run's chart."""
        return f"{parameter}_{self.number}" if self.number else parameter

    def rows(self, table: str) -> list[Entry]:
        """The rows of a table."""
        return TABLES[table](self.comparison)

    @property
    def variants(self) -> list[str]:
        """The names of all variants."""
        return [variant.name for variant in self.comparison.variants]
