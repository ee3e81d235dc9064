"""What a chart draws, as tables: lists of flat rows, one list for each kind of thing that a run knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from edgesparse.convert.bundle import DENSE
from edgesparse.report import export
from edgesparse.report.power import SensorReadings
from edgesparse.report.summary import Comparison, Row, VariantSummary

Entry = dict[str, Any]

# A line over time has no more points than a screen can show; each is the mean of its share of the readings.
MOST_POINTS = 600
# How far beside their line dots are drawn, in turns: multiples of the golden ratio, which never bunch.
JITTER = [round(0.7 * ((number * 0.618034) % 1 - 0.5), 3) for number in range(89)]


def series_of(comparison: Comparison, row: Row) -> str:
    """What a row is called in a legend: its backend, with its threads where there are several numbers of them."""
    several = len({each.threads for variant in comparison.variants for each in variant.backends}) > 1
    return f"{row.backend}, {row.threads} thread{'s' * (row.threads > 1)}" if several else row.backend


def all_series(comparison: Comparison) -> list[str]:
    """Every series, in the run's order."""
    return list(dict.fromkeys(series_of(comparison, row) for _, row in cells(comparison)))


def cells(comparison: Comparison) -> Iterator[tuple[VariantSummary, Row]]:
    """Every variant under every backend."""
    return ((variant, row) for variant in comparison.variants for row in variant.backends)


def rows(comparison: Comparison) -> list[Entry]:
    """A row for each variant, backend and number of threads. Numbers keep six digits; None where there are none."""
    front, series = pareto_front(comparison), all_series(comparison)
    return [
        {
            "variant": variant.name,
            "pattern": variant.pattern,
            "precision": variant.precision,
            "kind": "dense" if variant.pattern == DENSE else "sparse",
            "series": series_of(comparison, row),
            "slot": series.index(series_of(comparison, row)),
            "backend": row.backend,
            "threads": row.threads,
            "density": digits(variant.density),
            "accuracy": digits(variant.accuracy),
            "path": export.path(row),
            "status": row.kind or "ok",
            "launches": row.launches,
            "samples": row.count,
            "median_ms": digits(row.median_ms),
            **_ends("_ms", row.interval_ms),
            "p90_ms": digits(row.p90_ms),
            "p99_ms": digits(row.p99_ms),
            "times": digits(row.ratio_to_dense.value if row.ratio_to_dense else None),
            **_ends("_times", row.ratio_to_dense.interval if row.ratio_to_dense else None),
            "verdict": row.ratio_to_dense.verdict if row.ratio_to_dense else None,
            "mj": digits(row.energy.mj),
            **_ends("_mj", row.energy.interval_mj),
            "gross_mj": digits(row.energy.gross_mj),
            "of_dense_mj": digits(row.energy.of_dense),
            "instructions": digits(row.instructions.per_inference if row.instructions else None),
            "of_dense": digits(row.instructions.of_dense if row.instructions else None),
            "front": (variant.name, row.backend, row.threads) in front,
        }
        for variant, row in cells(comparison)
    ]


def pareto_front(comparison: Comparison) -> set[tuple[str, str, int]]:
    """The rows that no other beats in latency without losing accuracy: (variant, backend, threads)."""
    known = [
        (row.median_ms, -variant.accuracy, (variant.name, row.backend, row.threads))
        for variant, row in cells(comparison)
        if row.median_ms is not None and variant.accuracy is not None
    ]
    front: set[tuple[str, str, int]] = set()
    best = 1.0
    for _, lost, cell in sorted(known):
        if lost < best:
            best = lost
            front.add(cell)
    return front


def sizes(comparison: Comparison) -> list[Entry]:
    """What each variant's file takes, and what its weights would take stored dense."""
    return [
        {
            "variant": variant.name, "precision": variant.precision, "pattern": variant.pattern,
            "kilobytes": variant.bytes / 1e3, "dense_kilobytes": variant.dense_bytes / 1e3,
            "of_dense": digits(variant.bytes / comparison.variants[0].bytes), "density": digits(variant.density),
        }
        for variant in comparison.variants
    ]  # fmt: skip


def samples(comparison: Comparison) -> list[Entry]:
    """Every latency that was measured, without warm-up, and the median of its row. `slot` is the place of the series,
    and so much beside it that dots do not hide each other."""
    series = all_series(comparison)
    return [
        {"variant": variant.name, "series": name, "slot": series.index(name) + JITTER[number % len(JITTER)],
         "latency_ms": latency_ms, "median_ms": row.median_ms, "count": 1}
        for variant, row in cells(comparison)
        for name in [series_of(comparison, row)]
        for number, latency_ms in enumerate(row.samples_ms)
    ]  # fmt: skip


def rounds(comparison: Comparison) -> list[Entry]:
    """The median of every launch, in the order of the rounds, and how far it is off the row's own median."""
    return [
        {
            "variant": variant.name, "series": series_of(comparison, row), "round": number + 1,
            "median_ms": digits(median_ms), "off_percent": digits(100 * (median_ms / row.median_ms - 1)),
        }
        for variant, row in cells(comparison)
        if row.median_ms
        for number, median_ms in enumerate(row.launch_medians_ms)
    ]  # fmt: skip


