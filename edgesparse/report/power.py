"""What the readings of a run's sensors say of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from edgesparse import energy
from edgesparse.agent.sensors.told import Named, candidates, why_not_added
from edgesparse.store import Record


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What one inference takes. `status` is "measured", "no sensor", "off", or "refused": `reason` says why nothing is
    claimed. `mj` is millijoules above idle, the median over launches; `interval_mj` its 95 % interval, widened by what
    the sensor's resolution and rate and the baseline leave open; `gross_mj` is with idle power. `of_dense` is this over
    dense's, where both were measured. `scope` says where: two scopes never compare. `update_hz` is how often the source
    is renewed, `readings_hz` how many readings a second tell something; `left_out` is how many launches they do not
    cover."""

    status: str
    reason: str = ""
    source: str = ""
    channels: list[str] = msgspec.field(default_factory=list)
    scope: str = ""
    simulated: bool = False
    update_hz: float | None = None
    readings_hz: float | None = None
    mj: float | None = None
    interval_mj: tuple[float, float] | None = None
    gross_mj: float | None = None
    launches_mj: list[float] = msgspec.field(default_factory=list)
    power_w: float | None = None
    idle_w: float | None = None
    idle_drift_w: float | None = None
    of_dense: float | None = None
    left_out: int = 0


class SensorReadings(msgspec.Struct, frozen=True, kw_only=True):
    """Every reading of one channel: stamps in nanoseconds on the board's monotonic clock, values in `unit` (W, or J of
    a counter), null where one failed; `errors` has when and why. `update_hz` is how often the source is renewed, found
    by watching it where `rate_seen`; `read_hz` how often it was read, or spoke by itself."""

    source: str
    channel: str
    scope: str
    unit: str
    total: bool
    simulated: bool
    update_hz: float
    rate_seen: bool
    read_hz: float | None
    resolution: float
    t_ns: list[int]
    values: list[float | None]
    errors: list[tuple[int, str]]


class PowerOfRun:
    """The readings of a run's sensors, and what they say of a cell.

    Args:
        records: the run's.
    """

    def __init__(self, records: list[Record]) -> None:
        found = next((record for record in records if record["type"] == "sensors_found"), None)
        self._sources = found["sources"] if found else []
        self._off = found is not None and not found["energy"]
        self._why = found["reason"] if found else ""
        parts = [record for record in records if record["type"] == "sensors"]
        self.sensors = [
            _readings(source, channel, [part for part in parts if part["source"] == source["source"]])
            for source in self._sources
            for channel in source["channels"]
        ]
        windows = [record["window_ns"] for record in records if record["type"] == "idle"]
        self._idle_windows = [(begin, end) for begin, end in windows]
        groups = candidates(self._sources)
        # Where the best gives nothing, such as a battery while a charger feeds the board, the next best speaks.
        self._main = next((group for group in groups if all(map(self._speaks, group))), groups[0] if groups else [])
        self._used = [self._of_channel(*named) for named in self._main]
        self._renewed_s = [
            _renewed_s(each, self._source(each.source), channel)
            for each, (_, channel) in zip(self._used, self._main, strict=True)
        ]
        self._traces = [
            _trace(each, channel, renewed_s or 0.0)
            for each, (_, channel), renewed_s in zip(self._used, self._main, self._renewed_s, strict=True)
        ]

    def _source(self, name: str) -> Record:
        return next(source for source in self._sources if source["source"] == name)

    def _of_channel(self, source: str, channel: Mapping[str, Any]) -> SensorReadings:
        return next(each for each in self.sensors if (each.source, each.channel) == (source, channel["name"]))

    def _speaks(self, named: Named) -> bool:
        """Whether it reads something; a counter has to count, too."""
        values = {value for value in self._of_channel(*named).values if value is not None}
        return len(values) > (1 if named[1]["counts"] == "energy" else 0)

    def watts(self, window: energy.Window) -> float | None:
        """Mean power in a window, of the channels that energy is told of; None where the readings do not cover it."""
        amounts = [energy.joules(trace, window) for trace in self._traces]
        if not amounts or None in amounts:
            return None
        return sum(amount.joules for amount in amounts if amount) / ((window[1] - window[0]) / 1e9)

    @property
    def simulated(self) -> bool:
        """Whether the channels that energy is told of are made up."""
        return any(each.simulated for each in self._used)

    def of(self, windows: list[tuple[energy.Window, int]]) -> Energy:
        """Energy of the inferences in these windows."""
        if self._off or not self._main:
            return Energy(status="off" if self._off else "no sensor", reason=self._why)
        first, slowest_s = self._used[0], max(each or 0.0 for each in self._renewed_s)
        facts: dict[str, Any] = {
            "source": first.source, "channels": [each.channel for each in self._used], "scope": first.scope,
            "simulated": first.simulated, "update_hz": min(each.update_hz for each in self._used),
            "readings_hz": 1 / slowest_s if slowest_s else None,
        }  # fmt: skip
        if reason := self._why_none(windows):
            return Energy(status="refused", reason=reason, **facts)
        idles = [energy.idle_power(trace, self._idle_windows) for trace in self._traces]
        known = [idle for idle in idles if idle is not None]
        found = energy.per_inference(self._traces, windows, known) if len(known) == len(idles) else None
        if found is None:
            reason = f"the readings of {first.source} do not cover the launches and the idle time"
            return Energy(status="refused", reason=reason, **facts)
        return Energy(
            status="measured", **facts, mj=found.median_mj, interval_mj=found.interval_mj, gross_mj=found.gross_mj,
            launches_mj=found.launches_mj, power_w=found.power_w, left_out=found.left_out,
            idle_w=sum(idle.watts for idle in known), idle_drift_w=sum(idle.drift_w for idle in known),
        )  # fmt: skip

    def _why_none(self, windows: list[tuple[energy.Window, int]]) -> str:
        """Why these readings cannot tell the energy of these launches; "" where they may."""
        if reason := why_not_added(self._main):
            return reason
        for each, renewed_s in zip(self._used, self._renewed_s, strict=True):
            if not any(value is not None for value in each.values):
                return f"{each.channel}: {each.errors[-1][1]}" if each.errors else f"{each.channel} was never read"
            if renewed_s is None:
                return (
                    f"{each.channel} of {each.source} read the same all the time, so nothing shows that it is renewed"
                )
        if len(self._idle_windows) < 2:
            return "idle power is not known from before and after the launches"
        slowest_s, first = max(each or 0.0 for each in self._renewed_s), self._used[0]
        shortest_s = min(((end - begin) / 1e9 for (begin, end), _ in windows), default=0.0)
        if shortest_s < energy.FEWEST_READINGS * slowest_s or not windows:
            rate = f"which gives {1 / slowest_s:.3g} readings a second" if slowest_s else "which gives no readings"
            return f"launches of {shortest_s:.2g} s are too short for {first.source}, {rate}"
        return ""


