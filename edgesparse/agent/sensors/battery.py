"""Batteries: what flows out of one is what the board takes, as long as it is not on a charger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import BOARD_INPUT, Channel, Read, Source, number, text

_STEP_W = 1e-6


def find(root: Path) -> Iterator[Source]:
    """One source for all batteries. A USB-C port's entry says what was negotiated, which measures nothing."""
    source = Source("battery", lambda: _channels(root))
    if source.channels:
        yield source


def _channels(root: Path) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        has = {path.name for path in supply.iterdir()} if supply.is_dir() else set()
        if text(supply / "type") == "Battery" and ("power_now" in has or {"voltage_now", "current_now"} <= has):
            channel = Channel(supply.name, BOARD_INPUT, resolution=_STEP_W)
            found[channel] = _drawn(supply, "power_now" in has)
    batteries = list(found)
    if len(batteries) == 1:
        only = batteries[0]
        return {Channel(only.name, only.scope, resolution=only.resolution, total=True): found[only]}
    return found


def _drawn(supply: Path, has_power: bool) -> Read:
    def read() -> float:
        status = text(supply / "status")
        if status and status != "Discharging":
            raise OSError(0, f"the battery is not what feeds the board: {status}")
        if has_power:
            return abs(number(supply / "power_now")) / 1e6
        return abs(number(supply / "voltage_now") * number(supply / "current_now")) / 1e12

    return read
