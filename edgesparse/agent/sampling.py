"""Readings of power and conditions beside the workers, on the clock that their latencies are on (CLOCK_MONOTONIC).

Each source has a thread of its own. How often a source renews its readings is found by watching them change, and it is
read as often as that, but never so often that reading takes more than a small share of a core. What a reading takes is
measured as it goes on: between launches caches are warm, beside a worker they are cold.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from edgesparse.agent.sensors.meter import Meter
from edgesparse.agent.sensors.source import POWER, Reading, Source

# Reading all sources takes at most this share of a core.
COST_SHARE = 0.005
# Beside a worker caches are cold, and a reading costs some so many times what it does while it is watched. Only where
# it begins: from then on it goes by what readings do cost.
_COLD = 2.0
# How much of what the last reading took counts beside what those before it did.
_LAST_COUNTS = 0.1
# How long values are watched to see how often they change, at least, and at most where they change seldom; and how
# often they are looked at meanwhile.
WATCH_S, LONGEST_WATCH_S = 1.2, 5.0
_LOOK_S = 0.001
_FEWEST_CHANGES = 3
# Where values did not change and the source does not say.
USUAL_PERIOD_S = 0.1
CONDITIONS_S = 1.0
# Of so many different values the smallest step between two is that of the sensor.
_VALUES_FOR_A_STEP = 8
# A record holds no more readings, and a message to the host no more than fits.
_MOST_READINGS = 5000


@dataclass(frozen=True)
class Rate:
    """How often a source is renewed and read, in seconds; `seen`: its values changed, else it is what the source says
    or what is usual. `cost_s` is what one reading takes of a core. `steps` is each channel's smallest step, 0 where too
    few values were seen."""

    update_s: float
    period_s: float
    seen: bool
    cost_s: float
    steps: tuple[float, ...] = ()


def find_rate(
    source: Source, watch_s: float = WATCH_S, longest_s: float = LONGEST_WATCH_S, share: float = COST_SHARE
) -> Rate:
    """Watch a source's values change, for `watch_s`; up to `longest_s` where that shows too few changes. Reading it may
    then take `share` of a core."""
    if isinstance(source, Meter):
        return _rate_of_lines(source, watch_s, longest_s)
    changes: list[int] = []
    seen: list[list[Reading]] = []
    count, began_s, cost = 0, time.monotonic(), _Cost(source)
    while _goes_on(time.monotonic() - began_s, len(changes), watch_s, longest_s):
        if seen and all(isinstance(reading, str) for reading in seen[-1]):
            longest_s = watch_s  # nothing to wait for, such as where root alone may read it
        look_s = time.monotonic()
        readings = _readings(source)
        cost.count()
        if not seen or readings != seen[-1]:
            if seen:
                changes.append(time.monotonic_ns())
            seen.append(readings)
        count += 1
        time.sleep(max(_LOOK_S, time.monotonic() - look_s))
    apart = _steps_s(changes)
    found = len(apart) >= _FEWEST_CHANGES
    update_s = median(apart) if found else source.declared_period_s or USUAL_PERIOD_S
    cost_s = _COLD * cost.mean_s
    return Rate(update_s, max(update_s, cost_s / share), found, cost_s, _smallest_steps(source, seen))


def _readings(source: Source) -> list[Reading]:
    try:
        return source.read()
    except Exception as error:  # a library says what it likes: this reading failed, the next may not
        return [f"{type(error).__name__}: {error}"] * len(source.channels)


def _goes_on(elapsed_s: float, changes: int, watch_s: float, longest_s: float) -> bool:
    return elapsed_s < (watch_s if changes > _FEWEST_CHANGES else max(watch_s, longest_s))


def _rate_of_lines(source: Meter, watch_s: float, longest_s: float) -> Rate:
    stamps: list[int] = []
    began_s = time.monotonic()
    while _goes_on(time.monotonic() - began_s, len(stamps) - 1, watch_s, longest_s):
        time.sleep(min(watch_s, USUAL_PERIOD_S))
        stamps += [stamp for stamp, (reading,) in source.take() if not isinstance(reading, str)]
    apart = _steps_s(stamps)
    seen = len(apart) >= _FEWEST_CHANGES
    update_s = median(apart) if seen else USUAL_PERIOD_S
    return Rate(update_s, update_s, seen, 0.0)


def _steps_s(stamps_ns: list[int]) -> list[float]:
    return [(stamps_ns[place] - stamps_ns[place - 1]) / 1e9 for place in range(1, len(stamps_ns))]


def _smallest_steps(source: Source, seen: list[list[Reading]]) -> tuple[float, ...]:
    """By how much two values of a channel differed at least. A counter's steps are of what it counts."""
    steps = []
    for channel, column in zip(source.channels, zip(*seen)):
        values = sorted({value for value in column if not isinstance(value, str)})
        enough = channel.counts == POWER and len(values) >= _VALUES_FOR_A_STEP
        apart = [values[place] - values[place - 1] for place in range(1, len(values))]
        steps.append(min(apart) if enough else 0.0)
    return tuple(steps)