def _readings(source: Record, channel: Record, parts: list[Record]) -> SensorReadings:
    name = channel["name"]
    t_ns = [stamp for part in parts for stamp in part["t_ns"]]
    values = [value for part in parts for value in part["values"][name]]
    period_s, rated = _median_step_s(t_ns), {**source, **channel}  # a run of long ago has one rate for all
    return SensorReadings(
        source=source["source"], channel=name, scope=channel["scope"], total=channel["total"],
        unit="J" if channel["counts"] == "energy" else "W", simulated=source["simulated"],
        update_hz=1 / rated["update_s"], rate_seen=rated["rate_seen"], resolution=_resolution(channel, values),
        read_hz=1 / period_s if period_s else None, t_ns=t_ns, values=values,
        errors=[(stamp, reason) for part in parts for stamp, which, reason in part["errors"] if which == name],
    )  # fmt: skip


def _median_step_s(t_ns: list[int]) -> float:
    """How far stamps are apart; 0 with fewer than two."""
    return float(np.median(np.diff(np.sort(np.array(t_ns, np.int64))))) / 1e9 if len(t_ns) > 1 else 0.0


def _resolution(channel: Mapping[str, Any], values: list[float | None]) -> float:
    """Its smallest step. Where nothing but the few values tells it that there were before the run, or not even those,
    the run's own tell it better: two that the load had set far apart are no step of the sensor's."""
    known = float(channel["resolution"])
    if channel["counts"] == "energy" or (known and not channel.get("resolution_seen")):
        return known
    steps = np.diff(np.unique([value for value in values if value is not None]))
    return min([float(step) for step in steps] + [known] * bool(known), default=0.0)


def _renewed_s(readings: SensorReadings, source: Record, channel: Mapping[str, Any]) -> float | None:
    """How far apart readings are that tell something new: as far as they are renewed, or read where that is less often.
    Where watching did not show how often they are renewed, the run's own changes do; if there are none, None unless
    another channel of the source shows that it is alive."""
    read_s = 1 / readings.read_hz if readings.read_hz else 0.0
    if readings.rate_seen or {**source, **channel}.get("rate_declared"):
        return max(1 / readings.update_hz, read_s)
    if source.get("stamped"):
        return read_s
    good = [(at, value) for at, value in zip(readings.t_ns, readings.values, strict=True) if value is not None]
    changes = [at for (at, value), (_, before) in zip(good[1:], good, strict=False) if value != before]
    if not changes:
        return max(1 / readings.update_hz, read_s) if source["rate_seen"] else None
    return max(read_s, _median_step_s(changes) or (good[-1][0] - good[0][0]) / 2e9)


def _trace(readings: SensorReadings, channel: Mapping[str, Any], renewed_s: float) -> energy.Trace:
    good = [(stamp, value) for stamp, value in zip(readings.t_ns, readings.values, strict=True) if value is not None]
    stamps, values = zip(*sorted(good), strict=True) if good else ((), ())
    return energy.Trace(
        np.array(stamps, np.int64), np.array(values, float), readings.unit == "J", readings.resolution, renewed_s,
        channel["wraps_at"],
    )  # fmt: skip
