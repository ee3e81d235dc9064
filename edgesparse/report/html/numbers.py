"""The numbers of every chart as tables, for those who read them, print them or have them read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgesparse.report import export
from edgesparse.report.charts.tables import (
    Entry,
    cells,
    looks,
    moments,
    operators,
    pareto_front,
    readings,
    rounds,
    series_of,
)
from edgesparse.report.html.grid import Grid, Line
from edgesparse.report.summary import Comparison, Row
from edgesparse.report.tables import kilobytes, percent

# Of a line over time a table holds so many moments.
_MOMENTS = 24


def results(comparison: Comparison) -> Grid:
    """Every row with everything, as the terminal has it."""
    heads = ("variant", "backend", "type", "size", "density", "accuracy", *export.VALUE_HEADS[comparison.measured],
             "path", "parity")  # fmt: skip
    lines = [
        Line(
            (variant.name, series_of(comparison, row), variant.precision, kilobytes(variant.bytes),
             percent(variant.density), percent(variant.accuracy), *export.values(comparison, row), export.path(row),
             export.parity(row)),
            variant.name, series_of(comparison, row), _mark(row),
        )
        for variant, row in cells(comparison)
    ]  # fmt: skip
    return Grid(
        "Every variant under every backend", heads, lines, frozenset({0, 1, 2, len(heads) - 2, len(heads) - 1})
    ).without_empty()


def _mark(row: Row) -> str:
    if row.kind:
        return "failed"
    verdict = row.ratio_to_dense.verdict if row.ratio_to_dense else ""
    return verdict if verdict in ("faster", "slower") else ""


def _speedup(comparison: Comparison) -> Grid:
    lines = [
        Line((variant.name, series_of(comparison, row), _number(ratio.value, ".3f"), *_both(ratio.interval, ".3f"),
              ratio.verdict, _number(ratio.p_adjusted, ".2g"), export.path(row)), variant.name,
             series_of(comparison, row), _mark(row))
        for variant, row in cells(comparison)
        if (ratio := row.ratio_to_dense)
    ]  # fmt: skip
    heads = ("variant", "backend", "times as fast as dense", "at least", "at most", "verdict", "p (Holm)", "path")
    return Grid(
        "Times as fast as dense under the same backend, with 95 % intervals", heads, lines, frozenset({0, 1, 5, 7})
    )


def _distributions(comparison: Comparison) -> Grid:
    lines = []
    for variant, row in cells(comparison):
        if row.samples_ms:
            found = np.asarray(row.samples_ms)
            cuts = (*np.percentile(found, (0, 5, 50, 95, 100)),)
            told = (*(f"{each:.4g}" for each in cuts), export.milliseconds(row.p90_ms), export.milliseconds(row.p99_ms))
            name = series_of(comparison, row)
            lines.append(Line((variant.name, name, f"{len(found):,}", str(row.launches), *told), variant.name, name))
    heads = (
        "variant",
        "backend",
        "samples",
        "launches",
        "least ms",
        "5 %",
        "50 %",
        "95 %",
        "greatest ms",
        "p90",
        "p99",
    )
    return Grid("What the samples of each row span; all samples count alike", heads, lines, frozenset({0, 1}))


def _rounds(comparison: Comparison) -> Grid:
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in rounds(comparison):
        found.setdefault((entry["variant"], entry["series"]), []).append(entry)
    most = max((len(each) for each in found.values()), default=0)
    lines = [
        Line(
            (variant, series, *(f"{each['median_ms']:.4g}" for each in some), *[""] * (most - len(some))),
            variant,
            series,
        )
        for (variant, series), some in found.items()
    ]
    heads = ("variant", "backend", *(f"round {number + 1}" for number in range(most)))
    return Grid("Median latency of each launch, ms", heads, lines, frozenset({0, 1}))


def _instructions(comparison: Comparison) -> Grid:
    lines = [
        Line((variant.name, series_of(comparison, row), export.instructions(row), export.of_dense(row)), variant.name,
             series_of(comparison, row))
        for variant, row in cells(comparison)
    ]  # fmt: skip
    heads = ("variant", "backend", "million instructions", "of dense")
    return Grid("Instructions for an inference", heads, lines, frozenset({0, 1}))


def _energy(comparison: Comparison) -> Grid:
    lines = [
        Line(
            (variant.name, series_of(comparison, row), _number(found.mj, ".4g"), *_both(found.interval_mj, ".4g"),
             _number(found.gross_mj, ".4g"), percent(found.of_dense, 0), _number(found.power_w, ".3g"),
             found.status + " (simulated)" * found.simulated, found.scope),
            variant.name, series_of(comparison, row),
        )
        for variant, row in cells(comparison)
        for found in [row.energy]
    ]  # fmt: skip
    heads = (
        "variant",
        "backend",
        "mJ above idle",
        "at least",
        "at most",
        "mJ with idle",
        "of dense",
        "W",
        "status",
        "scope",
    )
    return Grid("Energy of an inference, with 95 % intervals", heads, lines, frozenset({0, 1, 8, 9}))


def _power(comparison: Comparison) -> Grid:
    entries = readings(comparison)
    lines = []
    for channel in dict.fromkeys(each["channel"] for each in entries):
        some = [each for each in entries if each["channel"] == channel]
        lines += [
            Line((channel, f"{each['t_s']:.1f}", f"{each['power_w']:.4g}", f"{each['low']:.4g}", f"{each['high']:.4g}",
                  str(each["readings"])))
            for each in _few(some)
        ]  # fmt: skip
    heads = ("channel", "s", "W", "least", "most", "readings")
    return Grid(f"Power over time; {_MOMENTS} moments of each channel", heads, lines)


def _sustained(comparison: Comparison) -> Grid:
    entries = moments(comparison)
    lines = []
    for series in dict.fromkeys(each["series"] for each in entries):
        some = [each for each in entries if each["series"] == series]
        lines += [
            Line((series, f"{each['t_s']:.0f}", f"{each['median_ms']:.4g}", _number(each["power_w"], ".3g"),
                  _number(each["temperature_c"], ".1f"), _number(each["frequency_mhz"], ".0f")), each["variant"])
            for each in _few(some)
        ]  # fmt: skip
    heads = ("launch", "s", "median ms", "W", "°C", "MHz")
    return Grid(f"Long launches over time; {_MOMENTS} moments of each", heads, lines)


def _accuracy(comparison: Comparison) -> Grid:
    front = pareto_front(comparison)
    known = [(variant, row) for variant, row in cells(comparison) if row.median_ms is not None]
    lines = [
        Line((variant.name, series_of(comparison, row), percent(variant.accuracy), f"{variant.accuracy_samples:,}",
              export.latency(row), "yes" if (variant.name, row.backend, row.threads) in front else ""), variant.name,
             series_of(comparison, row))
        for variant, row in sorted(known, key=lambda each: each[1].median_ms or 0.0)
    ]  # fmt: skip
    heads = ("variant", "backend", "accuracy", "of samples", "median ms [95 %]", "Pareto front")
    return Grid("Accuracy and latency, fastest first", heads, lines, frozenset({0, 1, 5}))


def _size(comparison: Comparison) -> Grid:
    first = comparison.variants[0].bytes if comparison.variants else 1
    lines = [
        Line((each.name, each.precision, each.pattern, percent(each.density), f"{each.bytes:,}",
              f"{each.dense_bytes:,}", percent(each.bytes / first, 0)), each.name)
        for each in comparison.variants
    ]  # fmt: skip
    heads = ("variant", "type", "pattern", "non-zeros", "bytes", "bytes stored dense", "of dense")
    return Grid("Bytes of each variant's file", heads, lines, frozenset({0, 1, 2}))


def _operators(comparison: Comparison) -> Grid:
    lines = [
        Line((each["variant"], each["operator"], each["op"], percent(each["density"], 0), each["kernel"],
              _number(each["sparse_us"], ".1f"), _number(each["dense_us"], ".1f"), each["reason"]), each["variant"],
             mark="" if each["claimed"] else "left")
        for each in operators(comparison)
    ]  # fmt: skip
    heads = ("variant", "operator", "kind", "non-zeros", "kernel", "sparse us", "dense us", "why")
    caption = "What the csr kernels did with each operator; times are predicted by their cost model"
    return Grid(caption, heads, lines, frozenset({0, 1, 2, 4, 7}))


def _conditions(comparison: Comparison) -> Grid:
    lines = [
        Line((f"{each['t_s']:.0f}", _number(each["temperature_c"], ".1f"), _number(each["frequency_mhz"], ".0f"),
              _number(each["other_cpu_percent"], ".0f")))
        for each in _few(looks(comparison))
    ]  # fmt: skip
    return Grid(
        "The board meanwhile", ("s", "hottest zone °C", "fastest core MHz", "CPU by others %"), lines, frozenset()
    )


GRIDS: Mapping[str, Callable[[Comparison], Grid]] = {
    "speedup": _speedup, "instructions": _instructions, "distributions": _distributions, "rounds": _rounds,
    "energy": _energy, "power": _power, "sustained": _sustained, "accuracy": _accuracy, "size": _size,
    "operators": _operators, "conditions": _conditions,
}  # fmt: skip


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _both(interval: tuple[float, float] | None, form: str) -> tuple[str, str]:
    low, high = interval or (None, None)
    return _number(low, form), _number(high, form)


def _few(entries: Sequence[Entry]) -> list[Entry]:
    if len(entries) <= _MOMENTS:
        return list(entries)
    return [entries[round(place)] for place in np.linspace(0, len(entries) - 1, _MOMENTS)]
