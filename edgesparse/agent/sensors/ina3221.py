"""NVIDIA Jetson with JetPack 5 and 6: three-channel INA3221 monitors, through the kernel's hwmon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import BOARD_INPUT, RAIL, Channel, Read, Source, number, text, unique

# The rails that all others are fed from, by the boards that have one: Orin NX and Nano, AGX Xavier's carrier, Nano.
TOTALS = ("VDD_IN", "POM_5V_IN")
_SHUNT_STEP_V = 40e-6


def find(root: Path) -> Iterator[Source]:
    """One source for all monitors of the board."""
    source = Source("ina3221", lambda: _channels(root), _period_s(root))
    if source.channels:
        yield source


def _monitors(root: Path) -> list[Path]:
    """Their directories, by their place on the bus: hwmon's numbers change between boots."""
    return sorted((root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*"))


def _channels(root: Path) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for monitor in _monitors(root):
        for index in (1, 2, 3):  # 4 to 6 are voltages of the shunts, and 7 is their sum
            label = text(monitor / f"in{index}_label")
            if not label or "NC" in label.upper().split("_") or label.lower().startswith("sum of"):
                continue
            name = unique(label, found, monitor.parent.parent.name)
            total = label in TOTALS
            channel = Channel(
                name, BOARD_INPUT if total else RAIL, resolution=_resolution_w(monitor, index), total=total
            )
            found[channel] = _power(monitor / f"in{index}_input", monitor / f"curr{index}_input")
    return found


def _power(millivolts: Path, milliamperes: Path) -> Read:
    return lambda: number(millivolts) * number(milliamperes) / 1e6


def _resolution_w(monitor: Path, index: int) -> float:
    """A step of the shunt's voltage, as power at the channel's voltage now."""
    try:
        ohms = number(monitor / f"shunt{index}_resistor") / 1e6
        return number(monitor / f"in{index}_input") / 1e3 * _SHUNT_STEP_V / ohms
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _period_s(root: Path) -> float | None:
    for monitor in _monitors(root):
        try:
            return number(monitor / "update_interval") / 1e3 or None
        except (OSError, ValueError):
            continue
    return None
