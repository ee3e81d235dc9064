"""Batteries: what flows out of them is what the board takes, as long as nothing else feeds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import BOARD_INPUT, Channel, Read, Source, names_in, number, text

_SUPPLIES = "sys/class/power_supply"
_FEEDS = re.compile(r"Mains|Wireless|BrickID|USB.*")


def find(root: Path) -> Iterator[Source]:
    """One source for all batteries that feed the board; a mouse's does not. A USB-C port's entry says what was
    negotiated, which measures nothing."""
    source = Source("battery", lambda: _channels(root))
    if source.channels:
        yield source


def batteries(root: Path) -> list[Path]:
    """Those that feed the board, in the order of their names."""
    supplies = [root / _SUPPLIES / name for name in names_in(root / _SUPPLIES)]
    return [each for each in supplies if text(each / "type") == "Battery" and text(each / "scope") != "Device"]


def feeders(root: Path) -> list[str]:
    """The chargers and ports that power comes in by just now; a port that gives power to a phone is not online."""
    return [
        name
        for name in names_in(root / _SUPPLIES)
        if _FEEDS.fullmatch(text(root / _SUPPLIES / name / "type"))
        and text(root / _SUPPLIES / name / "scope") != "Device"
        and text(root / _SUPPLIES / name / "online") not in ("", "0")
    ]


def _channels(root: Path) -> dict[Channel, Read]:
    all_, found = batteries(root), {}
    for supply in all_:
        has = set(names_in(supply))
        if "power_now" in has or {"voltage_now", "current_now"} <= has:
            channel = Channel(supply.name, BOARD_INPUT, total=len(all_) == 1)
            found[channel] = _drawn(root, supply, all_, "power_now" in has)
    return found


def _drawn(root: Path, supply: Path, all_: list[Path], has_power: bool) -> Read:
    def read() -> float:
        states = [text(each / "status") for each in all_]
        # With two, the board empties one after the other, and the one that waits its turn gives nothing.
        if any(states) and ("Charging" in states or "Discharging" not in states):
            own = text(supply / "status") or "it does not say"
            raise OSError(0, f"the battery is not what feeds the board: {own}")
        if feeding := feeders(root):  # a weak charger beside which the battery runs down all the same
            raise OSError(0, f"the battery is not all that feeds the board: {feeding[0]} is online")
        if has_power:
            return abs(number(supply / "power_now")) / 1e6
        return abs(number(supply / "voltage_now") * number(supply / "current_now")) / 1e12

    return read
