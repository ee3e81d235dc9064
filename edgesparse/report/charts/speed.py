"""Charts of latency: against dense, sample by sample, round by round; of instructions on a board that counts these."""

from __future__ import annotations

from typing import Any

from edgesparse.report.charts.source import Source
from edgesparse.report.charts.style import colour, faded, names_axis, picking, value_axis, zooming
from edgesparse.report.charts.tables import all_series

# Of a logarithmic axis of ratios.
_RATIOS = (0.1, 0.125, 0.2, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)
_ROW_PX = 11
# How the chart of all samples shows them.
_AS = ("in ms", "over the median")


def speedup(source: Source) -> Any | None:
    """How many times as fast as dense every variant is under each backend, with 95 % intervals."""
    import altair as alt

    found = [row for row in source.rows("rows") if row["times"] is not None]
    if not found:
        return None
    series, names = all_series(source.comparison), list(dict.fromkeys(row["variant"] for row in found))
    ends = [row[key] for row in found for key in ("times", "low_times", "high_times") if row[key]]
    low, high = min(0.8, *ends) * 0.96, max(1.25, *ends) * 1.04
    axis = alt.Axis(
        title="times as fast as dense, 95 % interval", values=[each for each in _RATIOS if low <= each <= high],
        labelExpr="format(datum.value, '~r') + 'x'",
    )  # fmt: skip
    x = alt.X("times:Q", axis=axis).scale(type="log", domain=[low, high], nice=False)
    y = names_axis("variant", names)
    offset = alt.YOffset("series:N", sort=series).scale(domain=series, paddingOuter=0.35)
    picked = picking(source.named("pick"))
    told = [
        alt.Tooltip("variant:N"), alt.Tooltip("series:N", title="backend"),
        alt.Tooltip("times:Q", title="times as fast as dense", format=".2f"),
        alt.Tooltip("low_times:Q", title="at least", format=".2f"),
        alt.Tooltip("high_times:Q", title="at most", format=".2f"), alt.Tooltip("verdict:N"),
        alt.Tooltip("median_ms:Q", title="median ms", format=".4~r"), alt.Tooltip("path:N"),
    ]  # fmt: skip
    base = alt.Chart().transform_filter("isValid(datum.times)")
    shared: dict[str, Any] = {"y": y, "yOffset": offset, "color": colour(source.style, series), "tooltip": told}
    intervals = base.transform_filter("isValid(datum.low_times)").mark_rule(strokeWidth=2.5, strokeCap="round").encode(
        x=alt.X("low_times:Q", axis=axis).scale(type="log", domain=[low, high], nice=False),
        x2="high_times:Q", opacity=faded(picked, 0.75), **shared,
    )  # fmt: skip
    sure = "datum.verdict === 'faster' || datum.verdict === 'slower'"
    shared |= {"x": x, "opacity": faded(picked)}
    hollow = base.transform_filter(f"!({sure})").mark_point(size=55, strokeWidth=2, fill=source.style.paper)
    filled = base.transform_filter(sure).mark_point(size=62, filled=True)
    one = alt.Chart(alt.InlineData(values=[{"one": 1}], name="one")).mark_rule(color=source.style.ink, strokeWidth=1)
    between = (intervals,) if any(row["low_times"] for row in found) else ()
    return alt.layer(
        one.encode(x="one:Q"), *between, hollow.encode(**shared).add_params(picked), filled.encode(**shared),
        data=source.data("rows"), height=height_of(len(names), len(series)),
    )  # fmt: skip


