"""Tables of a page: words and numbers as they are shown, and what each line belongs to, so that it can be filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


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
