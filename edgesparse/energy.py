"""Energy from readings of power or of a counter. Pure: numpy arrays in, numbers with their uncertainty out.

Power is integrated by the trapezoid rule over the readings inside a window and the values at its edges, interpolated. A
counter gives the difference between the edges, interpolated too, with its wraps put right. Idle power, from before and
after, is taken off; how far the two were apart is part of what is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesparse import stats

Floats = NDArray[np.float64]
Window = tuple[int, int]

# Readings that a window must hold for its energy to be claimed; the agent prolongs a launch until it does.
FEWEST_READINGS = 10
# Where readings are further apart than so many updates, the source did not answer in between. So much of a window may
# be missing that way: what it may have held is part of what is not known.
_LARGEST_GAP = 5.0
_MOST_MISSING = 0.05


@dataclass(frozen=True)
class Trace:
    """The readings of one channel, in order of time.

    Attributes:
        t_ns: stamps on the board's monotonic clock.
        values: watts, or joules of a counter; the same length.
        counter: whether they are joules.
        resolution: the smallest step of a value, in its unit.
        update_s: how often the source renews it.
        wraps_at: the joules at which a counter starts again.
    """

    t_ns: NDArray[np.int64]
    values: Floats
    counter: bool = False
    resolution: float = 0.0
    update_s: float = 0.0
    wraps_at: float | None = None


@dataclass(frozen=True)
class Amount:
    """Joules, and by how much they may be off for the source's resolution and rate alone."""

    joules: float
    off_by: float


def unwrapped(values: Floats, wraps_at: float | None) -> Floats:
    """A counter's values without its wraps. One that fell further than a wrap explains, or without a known range, has
    been set back, and goes on from where it was."""
    steps = np.diff(values)
    wrapped = steps + wraps_at if wraps_at else np.full_like(steps, np.inf)
    # Nothing uses half the range between two readings.
    fallen = np.where(wrapped <= (wraps_at or 0.0) / 2, wrapped, 0.0)
    return np.concatenate([values[:1], values[0] + np.cumsum(np.where(steps < 0, fallen, steps))])


def joules(trace: Trace, window: Window) -> Amount | None:
    """What was used within a window.

    Args:
        window: its beginning and end in nanoseconds, on the readings' clock.

    Returns:
        None where the readings do not cover the window, or have a gap in it.
    """
    begin, end = window
    if not len(trace.t_ns) or trace.t_ns[0] > begin or trace.t_ns[-1] < end or end <= begin:
        return None
    before = max(0, int(np.searchsorted(trace.t_ns, begin)) - 1)
    behind = int(np.searchsorted(trace.t_ns, end, "right"))
    near_it = slice(before, behind + 1)
    time_s, edges = (trace.t_ns[near_it] - begin) / 1e9, (0.0, (end - begin) / 1e9)
    inside = (time_s > edges[0]) & (time_s < edges[1])
    missing_s = _missing_s(trace, time_s, edges)
    if int(inside.sum()) < 1 or missing_s > _MOST_MISSING * edges[1]:
        return None
    values = unwrapped(trace.values[near_it], trace.wraps_at) if trace.counter else trace.values[near_it]
    at_edges = np.interp(edges, time_s, values)
    late_s = min(max(trace.update_s, missing_s if trace.counter else 0.0), edges[1])
    if trace.counter:
        speed_w = np.abs(np.diff(values) / np.maximum(np.diff(time_s), 1e-9))
        near = speed_w[np.clip(np.searchsorted(time_s, edges) - 1, 0, len(speed_w) - 1)]
        # A counter's step may have been due just before or after either edge.
        return Amount(float(at_edges[1] - at_edges[0]), trace.resolution + float(near.sum()) * late_s / 2)
    times = np.concatenate([[edges[0]], time_s[inside], [edges[1]]])
    watts = np.concatenate([[at_edges[0]], values[inside], [at_edges[1]]])
    # Where power steps at an edge, the readings around it do not tell when: it may be up to one update off.
    steps_w = np.abs(np.diff(values))
    slip = float(steps_w[np.clip(np.searchsorted(time_s, edges) - 1, 0, len(steps_w) - 1)].sum()) * late_s / 2
    used = float(((watts[1:] + watts[:-1]) / 2 * np.diff(times)).sum())
    # Whether a source rounds or cuts off is not known. What happened between readings shows in how launches differ.
    return Amount(used, trace.resolution * edges[1] + slip + missing_s * float(np.ptp(watts)) / 2)


