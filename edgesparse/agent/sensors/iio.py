"""NVIDIA Jetson with JetPack 4: the same INA3221 monitors, through the kernel's industrial I/O."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.ina3221 import is_connected, rail
from edgesparse.agent.sensors.source import Channel, Read, Source, names_in, number, text

_STEP_W = 1e-3


def find(root: Path) -> Iterator[Source]:
    """One source for all monitors of the board."""
    source = Source("ina3221x", lambda: _channels(root))
    if source.channels:
        yield source


def _channels(root: Path) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for monitor in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        has = set(names_in(monitor))
        for index in (0, 1, 2):
            label = text(monitor / f"rail_name_{index}")
            power, volts, amperes = (f"in_{kind}{index}_input" for kind in ("power", "voltage", "current"))
            if not is_connected(label):
                continue
            channel = rail(label, monitor.parent.name, _STEP_W)
            if power in has or not {volts, amperes} <= has:
                found[channel] = _milliwatts(monitor / power)
            else:
                found[channel] = _milliwatts_of(monitor / volts, monitor / amperes)
    return found


def _milliwatts(path: Path) -> Read:
    return lambda: number(path) / 1e3


def _milliwatts_of(millivolts: Path, milliamperes: Path) -> Read:
    return lambda: number(millivolts) * number(milliamperes) / 1e6
