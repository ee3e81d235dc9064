"""Charts of what speed costs: accuracy, bytes; and of what the kernels expect of every operator."""

from __future__ import annotations

from typing import Any, Literal

from edgesparse.report.charts.source import Source
from edgesparse.report.charts.style import colour, faded, names_axis, picking, value_axis, zooming
from edgesparse.report.charts.tables import all_series

_SIDES: tuple[tuple[str, int, Literal["left", "right"]], ...] = (
    ("!datum.right", 7, "left"),
    ("datum.right", -7, "right"),
)


def accuracy(source: Source) -> Any | None:
    """Accuracy against latency, with the rows that no other beats in both: the Pareto front."""
    import altair as alt

    found = [row for row in source.rows("rows") if row["median_ms"] is not None and row["accuracy"] is not None]
    if not found:
        return None
    series, picked = all_series(source.comparison), picking(source.named("pick"))
    scale = alt.Scale(type="log", nice=False, padding=28)
    x = alt.X("median_ms:Q", title="median latency, ms", scale=scale).axis(tickCount=6, format="~r")
    y = alt.Y("accuracy:Q", axis=value_axis("accuracy", format=".1%")).scale(zero=False, padding=18)
    base = alt.Chart().transform_filter("isValid(datum.median_ms) && isValid(datum.accuracy)")
    front = (
        base.transform_filter("datum.front")
        .mark_line(interpolate="step-after", color=source.style.soft, strokeWidth=1.2, strokeDash=[4, 3])
        .encode(x=x, y=y, order="median_ms:Q")
    )
    intervals = base.transform_filter("isValid(datum.low_ms)").mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low_ms:Q", scale=scale), x2="high_ms:Q", y=y, color=colour(source.style, series),
        opacity=faded(picked, 0.6),
    )  # fmt: skip
    points = (
        base.mark_point(filled=True, size=75)
        .encode(
            x=x,
            y=y,
            color=colour(source.style, series),
            shape=alt.Shape("kind:N", title=None).scale(domain=["sparse", "dense"], range=["circle", "square"]),
            opacity=faded(picked, 0.9),
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("series:N", title="backend"),
                alt.Tooltip("median_ms:Q", title="median ms", format=".4~r"),
                alt.Tooltip("accuracy:Q", format=".1%"),
                alt.Tooltip("times:Q", title="times as fast as dense", format=".2f"),
                alt.Tooltip("front:N", title="on the Pareto front"),
            ],
        )
        .add_params(picked, zooming(source.named("zoom"), "x", "y"))
    )
    # A name stands on the side where there is room for it. Each layer has all of the front, so that none is empty.
    of_front = (
        base.transform_joinaggregate(least="min(median_ms)", most="max(median_ms)")
        .transform_filter("datum.front")
        .transform_calculate(right="datum.median_ms * datum.median_ms > datum.least * datum.most")
    )
    names = [
        of_front.transform_calculate(name=f"{which} ? datum.variant : ''")
        .mark_text(dx=dx, dy=-9, align=align, fontSize=10.5, color=source.style.ink)
        .encode(x=x, y=y, text="name:N")
        for which, dx, align in _SIDES
    ]
    between = (intervals,) if any(row["low_ms"] for row in found) else ()
    return alt.layer(front, *between, points, *names, data=source.data("rows"), height=300)


def size(source: Source) -> Any | None:
    """The bytes of every variant's file; the line is what the same weights take stored dense."""
    import altair as alt

    names = source.variants
    told = [
        alt.Tooltip("variant:N"), alt.Tooltip("precision:N", title="type"), alt.Tooltip("pattern:N"),
        alt.Tooltip("kilobytes:Q", title="kB", format=",.1f"),
        alt.Tooltip("dense_kilobytes:Q", title="kB stored dense", format=",.1f"),
        alt.Tooltip("of_dense:Q", title="of the dense model", format=".0%"),
        alt.Tooltip("density:Q", title="non-zeros", format=".0%"),
    ]  # fmt: skip
    y, kinds = names_axis("variant", names), list(dict.fromkeys(row["precision"] for row in source.rows("sizes")))
    bars = alt.Chart().mark_bar(cornerRadiusEnd=2).encode(
        x=alt.X("kilobytes:Q", title="kB"), y=y, color=colour(source.style, kinds, "precision"), tooltip=told
    )  # fmt: skip
    dense = alt.Chart().mark_tick(color=source.style.ink, thickness=2, size=14).encode(
        x=alt.X("dense_kilobytes:Q", title="kB"), y=y, tooltip=told
    )  # fmt: skip
    return alt.layer(bars, dense, data=source.data("sizes"), height=max(60, 22 * len(names)))


def operators(source: Source) -> Any | None:
    """What the kernels of csr expect of each operator of a variant, sparse and dense: microseconds by their cost model;
    an operator that they left to XNNPACK is faint."""
    import altair as alt

    found = [row for row in source.rows("operators") if row["dense_us"] is not None or row["sparse_us"] is not None]
    if not found:
        return None
    variants = list(dict.fromkeys(row["variant"] for row in found))
    first = max(variants, key=lambda name: sum(row["claimed"] for row in found if row["variant"] == name))
    chosen = alt.selection_point(
        name=source.named("operators_of"),
        fields=["variant"],
        value=first,
        bind=alt.binding_select(options=variants, name="variant "),
    )
    longest = max(sum(row["variant"] == name for row in found) for name in variants)
    names = list(dict.fromkeys(row["operator"] for row in found))
    y = names_axis("operator", names, all_of_them=False)
    told = [
        alt.Tooltip("operator:N"), alt.Tooltip("op:N", title="kind"),
        alt.Tooltip("density:Q", title="non-zeros", format=".0%"), alt.Tooltip("kernel:N"),
        alt.Tooltip("sparse_us:Q", title="sparse, us", format=".3~r"),
        alt.Tooltip("dense_us:Q", title="dense, us", format=".3~r"), alt.Tooltip("reason:N"),
    ]  # fmt: skip
    title = "predicted microseconds: bar sparse, line dense"
    most = max(row[key] or 0.0 for row in found for key in ("sparse_us", "dense_us"))
    scale = alt.Scale(domain=[0, most])
    seen = alt.when("datum.claimed").then(alt.value(1)).otherwise(alt.value(0.35))
    base = alt.Chart().transform_filter(chosen)
    bars = base.mark_bar(cornerRadiusEnd=2, color=source.style.series[1]).encode(
        x=alt.X("sparse_us:Q", title=title, scale=scale), y=y, opacity=seen, tooltip=told
    )
    dense = base.mark_tick(color=source.style.ink, thickness=2, size=13).encode(
        x=alt.X("dense_us:Q", title=title, scale=scale), y=y, tooltip=told
    )
    chart = alt.layer(bars, dense, data=source.data("operators"), height=max(60, 20 * longest))
    return chart.add_params(chosen)