def distributions(source: Source) -> Any | None:
    """Every latency, a dot each, and the median with its interval."""
    import altair as alt

    found = [row for row in source.rows("rows") if row["median_ms"] is not None]
    if not found:
        return None
    series, names = all_series(source.comparison), list(dict.fromkeys(row["variant"] for row in found))
    y = names_axis("variant", names)
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(title="latency of one inference: ms, or over the row's own median", tickCount=6, format="~r")
    as_ = source.named("latency_as")
    shown = alt.param(
        name=as_, value=_AS[0], bind=alt.binding_radio(options=list(_AS), name="latency "),
    )  # fmt: skip

    def across(field: str, name: str) -> dict[str, str]:
        return {name: f"datum.{field} / ({as_} === '{_AS[0]}' ? 1 : datum.median_ms)"}

    picked = picking(source.named("pick"))
    offset = alt.YOffset("slot:Q").scale(domain=[-0.9, len(series) - 0.1])
    colours = colour(source.style, series)
    dots = (
        alt.Chart()
        .transform_calculate(**across("latency_ms", "at"))
        .mark_circle(size=7)
        .encode(
            x=alt.X("at:Q", axis=axis, scale=scale),
            y=y,
            yOffset=offset,
            color=colours,
            size=alt.Size("count:Q", legend=None).scale(type="sqrt", domain=[1, 50], range=[7, 50], clamp=True),
            opacity=faded(picked, 0.3),
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("series:N", title="backend"),
                alt.Tooltip("latency_ms:Q", title="latency, ms", format=".4~r"),
                alt.Tooltip("count:Q", title="samples here"),
            ],
        )
        .add_params(zooming(source.named("zoom"), "x"), picked)
    )
    told = [
        alt.Tooltip("variant:N"), alt.Tooltip("series:N", title="backend"),
        alt.Tooltip("median_ms:Q", title="median ms", format=".4~r"),
        alt.Tooltip("low_ms:Q", title="at least", format=".4~r"),
        alt.Tooltip("high_ms:Q", title="at most", format=".4~r"),
        alt.Tooltip("p90_ms:Q", title="p90 ms", format=".4~r"), alt.Tooltip("p99_ms:Q", title="p99 ms", format=".4~r"),
        alt.Tooltip("samples:Q"), alt.Tooltip("launches:Q"),
    ]  # fmt: skip
    base = alt.Chart(source.data("rows")).transform_filter("isValid(datum.median_ms)")
    for field in ("median", "low", "high"):
        base = base.transform_calculate(**across(f"{field}_ms", f"{field}_at"))
    shared: dict[str, Any] = {"y": y, "yOffset": offset, "opacity": faded(picked), "tooltip": told}
    known = base.transform_filter("isValid(datum.low_ms)")
    intervals = known.mark_rule(color=source.style.ink, strokeWidth=1.5).encode(
        x=alt.X("low_at:Q", axis=axis, scale=scale), x2="high_at:Q", **shared
    )
    medians = base.mark_tick(color=source.style.ink, thickness=2.5, size=_ROW_PX + 3).encode(
        x=alt.X("median_at:Q", axis=axis, scale=scale), **shared
    )
    height = height_of(len(names), len(series), _ROW_PX + 6)
    layers = (dots, intervals, medians) if any(row["low_ms"] for row in found) else (dots, medians)
    return alt.layer(*layers, data=source.data("samples"), height=height).add_params(shown)


def rounds(source: Source) -> Any | None:
    """How far each launch's median was off the median of them all, in the order of the rounds: drift shows here."""
    import altair as alt

    most = max((row["round"] for row in source.rows("rounds")), default=0)
    if most < 2:
        return None
    series, picked = all_series(source.comparison), picking(source.named("pick"))
    chart = (
        alt.Chart(source.data("rounds"))
        .mark_line(strokeWidth=1.4, point={"size": 22})
        .encode(
            x=alt.X("round:Q", title="round", scale=alt.Scale(domain=[1, most])).axis(
                tickMinStep=1, grid=False, format="d"
            ),
            y=alt.Y("off_percent:Q", axis=value_axis("off the median, %")),
            color=colour(source.style, series),
            detail="variant:N",
            opacity=faded(picked, 0.7),
            tooltip=[
                alt.Tooltip("variant:N"), alt.Tooltip("series:N", title="backend"), alt.Tooltip("round:Q"),
                alt.Tooltip("median_ms:Q", title="median ms", format=".4~r"),
                alt.Tooltip("off_percent:Q", title="off the median, %", format="+.2f"),
            ],
        )
        .add_params(picked, zooming(source.named("zoom"), "y"))
        .properties(height=200)
    )  # fmt: skip
    return chart


def instructions(source: Source) -> Any | None:
    """Millions of instructions for an inference, on an emulated board that counts them: no latency."""
    import altair as alt

    found = [row for row in source.rows("rows") if row["instructions"] is not None]
    if not found:
        return None
    series, names = all_series(source.comparison), list(dict.fromkeys(row["variant"] for row in found))
    picked = picking(source.named("pick"))
    bars = (
        alt.Chart(source.data("rows"))
        .transform_filter("isValid(datum.instructions)")
        .transform_calculate(millions="datum.instructions / 1e6")
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("millions:Q", title="million instructions for an inference (no latency)"),
            y=names_axis("variant", names),
            yOffset=alt.YOffset("series:N", sort=series).scale(domain=series, paddingOuter=0.3, paddingInner=0.15),
            color=colour(source.style, series),
            opacity=faded(picked),
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("series:N", title="backend"),
                alt.Tooltip("millions:Q", title="million instructions", format=".4~r"),
                alt.Tooltip("of_dense:Q", title="of dense", format=".3f"),
            ],
        )
        .add_params(picked)
    )
    return bars.properties(height=height_of(len(names), len(series)))


def height_of(names: int, series: int, row_px: int = _ROW_PX) -> int:
    return max(70, names * max(22, row_px * series + 8))
