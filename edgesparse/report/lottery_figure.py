"""The figure of a lottery: accuracy against the share of zeros, for tickets and controls."""

from __future__ import annotations

from pathlib import Path

from edgesparse.lottery.results import ARMS, Lottery
from edgesparse.report.figures import save_figure

# Okabe and Ito's, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73")


def draw(found: Lottery, path: Path) -> None:
    """Write the figure: the mean over seeds as a line, every seed as a point."""
    import altair

    rows = [
        {"zeros": 100 * row.sparsity, "accuracy": 100 * row.accuracy, "arm": arm, "seed": row.seed}
        for row in found.rows
        for arm in (ARMS if row.round == 0 else (row.arm,))
    ]
    chart = altair.Chart.from_dict({"data": {"values": rows}, "mark": "point"})
    colour = altair.Color(
        "arm:N",
        title="",
        scale=altair.Scale(domain=list(ARMS), range=list(COLOURS)),
        legend=altair.Legend(orient="bottom"),
    )
    across = altair.X("zeros:Q", title="zeros in the pruned layers, %")
    up = altair.Scale(zero=False)
    shape = altair.Shape("arm:N", title="", scale=altair.Scale(domain=list(ARMS)))
    points = chart.mark_point(filled=True, opacity=0.6, size=45).encode(
        x=across, y=altair.Y("accuracy:Q", title="accuracy, % of held-out samples", scale=up), color=colour, shape=shape
    )
    lines = chart.mark_line(strokeWidth=2).encode(x=across, y=altair.Y("mean(accuracy):Q", scale=up), color=colour)
    titled = (lines + points).properties(
        width=520, height=320, title=f"{found.model}, {found.pattern}: {found.seeds} seeds, {found.epochs} epochs"
    )
    save_figure(titled, path)
