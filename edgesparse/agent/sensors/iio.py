"""NVIDIA Jetson with JetPack 4: the same INA3221 monitors, through the kernel's industrial I/O."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.ina3221 import TOTALS
from edgesparse.agent.sensors.source import BOARD_INPUT, RAIL, Channel, Read, Source, number, text, unique


def find(root: Path) -> Iterator[Source]:
    """One source for all monitors of the board."""
    source = Source("ina3221x", lambda: _channels(root))
    if source.channels:
        yield source


def _channels(root: Path) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for monitor in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        for index in (0, 1, 2):
            label = text(monitor / f"rail_name_{index}")
            if not label or "NC" in label.upper().split("_"):
                continue
            name, total = unique(label, found, monitor.parent.name), label in TOTALS
            channel = Channel(name, BOARD_INPUT if total else RAIL, resolution=1e-3, total=total)
            found[channel] = _milliwatts(monitor / f"in_power{index}_input")
    return found


def _milliwatts(path: Path) -> Read:
    return lambda: number(path) / 1e3
