"""How the charts look: colours, type, and the gestures that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# A chart that stands alone is so wide; in a page it takes the room that there is.
WIDTH = 620
# Room for names left of a chart, the same everywhere, so that charts above each other line up.
NAMES_PX = 132
VALUES_PX = 52


@dataclass(frozen=True)
class Style:
    """Colours by what they are for. A page gives the names of its own CSS variables and so changes them at once.

    Attributes:
        series: told apart with any colour vision (Okabe and Ito, 2008), in the order of use.
    """

    ink: str
    soft: str
    line: str
    paper: str
    series: tuple[str, ...]

    def colours(self, count: int) -> list[str]:
        """One for each of so many series."""
        return [self.series[number % len(self.series)] for number in range(count)]


PAPER = Style(
    ink="#1b1f24",
    soft="#57606a",
    line="#d8dde3",
    paper="#ffffff",
    series=("#0072b2", "#c75100", "#008a64", "#b85c92", "#9a7000", "#3d8fc4", "#6b4fa3", "#7a7f86"),
)
PAGE = Style(
    ink="var(--ink)",
    soft="var(--soft)",
    line="var(--line)",
    paper="var(--card)",
    series=tuple(f"var(--series-{number})" for number in range(8)),
)


def config(style: Style) -> dict[str, Any]:
    """Vega-Lite's configuration: no frames, faint grids, the reader's own font."""
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
    small = {"labelColor": style.soft, "titleColor": style.soft, "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": None},
        "axis": {
            **small, "titleFontWeight": "normal", "gridColor": style.line, "domainColor": style.line,
            "tickColor": style.line, "gridWidth": 0.7, "labelLimit": NAMES_PX - 8,
        },
        "legend": {
            **small, "title": None, "orient": "top", "symbolStrokeWidth": 0, "symbolOpacity": 1, "symbolSize": 90,
            "offset": 8,
        },
        "title": {"color": style.ink, "fontSize": 13, "anchor": "start", "fontWeight": 600},
        "text": {"color": style.ink, "fontSize": 11},
    }  # fmt: skip


def colour(style: Style, names: Sequence[str], field: str = "series") -> Any:
    """A colour for each of the names, with a legend where there are several."""
    import altair as alt

    return (
        alt.Color(f"{field}:N", title=None)
        .scale(domain=list(names), range=style.colours(len(names)))
        .legend(alt.Legend() if len(names) > 1 else None)
    )


def names_axis(field: str, names: Sequence[str], *, all_of_them: bool = True) -> Any:
    """Names from top to bottom, with the same room everywhere; those alone that are there where not `all_of_them`."""
    import altair as alt

    axis = alt.Axis(
        title=None, minExtent=NAMES_PX, maxExtent=NAMES_PX, ticks=False, domain=False, grid=False, labelPadding=8
    )
    across = alt.Y(f"{field}:N", sort=list(names), axis=axis)
    return across.scale(domain=list(names)) if all_of_them else across


def value_axis(title: str, **more: Any) -> Any:
    """An axis of numbers up the side, as wide everywhere."""
    import altair as alt

    return alt.Axis(title=title, minExtent=VALUES_PX, maxExtent=VALUES_PX, tickCount=4, **more)


def picking(name: str, field: str = "series") -> Any:
    """Singles out what is clicked in the legend; with Shift several."""
    import altair as alt

    return alt.selection_point(name=name, fields=[field], bind="legend")


def zooming(name: str, *encodings: Literal["x", "y"]) -> Any:
    """Shift and the wheel zoom, dragging with a mouse moves, a double click puts it back: a page still scrolls."""
    import altair as alt

    mouse = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!"
    return alt.selection_interval(
        name=name, bind="scales", encodings=list(encodings), zoom="wheel![event.shiftKey]", translate=mouse
    )


def faded(picked: Any, opacity: float = 1.0) -> Any:
    """Full where picked, else nearly gone."""
    import altair as alt

    return alt.when(picked).then(alt.value(opacity)).otherwise(alt.value(0.06))