def readings(comparison: Comparison) -> list[Entry]:
    """Watts of every channel, seconds after the first reading; `low` and `high` are the extremes of what a point is
    the mean of."""
    begin_ns = min((each.t_ns[0] for each in comparison.sensors if each.t_ns), default=0)
    return [
        {"channel": channel_of(each), "t_s": digits(t_s), "power_w": digits(mean), "low": digits(low),
         "high": digits(high), "readings": count}
        for each in comparison.sensors
        for t_s, mean, low, high, count in _thinned(*_watts(each, begin_ns))
    ]  # fmt: skip


def channel_of(readings_: SensorReadings) -> str:
    """A channel's name, with its scope."""
    return f"{readings_.channel} ({readings_.scope}{', simulated' * readings_.simulated})"


def moments(comparison: Comparison) -> list[Entry]:
    """Sustained launches, slice by slice."""
    return [
        {
            "variant": variant.name, "series": f"{variant.name}, {series_of(comparison, row)}", "t_s": digits(each.t_s),
            "median_ms": digits(each.median_ms), "power_w": digits(each.power_w),
            "temperature_c": digits(each.temperature_c), "frequency_mhz": digits(each.frequency_mhz),
        }
        for variant, row in cells(comparison)
        if row.sustained
        for each in _few(row.sustained.moments)
    ]  # fmt: skip


def looks(comparison: Comparison) -> list[Entry]:
    """What the board was like meanwhile, look by look: the hottest zone, the fastest core, other processes' share."""
    during = comparison.conditions_during
    begin_ns = during[0]["t_ns"] if during else 0
    return [
        {
            "t_s": digits((look["t_ns"] - begin_ns) / 1e9),
            "temperature_c": max((look.get("temperature_c") or {}).values(), default=None),
            "frequency_mhz": max(look.get("frequency_mhz") or [], default=None),
            "other_cpu_percent": look.get("other_cpu_percent"),
        }
        for look in _few(during)
    ]


def operators(comparison: Comparison) -> list[Entry]:
    """What the kernels of csr did with each operator, for the fewest threads that were asked for."""
    found, seen = [], set()
    for variant, row in cells(comparison):
        if row.delegate is None or variant.name in seen:
            continue
        seen.add(variant.name)
        for node in row.delegate["nodes"]:
            name = f"{node['node']} {short_name(node['output'] or node['op'])}"
            found.append(
                {
                    "variant": variant.name, "operator": name, "op": node["op"], "claimed": bool(node["claimed"]),
                    "kernel": node["kernel"] or "left to XNNPACK", "density": digits(node["density"]),
                    "sparse_us": digits(node["sparse_us"]), "dense_us": digits(node["dense_us"]),
                    "reason": node["reason"],
                }
            )  # fmt: skip
    return found


def short_name(name: str) -> str:
    """A converter's tensor name lists every layer that was fused into it, the last one first."""
    return "/".join(name.split(";")[0].split("/")[-2:])


TABLES: Mapping[str, Callable[[Comparison], list[Entry]]] = {
    "rows": rows,
    "sizes": sizes,
    "samples": samples,
    "rounds": rounds,
    "readings": readings,
    "moments": moments,
    "looks": looks,
    "operators": operators,
}


def digits(value: float | None, count: int = 6) -> float | None:
    """A number to so many digits."""
    return None if value is None else float(f"{value:.{count}g}")


def _ends(unit: str, interval: tuple[float, float] | None) -> Entry:
    low, high = interval or (None, None)
    return {f"low{unit}": digits(low), f"high{unit}": digits(high)}


def _watts(found: SensorReadings, begin_ns: int) -> tuple[list[float], list[float]]:
    """Seconds and watts; a counter of joules gives the mean between two of its readings, and nothing where it wraps."""
    known = [(stamp, value) for stamp, value in zip(found.t_ns, found.values, strict=True) if value is not None]
    if found.unit == "W":
        return [(stamp - begin_ns) / 1e9 for stamp, _ in known], [value for _, value in known]
    steps = [
        ((later - begin_ns) / 1e9, (after - before) / ((later - earlier) / 1e9))
        for (earlier, before), (later, after) in pairwise(known)
        if later > earlier and after >= before
    ]
    return [t_s for t_s, _ in steps], [watts for _, watts in steps]


def _thinned(t_s: Sequence[float], values: Sequence[float]) -> Iterator[tuple[float, float, float, float, int]]:
    """Neighbours together, so that MOST_POINTS are left: time, mean, extremes, and of how many."""
    if not t_s:
        return
    parts = min(len(t_s), MOST_POINTS)
    for times, some in zip(np.array_split(t_s, parts), np.array_split(values, parts), strict=True):
        yield float(times.mean()), float(some.mean()), float(some.min()), float(some.max()), len(some)


def _few(entries: Sequence[Any]) -> Sequence[Any]:
    """Every n-th, so that at most MOST_POINTS are left."""
    return entries[:: max(1, -(-len(entries) // MOST_POINTS))]
