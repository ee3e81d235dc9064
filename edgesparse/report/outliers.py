"""Samples far above the others of their launch: counted, explained where the board's conditions explain them, and never
dropped."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from edgesparse.store import Record

# Above a launch's median by so many of its median deviations, and by so much of itself at least.
DEVIATIONS, LEAST_SHARE = 8.0, 0.1
BUSY_PERCENT = 25.0
SLOWER_CLOCK = 0.95
# Conditions are looked at once a second; what is further from a look than this is not explained by it.
_NEAR_NS = 1_500_000_000


class Outliers(msgspec.Struct, frozen=True, kw_only=True):
    """How many samples lie far above the others of their launch, and what went on when they were taken: reason -> how
    many. All of them are in the samples, the medians and the percentiles."""

    count: int
    share: float
    reasons: dict[str, int]

    def sentence(self) -> str:
        """In words; "" where there are none."""
        if not self.count:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"{self.count} of all samples ({self.share:.1%}) far above the others: {reasons}; none is left out"


def find_outliers(launches: Iterable[Record], during: Sequence[Record]) -> Outliers:
    """Of the launches of one cell.

    Args:
        launches: `samples` records.
        during: the conditions, second by second.
    """
    total, reasons = 0, Counter[str]()
    fastest_mhz = max((max(look["frequency_mhz"]) for look in during if look.get("frequency_mhz")), default=None)
    looked_ns = np.array([look["t_ns"] for look in during], np.int64)
    for launch, latencies, places in _far_above(launches):
        total += len(latencies)
        if not len(places):
            continue
        begins_ns = launch.get("window_ns", [None])[0]
        ends = np.cumsum(latencies)
        for place in places:
            at_ns = None if begins_ns is None else begins_ns + float(ends[place])
            reasons[_reason(int(place), at_ns, looked_ns, during, fastest_mhz)] += 1
    count = sum(reasons.values())
    return Outliers(count=count, share=count / total if total else 0.0, reasons=dict(reasons.most_common()))


def _far_above(launches: Iterable[Record]) -> list[tuple[Record, Any, Any]]:
    """Each launch with its latencies and the places of those far above the others. Launches of one length are looked at
    together, which is many times as fast where there are thousands of short ones."""
    by_length: dict[int, list[tuple[int, Record]]] = defaultdict(list)
    for number, launch in enumerate(launches):
        by_length[len(launch["latency_ns"])].append((number, launch))
    found: list[tuple[int, Record, Any, Any]] = []
    for alike in by_length.values():
        latencies = np.array([launch["latency_ns"] for _, launch in alike], float)
        middles = np.median(latencies, axis=1)
        deviations = np.median(np.abs(latencies - middles[:, None]), axis=1)
        limits = middles + np.maximum(DEVIATIONS * deviations, LEAST_SHARE * middles)
        above = latencies > limits[:, None]
        found += [(*each, row, np.flatnonzero(far)) for each, row, far in zip(alike, latencies, above, strict=True)]
    return [(launch, row, places) for _, launch, row, places in sorted(found, key=lambda each: each[0])]


def _reason(
    place: int, at_ns: float | None, looked_ns: Any, during: Sequence[Record], fastest_mhz: float | None
) -> str:
    if place == 0:
        return "first in their launch"
    if at_ns is None or not len(looked_ns):
        return "unexplained"
    nearest = int(np.argmin(np.abs(looked_ns - at_ns)))
    if abs(float(looked_ns[nearest]) - at_ns) > _NEAR_NS:
        return "unexplained"
    look = during[nearest]
    if any(flag.endswith(" now") for flag in look.get("throttled") or []):
        return "while the board throttled"
    if fastest_mhz and look.get("frequency_mhz") and max(look["frequency_mhz"]) < SLOWER_CLOCK * fastest_mhz:
        return "while the clock was lower"
    if (look.get("other_cpu_percent") or 0.0) > BUSY_PERCENT:
        return "while other processes used the CPU"
    return "unexplained"