def _missing_s(trace: Trace, time_s: Floats, edges: tuple[float, float]) -> float:
    """How long the source did not answer, in all; of a counter only around the edges, for it counts on meanwhile."""
    apart = np.diff(time_s)
    usual = max(trace.update_s, float(np.median(apart)))
    wide = apart > max(_LARGEST_GAP * usual, 1e-3)
    if trace.counter:
        wide &= np.any([(time_s[:-1] <= edge) & (time_s[1:] >= edge) for edge in edges], axis=0)
    return float(apart[wide].sum())


@dataclass(frozen=True)
class PerInference:
    """Energy for one inference.

    Attributes:
        median_mj: millijoules above idle, the median over launches.
        interval_mj: 95 % interval over launches, widened by what resolution, rate and baseline leave open; None with
            too few launches.
        gross_mj: the same with idle power.
        launches_mj: of each launch, above idle.
        power_w: mean power in the windows.
        left_out: launches whose window the readings do not cover.
    """

    median_mj: float
    interval_mj: tuple[float, float] | None
    gross_mj: float
    launches_mj: list[float]
    power_w: float
    left_out: int = 0


@dataclass(frozen=True)
class Idle:
    """Idle power before and after, in watts; `drift_w` is how far the two are apart, half of it may be either's."""

    watts: float
    drift_w: float
    off_by_w: float


def idle_power(trace: Trace, windows: Sequence[Window]) -> Idle | None:
    """Mean power in the windows in which nothing ran. None where one of them is not covered: how far they are apart is
    then not known."""
    found = [(amount, end - begin) for begin, end in windows if (amount := joules(trace, (begin, end)))]
    if not found or len(found) < len(windows):
        return None
    watts = [amount.joules / (length / 1e9) for amount, length in found]
    off_by = max(amount.off_by / (length / 1e9) for amount, length in found)
    return Idle(float(np.mean(watts)), max(watts) - min(watts), off_by)


def per_inference(
    traces: Trace | Sequence[Trace], windows: Sequence[tuple[Window, int]], idles: Idle | Sequence[Idle]
) -> PerInference | None:
    """Energy above idle of the inferences in some windows.

    Args:
        traces: one channel's readings, or those of rails whose sum it is.
        windows: of each launch, and how many inferences ran in it.
        idles: of each trace, from `idle_power`.

    Returns:
        None where no window is covered by the readings of all.
    """
    traces = [traces] if isinstance(traces, Trace) else traces
    idles = [idles] if isinstance(idles, Idle) else idles
    idle_w, idle_off_w = sum(idle.watts for idle in idles), sum(idle.drift_w / 2 + idle.off_by_w for idle in idles)
    above, gross, off, power = [], [], [], []
    for (begin, end), count in windows:
        amounts = [amount for trace in traces if (amount := joules(trace, (begin, end)))]
        if len(amounts) < len(traces) or not count:
            continue
        used, seconds = sum(amount.joules for amount in amounts), (end - begin) / 1e9
        above.append((used - idle_w * seconds) / count * 1e3)
        gross.append(used / count * 1e3)
        off.append((sum(amount.off_by for amount in amounts) + idle_off_w * seconds) / count * 1e3)
        power.append(used / seconds)
    if not above:
        return None
    between = stats.median_interval(above)
    systematic = max(off)
    interval = (between[0] - systematic, between[1] + systematic) if between else None
    left_out = len(windows) - len(above)
    return PerInference(
        float(np.median(above)), interval, float(np.median(gross)), above, float(np.mean(power)), left_out
    )
