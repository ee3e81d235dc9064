"""The lab's page: one HTML file that holds all it shows, without scripts; for phones, paper, and screens light and
dark."""

from __future__ import annotations

import math
from typing import Any

from edgesparse.lab.conclusions import conclude
from edgesparse.lab.result import Lab, Measured, PatternResult
from edgesparse.report.masks import mask_path
from edgesparse.report.tables import percent

# In units of the drawing, which phones show nearly one to one.
_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 370, 24, 88, 62, 20


def render(lab: Lab) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgesparse.lab", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "bytes": _bytes, "times": _times}
    page: str = environment.get_template("page.html.jinja").render(
        lab=lab,
        conclusions=lab.conclusions or conclude(lab),
        backends=list(dict.fromkeys(row.backend for row in lab.dense.backends)),
        mask_path=mask_path,
        row_of=_row_of,
        reasons=_reasons(lab),
        ratio_chart=ratio_chart if lab.quantity == "latency" else None,
        cpu=lab.board.get("cpu") or lab.board.get("type", ""),
        shape=" x ".join(map(str, lab.shape)),
        weights=math.prod(lab.shape),
        form_names=[form.form for form in lab.dense.forms],
    )
    return page.replace(" %", "\u00a0%")  # no line ends between a number and its sign


def ratio_chart(lab: Lab, backend: str) -> dict[str, Any]:
    """Where marks go in the drawing of dense over each pattern, with intervals, on a logarithmic axis."""
    rows = [(each, row) for each in lab.pruned if (row := _row_of(each, backend)) is not None and row.ratio is not None]
    ends = [end for _, row in rows for end in (row.ratio_interval or (row.ratio, row.ratio)) if end]
    low, high = min([0.8, *ends]), max([1.25, *ends])

    def x(ratio: float) -> float:
        share = math.log(ratio / low) / math.log(high / low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    ticks = [tick for tick in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0) if low <= tick <= high]
    marks = []
    for number, (each, row) in enumerate(rows):
        assert row.ratio is not None
        first, last = row.ratio_interval or (row.ratio, row.ratio)
        marks.append(
            {
                "name": each.pattern,
                "y": _TOP + _ROW * number + _ROW / 2,
                "x": x(row.ratio),
                "first": x(first),
                "last": x(last),
                "text": _times(row.ratio),
                "verdict": row.verdict,
            }
        )
    return {
        "width": _WIDTH,
        "height": _TOP + _ROW * len(rows) + 24,
        "bottom": _TOP + _ROW * len(rows),
        "one": x(1.0),
        "ticks": [{"x": x(tick), "text": f"{tick:g}x"} for tick in ticks],
        "marks": marks,
        "summary": ", ".join(f"{mark['name']} {mark['text']}" for mark in marks),
    }


def _reasons(lab: Lab) -> list[tuple[str, list[str], str]]:
    """Backend, patterns and what happened to them, those with the same reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for backend in dict.fromkeys(row.backend for row in lab.dense.backends):
        for each in lab.pruned:
            row = _row_of(each, backend)
            if row is not None:
                found.setdefault((backend, row.why), []).append(each.pattern)
    return [(backend, patterns, why) for (backend, why), patterns in found.items()]


def _row_of(pattern: PatternResult, backend: str) -> Measured | None:
    return next((row for row in pattern.backends if row.backend == backend), None)


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count:,}".replace(",", "\u202f")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
