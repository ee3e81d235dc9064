"""Readings of power and conditions beside the workers, on the clock that their latencies are on (CLOCK_MONOTONIC).

Each source has a thread of its own. How often a source renews its readings is found by watching them change, and it is
read as often as that, but never so often that reading takes more than a small share of a core.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from edgesparse.agent.sensors.meter import Meter
from edgesparse.agent.sensors.source import Reading, Source

# Reading a source takes at most this share of a core.
COST_SHARE = 0.005
# How long values are watched to see how often they change, and how often they are looked at meanwhile.
WATCH_S = 1.2
_LOOK_S = 0.001
_FEWEST_CHANGES = 3
# Where values did not change and the source does not say.
USUAL_PERIOD_S = 0.1
CONDITIONS_S = 1.0


@dataclass(frozen=True)
class Rate:
    """How often a source is renewed and read, in seconds; `seen`: its values changed, else it is what the source says
    or what is usual. `cost_s` is what one reading takes."""

    update_s: float
    period_s: float
    seen: bool
    cost_s: float


def find_rate(source: Source, watch_s: float = WATCH_S) -> Rate:
    """Watch a source's values change."""
    if isinstance(source, Meter):
        return _rate_of_lines(source, watch_s)
    changes: list[int] = []
    costs: list[float] = []
    before: list[Reading] | None = None
    end_s, cpu_s = time.monotonic() + watch_s, time.thread_time()
    while (now_s := time.monotonic()) < end_s:
        readings = source.read()
        costs.append(time.monotonic() - now_s)
        if before is not None and readings != before:
            changes.append(time.monotonic_ns())
        before = readings
        time.sleep(max(_LOOK_S, costs[-1]))
    # What reading takes with all that belongs to it; or waiting for it, where another process does the work.
    cost_s = max(median(costs), (time.thread_time() - cpu_s) / len(costs))
    apart = _steps_s(changes)
    seen = len(apart) >= _FEWEST_CHANGES
    update_s = median(apart) if seen else source.declared_period_s or USUAL_PERIOD_S
    return Rate(update_s, max(update_s, cost_s / COST_SHARE), seen, cost_s)


def _rate_of_lines(source: Meter, watch_s: float) -> Rate:
    time.sleep(watch_s)
    stamps = [stamp for stamp, _ in source.take()]
    apart = _steps_s(stamps)
    seen = len(apart) >= _FEWEST_CHANGES
    update_s = median(apart) if seen else USUAL_PERIOD_S
    return Rate(update_s, update_s, seen, 0.0)


def _steps_s(stamps_ns: list[int]) -> list[float]:
    return [(stamps_ns[place] - stamps_ns[place - 1]) / 1e9 for place in range(1, len(stamps_ns))]


@dataclass
class _Kept:
    """Readings that nobody has taken yet."""

    t_ns: list[int] = field(default_factory=list)
    values: list[list[float | None]] = field(default_factory=list)
    errors: list[list[Any]] = field(default_factory=list)


class Sampler:
    """Reads one source until it is closed.

    Args:
        source: closed with this.
        rate: from `find_rate`.
    """

    def __init__(self, source: Source, rate: Rate) -> None:
        self.source, self.rate = source, rate
        self._kept, self._lock, self._ended = _Kept(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._read_on, name=f"sampling {source.name}", daemon=True)
        self._thread.start()

    def _read_on(self) -> None:
        next_s = time.monotonic()
        while not self._ended.wait(max(0.0, next_s - time.monotonic())):
            if isinstance(self.source, Meter):
                for stamp_ns, readings in self.source.take():
                    self._keep(stamp_ns, readings)
            else:
                before_ns = time.monotonic_ns()
                readings = self.source.read()
                self._keep((before_ns + time.monotonic_ns()) // 2, readings)
            # In step, unless a reading took so long that a step is over.
            next_s = max(next_s + self.rate.period_s, time.monotonic())

    def _keep(self, stamp_ns: int, readings: list[Reading]) -> None:
        with self._lock:
            self._kept.t_ns.append(stamp_ns)
            self._kept.values.append([None if isinstance(reading, str) else reading for reading in readings])
            for channel, reading in zip(self.source.channels, readings):
                if isinstance(reading, str):
                    self._kept.errors.append([stamp_ns, channel.name, reading])

    def take(self) -> dict[str, Any] | None:
        """The fields of a `sensors` record with what was read since the last call; None if nothing was."""
        with self._lock:
            kept, self._kept = self._kept, _Kept()
        if not kept.t_ns:
            return None
        columns = zip(*kept.values)
        values = {channel.name: list(column) for channel, column in zip(self.source.channels, columns)}
        return {"source": self.source.name, "t_ns": kept.t_ns, "values": values, "errors": kept.errors}

    def describe(self) -> dict[str, Any]:
        """Name, channels and rate, as JSON types."""
        return {
            "source": self.source.name,
            "simulated": self.source.simulated,
            "channels": [channel.to_message() for channel in self.source.channels],
            "update_s": self.rate.update_s,
            "period_s": self.rate.period_s,
            "rate_seen": self.rate.seen,
            "cost_s": self.rate.cost_s,
        }

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join()
        self.source.close()


class ConditionsSampler:
    """Looks at the board's conditions once a second until it is closed.

    Args:
        look: gives them; called in a thread of this.
    """

    def __init__(self, look: Callable[[], dict[str, Any]]) -> None:
        self._look = look
        self._kept: list[dict[str, Any]] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="sampling conditions", daemon=True)
        self._thread.start()

    def _look_on(self) -> None:
        while not self._ended.wait(CONDITIONS_S):
            found = {"t_ns": time.monotonic_ns(), **self._look()}
            with self._lock:
                self._kept.append(found)

    def take(self) -> list[dict[str, Any]]:
        """What was seen since the last call."""
        with self._lock:
            kept, self._kept = self._kept, []
        return kept

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()


def start_sampling(sources: list[Source]) -> list[Sampler]:
    """Watch all sources at once, then go on reading them. Takes WATCH_S where there are any."""
    rates: dict[int, Rate] = {}

    def watch(place: int) -> None:
        rates[place] = find_rate(sources[place])

    threads = [threading.Thread(target=watch, args=(place,)) for place in range(len(sources))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [Sampler(source, rates[place]) for place, source in enumerate(sources)]
