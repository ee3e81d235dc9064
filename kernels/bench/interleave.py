"""Times several things in one process so that whatever drifts hits all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from edgesparse.stats import Interval, compare

Invoke = Callable[[], object]

WARM_UP_S = 0.1
WARM_UP_INVOKES = 3

# Below this many rounds a median has no interval, so a run goes on past its time limit until it has them.
MIN_ROUNDS = 7


@dataclass(frozen=True)
class Timing:
    """When to stop, and how often to invoke in a turn.

    Attributes:
        rounds: at least so many, unless `max_time_s` is over.
        min_time_s: at least so long.
        max_time_s: no longer, once there are `MIN_ROUNDS`.
        burst: invocations of one turn. 1: every invocation finds the others' weights in the caches. More: the first is
            not counted and a turn's value is the median of the rest, as in a program that runs one model only.
    """

    rounds: int = 30
    min_time_s: float = 2.0
    max_time_s: float = 20.0
    burst: int = 1


@dataclass(frozen=True)
class Speedup:
    """Baseline over other: the median of the rounds' ratios and its 95 % interval (None with few rounds).

    Rounds of one process share its memory layout: the interval says how well this process knows the ratio, not how far
    another process would agree.
    """

    value: float
    interval: Interval | None


def interleave(invokes: Mapping[str, Invoke], timing: Timing) -> dict[str, list[float]]:
    """Invoke all in turns until `timing` says stop.

    Returns:
        Milliseconds by name, a value for each round.
    """
    for invoke in invokes.values():
        _warm_up(invoke)
    taken: dict[str, list[float]] = {name: [] for name in invokes}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        for number, order in enumerate(_orders(list(invokes))):
            elapsed_s = time.perf_counter() - started
            if number >= MIN_ROUNDS and elapsed_s >= timing.max_time_s:
                break
            if number >= timing.rounds and elapsed_s >= timing.min_time_s:
                break
            for name in order:
                taken[name].append(_turn(invokes[name], timing.burst))
    finally:
        if was_enabled:
            gc.enable()
    return taken


def speedup(baseline_ms: Sequence[float], other_ms: Sequence[float]) -> Speedup:
    """How many times as fast as the baseline, paired by round."""
    ratio = compare(dict(enumerate(baseline_ms)), dict(enumerate(other_ms)))
    return Speedup(ratio.value or 0.0, ratio.interval)


def _orders(names: list[str]) -> Iterator[list[str]]:
    """The first of each round moves on by one; every other cycle runs backwards, so that predecessors change too."""
    count = len(names)
    number = 0
    while True:
        shift = number % count
        order = names[shift:] + names[:shift]
        yield order if number // count % 2 == 0 else order[::-1]
        number += 1


def _turn(invoke: Invoke, burst: int) -> float:
    taken = []
    for _ in range(burst):
        started_ns = time.perf_counter_ns()
        invoke()
        taken.append((time.perf_counter_ns() - started_ns) / 1e6)
    return taken[0] if burst == 1 else median(taken[1:])


def _warm_up(invoke: Invoke) -> None:
    started = time.perf_counter()
    for number in range(1000):
        if number >= WARM_UP_INVOKES and time.perf_counter() - started >= WARM_UP_S:
            return
        invoke()
