"""A sensitivity analysis for people: a table of drops, a figure of accuracies, the recipe that came of it."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from edgesparse.report.tables import new_table, percent
from edgesparse.sensitivity.result import Sensitivity

# More lines than this cannot be told apart; a map of layers by sparsities can.
MOST_LINES = 8
# Okabe and Ito, Color Universal Design, 2008: told apart with any colour vision; and each line has its own mark.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")


def render(result: Sensitivity, recipe_file: str | None = None) -> RenderableType:
    """The drop of each layer at each sparsity, in points; what was left and why; the recipe.

    Args:
        result: what was measured.
        recipe_file: where the recipe lies, if it was written.
    """
    columns = [f"{share:.4g}" for share in (100 * s for s in result.sparsities)]
    right = ["weights", *(f"{column} %" for column in columns), "recipe"]
    title = (
        f"{result.model}, {result.pattern}: points of accuracy lost with one layer pruned, without training; "
        f"{percent(result.accuracy)} of {result.samples} held-out samples before"
    )
    table = new_table(title, "layer", "outputs x inputs", *right, right=right)
    found = result.combination
    for layer in result.layers:
        cells = [_points(point.drop) for point in layer.points] or [""] * len(columns)
        share = found.sparsities.get(layer.name) if found and layer.points else None
        chosen = "" if share is None else f"{100 * share:.4g} %" if share else "dense"
        shape = " x ".join(map(str, layer.shape))
        style = None if layer.points else "dim"
        table.add_row(*map(Text, (layer.name, shape, f"{layer.weights:,}", *cells, chosen)), style=style)
    left = [Text(f"{layer.name} is not measured: {layer.reason}.", "dim") for layer in result.layers if layer.reason]
    one = Text(f"One of {result.samples} samples is {100 / result.samples:.2f} points.", "dim")
    return Group(table, *left, one, _verdict(result, recipe_file))


def _verdict(result: Sensitivity, recipe_file: str | None) -> Text:
    found, allowed = result.combination, f"{100 * result.max_drop:g}"
    if found is None:
        return Text(
            f"No recipe: at none of these sparsities does any layer keep a drop of {allowed} points. "
            "Try lower sparsities, a finer pattern, or a higher drop.",
            "bold",
        )
    text = Text.assemble(
        ("Recipe", "bold"),
        f": {percent(found.sparsity)} zeros in the measured layers, all together, without fine-tuning: "
        f"{percent(found.accuracy, 2)} of {found.samples} held-out samples, {_points(found.drop)} of at most {allowed} "
        f"points lost (the layers' own losses add up to {_points(found.summed_drop)}); "
        f"{found.tried} combinations measured.",
    )
    if recipe_file:
        text.append(f" edgesparse prune MODEL --recipe {recipe_file} carries it out and fine-tunes.")
    return text


def _points(share: float) -> str:
    """Points of accuracy; a gain has a minus, and no -0.00."""
    return f"{100 * share + 0.0:.2f}".replace("-0.00", "0.00")


def figure(result: Sensitivity) -> Any:
    """An Altair chart: a line for each layer, or a map where there are more than can be told apart."""
    measured = [layer for layer in result.layers if layer.points]
    values = [
        {
            "layer": layer.name,
            "sparsity": f"{100 * point.sparsity:.4g} %",
            "share": point.sparsity,
            "accuracy": point.accuracy,
            "drop": 100 * point.drop,
        }
        for layer in measured
        for point in layer.points
    ]
    names = [layer.name for layer in measured]
    return _map(result, values, names) if len(names) > MOST_LINES else _lines(result, values, names)


def _title(result: Sensitivity) -> dict[str, Any]:
    return {
        "text": f"{result.model}: one layer at a time, {result.pattern}",
        "subtitle": f"No fine-tuning; top-1 accuracy of {result.samples} held-out samples",
        "anchor": "start",
    }


def _data(values: list[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.InlineData(values=values)


def _lines(result: Sensitivity, values: list[dict[str, Any]], names: list[str]) -> Any:
    import altair as alt

    start = [{"layer": name, "share": 0.0, "accuracy": result.accuracy} for name in names]
    colour = alt.Color("layer:N", sort=names, title=None).scale(domain=names, range=list(PALETTE[: len(names)]))
    shape = alt.Shape("layer:N", sort=names, title=None).scale(domain=names, range=list(_SHAPES[: len(names)]))
    lowest = min(value["accuracy"] for value in values)
    lines = (
        alt.Chart(_data(start + values))
        .mark_line(point={"filled": True, "size": 55}, strokeWidth=1.8)
        .encode(
            alt.X("share:Q", title="zeros in the layer").axis(format=".0%"),
            alt.Y("accuracy:Q", title="accuracy").axis(format=".0%").scale(domain=[max(0.0, lowest - 0.02), 1.0]),
            colour,
            shape,
        )
    )
    limit = result.accuracy - result.max_drop
    rule = alt.Chart(_data([{"limit": limit}])).mark_rule(strokeDash=[5, 4], color="#555").encode(y="limit:Q")
    name = f"the recipe may lose {100 * result.max_drop:g} points"
    label = (
        alt.Chart(_data([{"limit": limit, "text": name}]))
        .mark_text(align="left", baseline="top", dx=4, dy=4, color="#555")
        .encode(y="limit:Q", text="text:N", x=alt.value(130))
    )
    return (rule + label + lines).properties(width=560, height=320, title=_title(result))


def _map(result: Sensitivity, values: list[dict[str, Any]], names: list[str]) -> Any:
    import altair as alt

    columns = [f"{100 * share:.4g} %" for share in result.sparsities]
    base = alt.Chart(_data(values)).encode(
        alt.X("sparsity:N", sort=columns, title="zeros in the layer").axis(orient="top", labelAngle=0),
        alt.Y("layer:N", sort=names, title=None).axis(labelLimit=300),
    )
    # Beyond twenty points a layer is lost anyway: the colours are for where it matters.
    scale = alt.Scale(scheme="blues", domain=[0, 20], clamp=True)
    cells = base.mark_rect().encode(alt.Color("drop:Q", title="points lost").scale(scale))
    light = alt.when("datum.drop > 11").then(alt.value("white")).otherwise(alt.value("#111"))
    text = base.mark_text(fontSize=10).encode(alt.Text("drop:Q", format=".1f"), color=light)
    size = {"width": 62 * len(columns), "height": 20 * len(names)}
    return (cells + text).properties(**size, title=_title(result))