class _Cost:
    """What reading a source takes of a core, with all that belongs to it: a running mean over readings.

    Args:
        source: read in this thread from now on.
    """

    def __init__(self, source: Source, mean_s: float | None = None) -> None:
        self._elsewhere = source.elsewhere
        self._mean_s, self._cpu_s, self._children_s = mean_s, time.thread_time(), self._of_children_s()
        self._wall_s = time.monotonic()

    @property
    def mean_s(self) -> float:
        """Seconds of a core for one reading."""
        return self._mean_s or 0.0

    def count(self) -> None:
        """A reading is over: all that this thread did since the last one was for it."""
        cpu_s, children_s, wall_s = time.thread_time(), self._of_children_s(), time.monotonic()
        # Another child may have ended meanwhile, but none has used the CPU for longer than there was time.
        took_s = cpu_s - self._cpu_s + min(children_s - self._children_s, wall_s - self._wall_s)
        self._cpu_s, self._children_s, self._wall_s = cpu_s, children_s, wall_s
        before_s = took_s if self._mean_s is None else self._mean_s
        self._mean_s = before_s + _LAST_COUNTS * (took_s - before_s)

    def _of_children_s(self) -> float:
        """Where another process does the work, what it took."""
        if not self._elsewhere:
            return 0.0
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


@dataclass
class _Kept:
    """Readings that nobody has taken yet, and what went wrong with each."""

    t_ns: list[int] = field(default_factory=list)
    values: list[list[float | None]] = field(default_factory=list)
    errors: list[list[list[Any]]] = field(default_factory=list)

    def first(self, most: int) -> _Kept:
        """So many of the first, which are taken out."""
        taken = _Kept(self.t_ns[:most], self.values[:most], self.errors[:most])
        del self.t_ns[:most], self.values[:most], self.errors[:most]
        return taken


class Sampler:
    """Reads one source until it is closed.

    Args:
        source: closed with this.
        rate: from `find_rate`; what a reading takes and how often it is therefore taken are found anew as it goes on.
        share: of a core, for reading it.
    """

    def __init__(self, source: Source, rate: Rate, share: float = COST_SHARE) -> None:
        self.source, self.rate, self._share = source, rate, share
        self._kept, self._lock, self._ended = _Kept(), threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._read_on, name=f"sampling {source.name}", daemon=True)
        self._thread.start()

    def _read_on(self) -> None:
        next_s, cost = time.monotonic(), _Cost(self.source, self.rate.cost_s)
        while not self._ended.wait(max(0.0, next_s - time.monotonic())):
            if isinstance(self.source, Meter):
                for stamp_ns, readings in self.source.take():
                    self._keep(stamp_ns, readings)
            else:
                before_ns = time.monotonic_ns()
                readings = _readings(self.source)
                self._keep((before_ns + time.monotonic_ns()) // 2, readings)
            cost.count()
            period_s = max(self.rate.update_s, cost.mean_s / self._share)
            self.rate = replace(self.rate, period_s=period_s, cost_s=cost.mean_s)
            # In step, unless a reading took so long that a step is over.
            next_s = max(next_s + period_s, time.monotonic())

    def _keep(self, stamp_ns: int, readings: list[Reading]) -> None:
        with self._lock:
            self._kept.t_ns.append(stamp_ns)
            self._kept.values.append([None if isinstance(reading, str) else reading for reading in readings])
            failed = [(channel, each) for channel, each in zip(self.source.channels, readings) if isinstance(each, str)]
            self._kept.errors.append([[stamp_ns, channel.name, reason] for channel, reason in failed])

    def take(self) -> dict[str, Any] | None:
        """The fields of a `sensors` record with what was read since the last call, or as much of it as a record holds;
        None if nothing was."""
        with self._lock:
            kept = self._kept.first(_MOST_READINGS)
        if not kept.t_ns:
            return None
        columns = zip(*kept.values)
        values = {channel.name: list(column) for channel, column in zip(self.source.channels, columns)}
        errors = [error for each in kept.errors for error in each]
        return {"source": self.source.name, "t_ns": kept.t_ns, "values": values, "errors": errors}

    def describe(self) -> dict[str, Any]:
        """Name, channels and rate, as JSON types."""
        steps = self.rate.steps or (0.0,) * len(self.source.channels)
        channels = [
            replace(channel, resolution=max(channel.resolution, step))
            for channel, step in zip(self.source.channels, steps)
        ]
        return {
            "source": self.source.name,
            "simulated": self.source.simulated,
            "channels": [channel.to_message() for channel in channels],
            "update_s": self.rate.update_s,
            "period_s": self.rate.period_s,
            "rate_seen": self.rate.seen,
            "rate_declared": self.source.declared_period_s is not None,
            "stamped": self.source.stamped,
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
        next_s = time.monotonic() + CONDITIONS_S
        while not self._ended.wait(max(0.0, next_s - time.monotonic())):
            found = {"t_ns": time.monotonic_ns(), **self._look()}
            with self._lock:
                self._kept.append(found)
            next_s = max(next_s + CONDITIONS_S, time.monotonic())

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
    """Watch all sources at once, then go on reading them. Takes WATCH_S where there are any, LONGEST_WATCH_S where
    one changes seldom."""
    rates: dict[int, Rate] = {}
    share = COST_SHARE / max(1, len(sources))

    def watch(place: int) -> None:
        rates[place] = find_rate(sources[place], share=share)

    threads = [threading.Thread(target=watch, args=(place,)) for place in range(len(sources))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [Sampler(source, rates[place], share) for place, source in enumerate(sources)]
