"""What the readings of a run's sensors say of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from edgesparse import energy
from edgesparse.store import Record


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What one inference takes. `status` is "measured", "no sensor", "off", or "refused": `reason` says why nothing is
    claimed. `mj` is millijoules above idle, the median over launches; `interval_mj` its 95 % interval, widened by what
    the sensor's resolution and rate and the baseline leave open; `gross_mj` is with idle power. `of_dense` is this over
    dense's, where both were measured. `scope` says where: two scopes never compare."""

    status: str
    reason: str = ""
    source: str = ""
    channels: list[str] = msgspec.field(default_factory=list)
    scope: str = ""
    simulated: bool = False
    update_hz: float | None = None
    mj: float | None = None
    interval_mj: tuple[float, float] | None = None
    gross_mj: float | None = None
    launches_mj: list[float] = msgspec.field(default_factory=list)
    power_w: float | None = None
    idle_w: float | None = None
    idle_drift_w: float | None = None
    of_dense: float | None = None


class SensorReadings(msgspec.Struct, frozen=True, kw_only=True):
    """Every reading of one channel: stamps in nanoseconds on the board's monotonic clock, values in `unit` (W, or J of
    a counter), null where one failed; `errors` has when and why. `update_hz` is how often the source is renewed, found
    by watching it where `rate_seen`."""

    source: str
    channel: str
    scope: str
    unit: str
    total: bool
    simulated: bool
    update_hz: float
    rate_seen: bool
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
        self._main = energy.main_channels(self._sources)
        names = {(source, channel["name"]) for source, channel in self._main}
        self._used = [each for each in self.sensors if (each.source, each.channel) in names]
        self._traces = [_trace(each, channel) for each, (_, channel) in zip(self._used, self._main, strict=True)]

    def watts(self, window: energy.Window) -> float | None:
        """Mean power in a window, of the channels that energy is told of; None where the readings do not cover it."""
        amounts = [energy.joules(trace, window) for trace in self._traces]
        if not amounts or None in amounts:
            return None
        return sum(amount.joules for amount in amounts if amount) / ((window[1] - window[0]) / 1e9)

    def of(self, windows: list[tuple[energy.Window, int]]) -> Energy:
        """Energy of the inferences in these windows."""
        if self._off or not self._main:
            return Energy(status="off" if self._off else "no sensor", reason=self._why)
        first = self._used[0]
        facts: dict[str, Any] = {
            "source": first.source, "channels": [each.channel for each in self._used], "scope": first.scope,
            "simulated": first.simulated, "update_hz": first.update_hz,
        }  # fmt: skip
        failed = next((each for each in self._used if None in each.values and not any(each.values)), None)
        if failed:
            return Energy(status="refused", reason=f"{failed.channel}: {failed.errors[-1][1]}", **facts)
        shortest_s = min(((end - begin) / 1e9 for (begin, end), _ in windows), default=0.0)
        if shortest_s * first.update_hz < energy.FEWEST_READINGS:
            rate = f"renewed {first.update_hz:.3g} times a second"
            reason = f"launches of {shortest_s:.2g} s are too short for {first.source}, {rate}"
            return Energy(status="refused", reason=reason, **facts)
        return self._summed(windows, facts)

    def _summed(self, windows: list[tuple[energy.Window, int]], facts: Record) -> Energy:
        """One channel's, or the sum of rails where there is no total."""
        idles = [energy.idle_power(trace, self._idle_windows) for trace in self._traces]
        found = [
            energy.per_inference(trace, windows, idle) for trace, idle in zip(self._traces, idles, strict=True) if idle
        ]
        complete = [each for each in found if each is not None]
        if len(complete) < len(self._traces):
            return Energy(status="refused", reason="the readings do not cover the launches and the idle time", **facts)
        known = [idle for idle in idles if idle is not None]
        bounded = [each.interval_mj for each in complete if each.interval_mj]
        interval = (sum(low for low, _ in bounded), sum(high for _, high in bounded))
        return Energy(
            status="measured", **facts, mj=sum(each.median_mj for each in complete),
            interval_mj=interval if len(bounded) == len(complete) else None,
            gross_mj=sum(each.gross_mj for each in complete),
            launches_mj=[sum(each) for each in zip(*(each.launches_mj for each in complete), strict=True)],
            power_w=sum(each.power_w for each in complete), idle_w=sum(idle.watts for idle in known),
            idle_drift_w=sum(idle.drift_w for idle in known),
        )  # fmt: skip


def _readings(source: Record, channel: Record, parts: list[Record]) -> SensorReadings:
    name = channel["name"]
    return SensorReadings(
        source=source["source"], channel=name, scope=channel["scope"], total=channel["total"],
        unit="J" if channel["counts"] == "energy" else "W", simulated=source["simulated"],
        update_hz=1 / source["update_s"], rate_seen=source["rate_seen"], resolution=channel["resolution"],
        t_ns=[stamp for part in parts for stamp in part["t_ns"]],
        values=[value for part in parts for value in part["values"][name]],
        errors=[(stamp, reason) for part in parts for stamp, which, reason in part["errors"] if which == name],
    )  # fmt: skip


def _trace(readings: SensorReadings, channel: Mapping[str, Any]) -> energy.Trace:
    good = [(stamp, value) for stamp, value in zip(readings.t_ns, readings.values, strict=True) if value is not None]
    stamps, values = zip(*sorted(good), strict=True) if good else ((), ())
    return energy.Trace(
        np.array(stamps, np.int64), np.array(values, float), readings.unit == "J", readings.resolution,
        1 / readings.update_hz, channel["wraps_at"],
    )  # fmt: skip
