"""Figures as files: Vega-Lite charts made with Altair, drawn without a network or a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesparse.errors import UsageError

FORMATS = (".svg", ".png", ".html")


def save_figure(chart: Any, path: Path) -> None:
    """Write an Altair chart as what the file's name ends in: .svg, .png (two pixels to a point) or .html.

    The HTML is one file that holds all the scripts it needs.

    Raises:
        UsageError: another ending.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"Expected a figure's file to end in {', '.join(FORMATS)}, found {path.name}.")
    options: dict[str, dict[str, Any]] = {".png": {"scale_factor": 2}, ".html": {"inline": True}}
    chart.save(str(path), **options.get(path.suffix, {}))


def svg(chart: Any) -> str:
    """An Altair chart as SVG, for a page."""
    import vl_convert

    drawn: str = vl_convert.vegalite_to_svg(chart.to_json())
    return drawn
