"""What a long launch came to: latency, power, heat and clocks over time, and from when on nothing changes any more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from statistics import median

import msgspec
import numpy as np

from edgesparse.report.power import PowerOfRun
from edgesparse.store import Record

FIRST_S = 60.0
# A state is steady that stays within this share of its level; the level is that of the last of the time.
STEADY_SHARE = 0.02
LAST_SHARE = 0.25
LEAST_SLICES = 8
# Of how many slices the running median is.
RUNNING = 5
# A trend is told of so many values at most, each the median of as many slices as that takes.
_TREND_VALUES = 200


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of a launch: seconds since its beginning, median latency, and what the board was like."""

    t_s: float
    median_ms: float
    power_w: float | None
    temperature_c: float | None
    frequency_mhz: float | None


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """`first_ms` and `first_w` are of the first minute; `steady_ms` and `steady_w` from `steady_from_s` on, None where
    no steady state was reached; `simulated` says that these watts are made up. `moments` are the slices in order."""

    seconds: float
    first_ms: float
    first_w: float | None
    steady_from_s: float | None
    steady_ms: float | None
    steady_w: float | None
    simulated: bool = False
    moments: list[Moment]

    def sentence(self) -> str:
        """All of it but the moments."""
        first = f"first {_duration(min(FIRST_S, self.seconds))} {self.first_ms:.3f} ms{self._watts(self.first_w)}"
        if self.steady_ms is None or self.steady_from_s is None:
            last = f"the last second had {self.moments[-1].median_ms:.3f} ms"
            state = f"no steady state within {_duration(self.seconds)}: {last}"
        else:
            change = f"{self.steady_ms / self.first_ms - 1:+.1%}"
            steady = f"{self.steady_ms:.3f} ms ({change}){self._watts(self.steady_w)}"
            state = f"steady from {_duration(self.steady_from_s)} on, {steady}"
        heat = _from_to([each.temperature_c for each in self.moments], "°C")
        clock = _from_to([each.frequency_mhz for each in self.moments], "MHz")
        return f"{first}; {state}{heat}{clock}."

    def _watts(self, power_w: float | None) -> str:
        return "" if power_w is None else f", {power_w:.3g} W{' simulated' * self.simulated}"


def joined(slices: Sequence[Record]) -> Record:
    """The slices of one launch as the record of its samples."""
    return {
        "round": 0,
        "warmup_ns": [],
        "latency_ns": [latency for each in slices for latency in each["latency_ns"]],
        "window_ns": [slices[0]["window_ns"][0], slices[-1]["window_ns"][1]],
        "inferences": sum(each["inferences"] for each in slices),
    }


def sustained(slices: Sequence[Record], power: PowerOfRun, during: Sequence[Record]) -> Sustained:
    """What the slices of a launch say."""
    begin_ns, end_ns = slices[0]["window_ns"][0], slices[-1]["window_ns"][1]
    moments = [_moment(each, begin_ns, power, during) for each in slices]
    first = [place for place, each in enumerate(moments) if each.t_s < FIRST_S]
    steady = steady_from([each.median_ms for each in moments])
    return Sustained(
        seconds=(end_ns - begin_ns) / 1e9,
        first_ms=median(moments[place].median_ms for place in first),
        first_w=power.watts((begin_ns, slices[first[-1]]["window_ns"][1])),
        steady_from_s=None if steady is None else moments[steady].t_s,
        steady_ms=None if steady is None else median(each.median_ms for each in moments[steady:]),
        steady_w=None if steady is None else power.watts((slices[steady]["window_ns"][0], end_ns)),
        simulated=power.simulated,
        moments=moments,
    )


def steady_from(values: Sequence[float]) -> int | None:
    """From which value on a series stays at the level of its last quarter: the first from where on the running median
    never leaves it by more than STEADY_SHARE, or by more than what the values scatter where that is more. None where
    the last quarter itself goes up or down or is too short to tell, and where the values go on rising or falling: from
    there on, in the last half and still in the last quarter so fast that over the whole series it would come to more
    than STEADY_SHARE.
    """
    tail = values[-max(LEAST_SLICES, round(LAST_SHARE * len(values))) :]
    if len(tail) < LEAST_SLICES:
        return None
    level, middle = median(tail), len(tail) // 2
    scatter = median(abs(later - earlier) for earlier, later in pairwise(tail)) / level  # a slope is no scatter
    share = max(STEADY_SHARE, 2 * scatter)
    if abs(median(tail[:middle]) / median(tail[middle:]) - 1) > share:
        return None
    found = None
    for place in range(len(values) - RUNNING, -1, -1):
        if abs(median(values[place : place + RUNNING]) / level - 1) > share:
            break
        found = place
    if found is None:
        return None
    # What approaches its level, or went to it by a step, has no slope at the end; what goes to and fro has none in all.
    last = len(values) - len(tail)
    since = min(found, last)
    slopes = [_slope(values[start:]) * len(values) / level for start in (since, len(values) // 2, last)]
    by_chance = _by_chance(scatter, len(values), len(values) - since)
    goes_on = (min(slopes) > STEADY_SHARE or max(slopes) < -STEADY_SHARE) and abs(slopes[0]) > by_chance
    return None if goes_on else found


def _slope(values: Sequence[float]) -> float:
    """By how much a series rises from one value to the next: the median over all pairs of values (Theil and Sen)."""
    size = -(-len(values) // _TREND_VALUES)
    blocks = np.array([median(values[place : place + size]) for place in range(0, len(values) - size + 1, size)])
    one, other = np.triu_indices(len(blocks), 1)
    return float(np.median((blocks[other] - blocks[one]) / (other - one))) / size


def _by_chance(scatter: float, count: int, among: int) -> float:
    """Two standard errors of a slope over so many of a series' values, times its length; `scatter` is the median
    difference of one value to the next, as a share, which of independent normal values is 0.95 of their deviation."""
    return 2 * scatter / 0.95 * sqrt(12 / among**3) * count


def _moment(slice_: Record, begin_ns: int, power: PowerOfRun, during: Sequence[Record]) -> Moment:
    window = (slice_["window_ns"][0], slice_["window_ns"][1])
    middle_ns = sum(window) / 2
    near = min(during, key=lambda each: abs(each["t_ns"] - middle_ns), default={})
    temperatures, frequencies = near.get("temperature_c") or {}, near.get("frequency_mhz") or []
    return Moment(
        t_s=(window[0] - begin_ns) / 1e9,
        median_ms=median(slice_["latency_ns"]) / 1e6,
        power_w=power.watts(window),
        temperature_c=max(temperatures.values(), default=None),
        frequency_mhz=max(frequencies, default=None),
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _from_to(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    return f"; {known[0]:.0f} to {known[-1]:.0f} {unit}" if known else ""
