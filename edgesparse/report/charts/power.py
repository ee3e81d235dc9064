"""Charts of energy and power, and of launches that go on for minutes."""

from __future__ import annotations

from typing import Any

from edgesparse.report.charts.source import Source
from edgesparse.report.charts.speed import height_of
from edgesparse.report.charts.style import colour, faded, names_axis, picking, value_axis, zooming
from edgesparse.report.charts.tables import all_series


def energy(source: Source) -> Any | None:
    """Millijoules above idle for an inference, with 95 % intervals."""
    import altair as alt

    found = [row for row in source.rows("rows") if row["mj"] is not None]
    if not found:
        return None
    series, names = all_series(source.comparison), list(dict.fromkeys(row["variant"] for row in found))
    simulated = any(row.energy.simulated for variant in source.comparison.variants for row in variant.backends)
    title = f"mJ above idle for an inference, 95 % interval{' (SIMULATED)' * simulated}"
    picked = picking(source.named("pick"))
    shared: dict[str, Any] = {
        "y": names_axis("variant", names),
        "yOffset": alt.YOffset("series:N", sort=series).scale(domain=series, paddingOuter=0.35),
        "color": colour(source.style, series),
        "tooltip": [
            alt.Tooltip("variant:N"), alt.Tooltip("series:N", title="backend"),
            alt.Tooltip("mj:Q", title="mJ above idle", format=".3~r"),
            alt.Tooltip("low_mj:Q", title="at least", format=".3~r"),
            alt.Tooltip("high_mj:Q", title="at most", format=".3~r"),
            alt.Tooltip("gross_mj:Q", title="mJ with idle power", format=".3~r"),
            alt.Tooltip("of_dense_mj:Q", title="of dense", format=".0%"),
        ],
    }  # fmt: skip
    base = alt.Chart().transform_filter("isValid(datum.mj)")
    x = alt.X("mj:Q", title=title).scale(zero=True)
    bars = base.mark_bar(cornerRadiusEnd=2).encode(x=x, opacity=faded(picked, 0.55), **shared).add_params(picked)
    intervals = (
        base.transform_filter("isValid(datum.low_mj)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low_mj:Q", title=title), x2="high_mj:Q", opacity=faded(picked), **shared)
    )
    layers = (bars, intervals) if any(row["low_mj"] is not None for row in found) else (bars,)
    return alt.layer(*layers, data=source.data("rows"), height=height_of(len(names), len(series)))


def power(source: Source) -> Any | None:
    """Watts of every sensor channel over the run."""
    import altair as alt

    found = source.rows("readings")
    if not found:
        return None
    channels, picked = list(dict.fromkeys(row["channel"] for row in found)), picking(source.named("pick"), "channel")
    x = alt.X("t_s:Q", title="seconds after the first reading").axis(grid=False)
    y = alt.Y("power_w:Q", axis=value_axis("power, W")).scale(zero=True)
    base = alt.Chart().encode(x=x, color=colour(source.style, channels, "channel"))
    band = base.mark_area().encode(
        y=alt.Y("low:Q", axis=value_axis("power, W")), y2="high:Q", opacity=faded(picked, 0.2)
    )
    lines = (
        base.mark_line(strokeWidth=1.3)
        .encode(
            y=y,
            opacity=faded(picked),
            tooltip=[
                alt.Tooltip("channel:N"),
                alt.Tooltip("t_s:Q", title="s", format=".1f"),
                alt.Tooltip("power_w:Q", title="W", format=".3~r"),
                alt.Tooltip("low:Q", title="least W", format=".3~r"),
                alt.Tooltip("high:Q", title="most W", format=".3~r"),
                alt.Tooltip("readings:Q", title="readings here"),
            ],
        )
        .add_params(picked, zooming(source.named("zoom"), "x"))
    )
    return alt.layer(band, lines, data=source.data("readings"), height=220)


def sustained(source: Source) -> Any | None:
    """Latency, power, temperature and clock of launches that went on for minutes."""
    parts = (
        ("median_ms", "latency, ms"), ("power_w", "power, W"), ("temperature_c", "hottest zone, °C"),
        ("frequency_mhz", "fastest core, MHz"),
    )  # fmt: skip
    found = source.rows("moments")
    series = list(dict.fromkeys(row["series"] for row in found))
    return _over_time(source, "moments", found, parts, series, "seconds after the launch")


def conditions(source: Source) -> Any | None:
    """Heat, clock and what other processes used, while the run went on."""
    parts = (
        ("temperature_c", "hottest zone, °C"), ("frequency_mhz", "fastest core, MHz"),
        ("other_cpu_percent", "CPU by others, %"),
    )  # fmt: skip
    return _over_time(source, "looks", source.rows("looks"), parts, [], "seconds after the first look")


def _over_time(
    source: Source, table: str, found: list[dict[str, Any]], parts: Any, series: list[str], across: str
) -> Any | None:
    """One line chart under the other, for each of the columns that has numbers."""
    import altair as alt

    known = [(field, title) for field, title in parts if any(row[field] is not None for row in found)]
    if not known:
        return None
    charts, picked = [], picking(source.named("pick"))
    for number, (field, title) in enumerate(known):
        last = number == len(known) - 1
        told = [alt.Tooltip("t_s:Q", title="s", format=".1f"), alt.Tooltip(f"{field}:Q", title=title, format=".4~r")]
        chart = (
            alt.Chart(height=120)
            .mark_line(strokeWidth=1.4, color=source.style.series[0], point={"size": 8, "opacity": 0})
            .encode(
                x=alt.X("t_s:Q", title=across if last else None).axis(grid=False, labels=last, ticks=last),
                y=alt.Y(f"{field}:Q", axis=value_axis(title)).scale(zero=False, padding=6),
                tooltip=told,
            )
        )
        if series:
            told.insert(0, alt.Tooltip("series:N", title="launch"))
            chart = chart.encode(color=colour(source.style, series), opacity=faded(picked), tooltip=told)
            chart = chart.add_params(picked) if number == 0 else chart
        charts.append(chart)
    return alt.vconcat(*charts, data=source.data(table), spacing=14).resolve_scale(color="shared")
