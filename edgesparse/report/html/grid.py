"""Tables of a page: words and numbers as they are shown, and what each line belongs to, so that it can be filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from markupsafe import Markup

# Words up to so many letters stay on one line.
_LONG = 34


@dataclass(frozen=True)
class Line:
    """A line of a table; `variant` and `series` where it belongs to one. `mark` is a class of the page's style."""

    cells: Sequence[str]
    variant: str = ""
    series: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: what it holds; read out before it.
        words: the columns that hold words and are aligned left; the others hold numbers.
    """

    caption: str
    heads: Sequence[str]
    lines: Sequence[Line]
    words: frozenset[int] = frozenset({0})

    def kind(self, column: int) -> Markup:
        """The class of a column's cells: words on one line, text that wraps, or numbers, which have none."""
        if column not in self.words:
            return Markup()
        long = any(len(line.cells[column]) > _LONG for line in self.lines)
        return Markup(' class="text"') if long else Markup(' class="word"')

    def without_empty(self) -> Grid:
        """The same without columns of numbers that no line has."""
        kept = [
            place for place in range(len(self.heads))
            if place in self.words or any(line.cells[place] not in ("", "-") for line in self.lines)
        ]  # fmt: skip
        lines = [replace(line, cells=[line.cells[place] for place in kept]) for line in self.lines]
        words = frozenset(number for number, place in enumerate(kept) if place in self.words)
        return Grid(self.caption, [self.heads[place] for place in kept], lines, words)


@dataclass(frozen=True)
class Figure:
    """A chart in a page: `chart` is its name in FIGURES and `grid` the same numbers as a table."""

    run: int
    chart: str
    caption: str
    grid: Grid
    canvas: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Attributes:
        about: how to read it, a sentence or two.
        notes: what there is to say of single runs, or why there is nothing to show.
        grids: tables that are shown open.
    """

    id: str
    title: str
    about: str
    figures: list[Figure] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
