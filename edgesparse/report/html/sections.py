"""The parts of the page, in its order: which charts, which tables, and what there is to say where there is nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from edgesparse.convert.bundle import Layer, Variant
from edgesparse.quantity import NO_LATENCY
from edgesparse.report import export
from edgesparse.report.charts import FIGURES, Source, panel
from edgesparse.report.charts.style import PAGE
from edgesparse.report.html import again, numbers
from edgesparse.report.html.grid import Figure, Grid, Line, Section
from edgesparse.report.summary import Comparison
from edgesparse.report.tables import percent
from edgesparse.store import Record, Run

# Too many marks for a page to hold each as an element.
CANVAS = ("distributions",)


class Sections:
    """The sections of a page, and the charts in them.

    Args:
        runs, comparisons: what is shown.
        labels: what each run is called.
    """

    def __init__(self, runs: Sequence[Run], comparisons: Sequence[Comparison], labels: Sequence[str]) -> None:
        self.runs, self.comparisons, self.labels = runs, comparisons, labels
        # Vega-Lite of every figure, in order.
        self.specs: list[dict[str, Any]] = []

    def all(self) -> list[Section]:
        """Every section but the masks, which are pictures of their own."""
        found = [self._results(), self._speed(), self._latencies(), self._energy()]
        if any(
            row.sustained for comparison in self.comparisons for each in comparison.variants for row in each.backends
        ):
            found.append(self._sustained())
        return [*found, self._accuracy(), self._size(), self._operators(), self._conditions(), self._again()]

    def _figures(self, *names: str) -> list[Figure]:
        """A figure for each run that has something for it."""
        found = []
        for name in names:
            for number, comparison in enumerate(self.comparisons):
                chart = panel(Source(comparison, PAGE, inline=False), name)
                if chart is None:
                    continue
                spec = chart.to_dict(validate=False)
                self.specs.append({key: spec[key] for key in spec if key not in ("$schema", "config", "datasets")})
                caption = FIGURES[name][0].upper() + FIGURES[name][1:]
                found.append(Figure(number, name, caption, numbers.GRIDS[name](comparison), name in CANVAS))
        return found

    def told(self, tell: Callable[[Comparison], Sequence[str]]) -> list[str]:
        """Notes of every run, each under its label where there are several; those that all have, once."""
        found: dict[str, list[str]] = {}
        for label, comparison in zip(self.labels, self.comparisons, strict=True):
            for text in tell(comparison):
                found.setdefault(text, []).append(label)
        alone = len(self.labels) == 1
        return [
            text if alone or len(of) == len(self.labels) else f"{', '.join(of)}: {text}" for text, of in found.items()
        ]

    def _results(self) -> Section:
        def told(comparison: Comparison) -> list[str]:
            return [*export.failures(comparison), *export.sustained(comparison), *export.ranking(comparison)]

        grids = [self._labelled(numbers.results(each), number) for number, each in enumerate(self.comparisons)]
        about = (
            "Median of the launches' medians with its 95 % interval; x dense: the dense variant's latency over this "
            "one's, round by round, above 1 this one is faster; ~ no difference was shown, ? too few launches."
        )
        return Section("results", "Results", about, grids=grids, notes=self.told(told))

    def _labelled(self, grid: Grid, number: int) -> Grid:
        if len(self.labels) == 1:
            return grid
        return Grid(f"{self.labels[number]}: {grid.caption}", grid.heads, grid.lines, grid.words)

    def _speed(self) -> Section:
        about = (
            "Against dense under the same backend, on a logarithmic axis. Right of the line: faster. Filled: a "
            "difference that stands among all comparisons of the run; hollow: none could be shown."
        )
        figures = self._figures("speedup", "instructions")
        notes = self.told(lambda each: [] if each.measured == "latency" else [f"{NO_LATENCY}; instructions at most."])
        return Section("speedup", "Against dense", about, figures, notes=notes or self._nothing(figures))

    def _latencies(self) -> Section:
        about = (
            "Every dot is one inference, warm-up left out and nothing else; the tick is the median with its interval. "
            "Below, how far each launch was off: a slope over the rounds is drift."
        )
        figures = self._figures("distributions", "rounds")
        notes = [*self._nothing(figures), *self.told(export.outlier_notes)]
        return Section("latency", "Latencies", about, figures, notes=notes)

    def _energy(self) -> Section:
        about = (
            "Above what the board takes when idle. Two scopes never compare, and without a sensor nothing is guessed."
        )

        def told(comparison: Comparison) -> list[str]:
            statuses = {
                row.energy.status for variant in comparison.variants for row in variant.backends if not row.kind
            }
            lines = export.energy_notes(comparison)
            if statuses == {"no sensor"}:
                lines.append("Not measured: the board has no power sensor that could be read.")
            elif statuses == {"off"}:
                lines.append("Not measured: the run was asked not to, or the board is emulated.")
            return lines or (["Not measured."] if "measured" not in statuses else [])

        return Section("energy", "Energy and power", about, self._figures("energy", "power"), notes=self.told(told))

    def _sustained(self) -> Section:
        about = "Each launch went on without a pause: latency, power, heat and clock, second by second."
        return Section("sustained", "Under load for minutes", about, self._figures("sustained"),
                       notes=self.told(export.sustained))  # fmt: skip

    def _accuracy(self) -> Section:
        about = "The dashed line is the Pareto front: what no other row beats in latency without being less accurate."
        figures = self._figures("accuracy")
        why = "The accuracy of the variants or their latency is not known, so there is nothing to draw."
        return Section("accuracy", "Accuracy against latency", about, figures, notes=[] if figures else [why])

    def _size(self) -> Section:
        about = "Bytes of the .tflite file; the line is what the same weights take stored dense."
        return Section("size", "Size", about, self._figures("size"))

    def _operators(self) -> Section:
        about = (
            "Every layer with weights as the file stores it, and what the csr kernels made of it on the board. Times "
            "are predicted by the kernels' cost model; what they left ran under XNNPACK."
        )
        grids = [self._labelled(_layers(run.record.manifest.variants, each), number)
                 for number, (run, each) in enumerate(zip(self.runs, self.comparisons, strict=True))]  # fmt: skip
        figures = self._figures("operators")
        notes = self.told(export.kernels_taken)
        return Section("operators", "Operators", about, figures, [each for each in grids if each.lines], notes)

    def _conditions(self) -> Section:
        about = "What the board was like before and after, and meanwhile."
        grids = [self._labelled(_conditions(each), number) for number, each in enumerate(self.comparisons)]
        stopped = self.told(lambda each: [_stopped(each)] if each.stopped else [])
        return Section("conditions", "Conditions", about, self._figures("conditions"), grids, stopped)

    def _again(self) -> Section:
        about = (
            "Everything that is needed to measure the same again: BUNDLE is the directory of the bundle named below."
        )
        grids = [self._labelled(again.facts(run, each), number)
                 for number, (run, each) in enumerate(zip(self.runs, self.comparisons, strict=True))]  # fmt: skip
        return Section("again", "Do it again", about, grids=grids)

    def _nothing(self, figures: Sequence[Figure]) -> list[str]:
        return [] if figures else ["Nothing was timed in " + ("this run." if len(self.runs) == 1 else "these runs.")]


def _stopped(comparison: Comparison) -> str:
    assert comparison.stopped is not None
    return f"Stopped: {comparison.stopped['reason']}; {comparison.stopped['detail']}".rstrip("; ") + "."


def _layers(variants: Sequence[Variant], comparison: Comparison) -> Grid:
    """Every layer of the variants that were measured, with what csr did with it."""
    delegates = {
        variant.name: row.delegate["nodes"]
        for variant in reversed(comparison.variants)
        for row in reversed(variant.backends)
        if row.delegate is not None
    }
    measured = {variant.name for variant in comparison.variants}
    lines = [
        _layer(variant.name, layer, _node_of(layer, delegates.get(variant.name, ())))
        for variant in variants
        if variant.name in measured
        for layer in variant.layers
    ]
    heads = ("variant", "layer", "kind", "outputs first", "pattern", "non-zeros", "bytes", "stored", "csr", "kernel",
             "sparse us", "dense us", "why")  # fmt: skip
    return Grid("Layers with weights", heads, lines, frozenset({0, 1, 2, 4, 7, 8, 9, 12}))


def _layer(variant: str, layer: Layer, node: Record | None) -> Line:
    path, kernel, sparse_us, dense_us, why = "-", "-", "-", "-", layer.reason
    if node is not None:
        path = "sparse" if node["claimed"] else "left to XNNPACK"
        kernel, why = node["kernel"] or "-", "; ".join(filter(None, (layer.reason, node["reason"])))
        sparse_us, dense_us = ("-" if node[key] is None else f"{node[key]:.1f}" for key in ("sparse_us", "dense_us"))
    shape = "x".join(map(str, layer.shape))
    told = (variant, layer.name, layer.op, shape, layer.pattern, percent(layer.density), f"{layer.bytes:,}",
            layer.encoding, path, kernel, sparse_us, dense_us, why)  # fmt: skip
    return Line(told, variant, mark="" if path == "sparse" else "left")


def _node_of(layer: Layer, nodes: Sequence[Record]) -> Record | None:
    """The operator behind a layer, by the name that its output kept; None where it is not sure."""
    found = [node for node in nodes if node["op"] == layer.op and layer.name in re.split("[;/]", node["output"] or "")]
    return found[0] if len(found) == 1 else None


def _conditions(comparison: Comparison) -> Grid:
    states = comparison.conditions
    keys = list(dict.fromkeys(key for state in states.values() for key in state))
    lines = [Line((_spelled(key), *(_state(key, state.get(key)) for state in states.values()))) for key in keys]
    return Grid("The board before and after", ("what", *states), lines, frozenset(range(len(states) + 1)))


def _spelled(key: str) -> str:
    for ending, unit in (("_c", " °C"), ("_mhz", " MHz"), ("_percent", " %"), ("_bytes", "")):
        key = key.removesuffix(ending) + unit if key.endswith(ending) else key
    return key.replace("_", " ")


def _state(key: str, value: Any) -> str:
    if value in (None, [], {}):
        return "none" if key == "throttled" else "unknown"
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return (
        f"{value / 1e9:.1f} GB" if key.endswith("_bytes") else f"{value:g}" if isinstance(value, float) else str(value)
    )
