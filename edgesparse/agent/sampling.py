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
from edgesparse.agent.sensors.source import POWER, Channel, Reading, Source

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
# A value that idles on a step of its sensor is renewed more often than it changes: of the times between its changes,
# the one that a quarter stays under is how often it is renewed.
_QUARTER = 4
# A record holds no more readings, and a message to the host no more than fits.
_MOST_READINGS = 5000


@dataclass(frozen=True)
class Rate:
    """How often a source is renewed and read, in seconds; `seen`: its values changed, else it is what the source says
    or what is usual. Both of its fastest channel; `channels` has them of each. `cost_s` is what one reading takes of a
    core. `steps` is each channel's smallest step, 0 where its value stayed the same."""

    update_s: float
    period_s: float
    seen: bool
    cost_s: float
    steps: tuple[float, ...] = ()
    channels: tuple[tuple[float, bool], ...] = ()

    def of_channel(self, place: int) -> tuple[float, bool]:
        """How often the channel at this place is renewed, and whether that was seen."""
        return self.channels[place] if self.channels else (self.update_s, self.seen)


def find_rate(
    source: Source, watch_s: float = WATCH_S, longest_s: float = LONGEST_WATCH_S, share: float = COST_SHARE
) -> Rate:
    """Watch a source's values change, for `watch_s`; up to `longest_s` where that shows too few changes. Reading it may
    then take `share` of a core."""
    if isinstance(source, Meter):
        return _rate_of_lines(source, watch_s, longest_s)
    watched = [_Watched(channel) for channel in source.channels]
    began_s, cost = time.monotonic(), _Cost(source)
    while _goes_on(time.monotonic() - began_s, _fewest_changes(watched), watch_s, longest_s):
        look_s = time.monotonic()
        readings = _readings(source)
        cost.count()
        for each, reading in zip(watched, readings):
            each.take(reading)
        if all(isinstance(reading, str) for reading in readings):
            longest_s = watch_s  # nothing to wait for, such as where root alone may read it
        time.sleep(max(_LOOK_S, time.monotonic() - look_s))
    channels = tuple(_rate_of(each, watched, source.declared_period_s) for each in watched)
    # One that was not seen to change may be far slower than what is usual: it is for the others to say.
    update_s = min((update_s for update_s, seen in channels if seen), default=min(channels)[0])
    seen, cost_s, steps = any(seen for _, seen in channels), _COLD * cost.mean_s, tuple(each.step for each in watched)
    return Rate(update_s, max(update_s, cost_s / share), seen, cost_s, steps, channels)


class _Watched:
    """When a channel's value changed, and which values there were.

    Args:
        channel: the one that is watched.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.changes: list[int] = []
        self._values: set[float] = set()
        self._last: float | None = None

    def take(self, reading: Reading) -> None:
        """A reading that has been taken just now."""
        if isinstance(reading, str):
            return
        if self._last is not None and reading != self._last:
            self.changes.append(time.monotonic_ns())
        self._last = reading
        self._values.add(reading)

    @property
    def update_s(self) -> float | None:
        """How often its value is renewed; None where it changed too seldom to tell."""
        apart = sorted(_steps_s(self.changes))
        return apart[len(apart) // _QUARTER] if len(apart) >= _FEWEST_CHANGES else None

    @property
    def step(self) -> float:
        """By how much two values differed at least; 0 where there was but one. A counter's steps are of what it
        counts."""
        values = sorted(self._values) if self.channel.counts == POWER else []
        return min((values[place] - values[place - 1] for place in range(1, len(values))), default=0.0)


def _fewest_changes(watched: list[_Watched]) -> int:
    """Of the channels that change at all: another may stand still for as long as nothing runs."""
    return min((len(each.changes) for each in watched if each.changes), default=0)


def _rate_of(one: _Watched, watched: list[_Watched], source_declares_s: float | None) -> tuple[float, bool]:
    """How often it is renewed, and whether that was seen: on itself or, where it stands still, on others of its chip,
    of which the slowest counts."""
    own_s = one.update_s
    if own_s is not None:
        return own_s, True
    chip = [
        each.update_s for each in watched
        if each.channel.place and (each.channel.place, each.channel.counts) == (one.channel.place, one.channel.counts)
    ]  # fmt: skip
    if found := [update_s for update_s in chip if update_s is not None]:
        return max(found), True
    return one.channel.declared_s or source_declares_s or USUAL_PERIOD_S, False


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
        return {
            "source": self.source.name,
            "simulated": self.source.simulated,
            "channels": [self._describe(place) for place in range(len(self.source.channels))],
            "update_s": self.rate.update_s,
            "period_s": self.rate.period_s,
            "rate_seen": self.rate.seen,
            "stamped": self.source.stamped,
            "cost_s": self.rate.cost_s,
        }

    def _describe(self, place: int) -> dict[str, Any]:
        """`resolution_seen`: it is the smallest step of the few values that there were while it was watched."""
        channel, (update_s, seen) = self.source.channels[place], self.rate.of_channel(place)
        step = self.rate.steps[place] if self.rate.steps else 0.0
        return {
            **replace(channel, resolution=max(channel.resolution, step)).to_message(),
            "resolution_seen": step > channel.resolution,
            "update_s": update_s,
            "rate_seen": seen,
            "rate_declared": (channel.declared_s or self.source.declared_period_s) is not None,
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
