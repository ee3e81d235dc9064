"""The charts of a report: Vega-Lite through Altair. What a page draws, a notebook can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgesparse.errors import UsageError
from edgesparse.report.charts import cost, power, speed
from edgesparse.report.charts.source import Source
from edgesparse.report.charts.style import PAPER, WIDTH, config

if TYPE_CHECKING:
    from edgesparse.report.summary import Comparison

__all__ = ["FIGURES", "Source", "figure", "panel"]

# Name -> what it shows.
FIGURES: Mapping[str, str] = {
    "speedup": "times as fast as dense, every variant under every backend, with 95 % intervals",
    "instructions": "instructions for an inference, on an emulated board that counts them",
    "distributions": "every latency, and the median with its interval",
    "rounds": "how far each launch was off the median, in the order of the rounds",
    "energy": "millijoules above idle for an inference, with 95 % intervals",
    "power": "watts of every sensor channel over time",
    "sustained": "latency, power, temperature and clock of launches that went on for minutes",
    "accuracy": "accuracy against latency, with the Pareto front",
    "size": "bytes of every variant's file",
    "operators": "what the csr kernels expect of each operator, sparse and dense",
    "conditions": "temperature, clock and other processes' CPU over time",
}
_DRAW: Mapping[str, Callable[[Source], Any | None]] = {
    "speedup": speed.speedup,
    "instructions": speed.instructions,
    "distributions": speed.distributions,
    "rounds": speed.rounds,
    "energy": power.energy,
    "power": power.power,
    "sustained": power.sustained,
    "accuracy": cost.accuracy,
    "size": cost.size,
    "operators": cost.operators,
    "conditions": power.conditions,
}


def figure(comparisons: Sequence[Comparison], name: str) -> Any:
    """An Altair chart of one run, or of several, one under the other; `.save("figure.svg")` writes it.

    Args:
        comparisons: what runs say (`Run.comparison()`).
        name: one of FIGURES.

    Raises:
        UsageError: there is no figure of this name, or the runs have nothing to draw in it.
    """
    import altair as alt

    _check_name(name)
    drawn = [(each, panel(Source(each, PAPER, number=place), name)) for place, each in enumerate(comparisons)]
    there = [(each, chart) for each, chart in drawn if chart is not None]
    if not there:
        runs = ", ".join(each.run for each in comparisons) or "no run"
        others = [other for other in FIGURES if any(panel(Source(each, PAPER), other) for each in comparisons)]
        raise UsageError(
            f"There is nothing for the figure {name} ({FIGURES[name]}) in {runs}.",
            hint=f"It has: {', '.join(others) or 'none'}.",
        )
    charts = [_sized(chart).properties(title=f"{each.board['name']}: {FIGURES[name]}") for each, chart in there]
    whole = charts[0] if len(charts) == 1 else alt.vconcat(*charts)
    return whole.configure(**config(PAPER))


def panel(source: Source, name: str) -> Any | None:
    """The chart of one run, without a size or configuration; None where the run has nothing for it.

    Raises:
        UsageError: there is no figure of this name.
    """
    _check_name(name)
    return _DRAW[name](source)


def _check_name(name: str) -> None:
    if name not in FIGURES:
        raise UsageError(f"There is no figure {name!r}.", hint=f"There are: {', '.join(FIGURES)}.")


def _sized(chart: Any) -> Any:
    import altair as alt

    if isinstance(chart, alt.VConcatChart):
        sized = chart.copy()
        sized.vconcat = [each.properties(width=WIDTH) for each in chart.vconcat]
        return sized
    return chart.properties(width=WIDTH)
