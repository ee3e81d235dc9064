"""NVIDIA Jetson with JetPack 5 and 6: three-channel INA3221 monitors, through the kernel's hwmon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgesparse.agent.sensors.source import (
    BOARD_INPUT,
    RAIL,
    Channel,
    Read,
    Source,
    declared_s,
    device_of,
    number,
    text,
)

# The rails that all others are fed from, by the boards that have one: Orin NX and Nano, AGX Xavier's carrier, Nano.
TOTALS = ("VDD_IN", "POM_5V_IN")
# Rails that are fed from another one that is measured too, where there is no total: the memory of AGX Orin.
_FED_FROM = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
NAME = "ina3221"
_SHUNT_STEP_V = 40e-6


def find(root: Path) -> Iterator[Source]:
    """One source for all monitors of the board."""
    source = Source(NAME, lambda: _channels(root))
    if source.channels:
        yield source


def rail(label: str, place: str, resolution_w: float) -> Channel:
    """The channel of a monitor that a board's maker has given this label."""
    total = label in TOTALS
    return Channel(label, BOARD_INPUT if total else RAIL, resolution=resolution_w, total=total, place=place)


def is_connected(label: str) -> bool:
    """Whether there is a rail behind it: NC says that there is none, and a sum of shunts is no rail."""
    return bool(label) and "NC" not in label.upper().split("_") and not label.lower().startswith("sum of")


def _monitors(root: Path) -> list[tuple[str, Path]]:
    """Their places on the bus, and directories: hwmon's numbers change between boots. Where the driver's own directory
    is not there, by the chips' names."""
    driven = [
        (monitor.parent.parent.name, monitor)
        for monitor in (root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*")
    ]
    if not driven:
        chips = (root / "sys/class/hwmon").glob("hwmon*")
        driven = [(device_of(chip), chip) for chip in chips if text(chip / "name") == NAME]
    return sorted(driven)


def _channels(root: Path) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for place, monitor in _monitors(root):
        # By the device's own path where there are links: another chip may get this one's number, never its place.
        place, period_s, monitor = place or monitor.name, declared_s(monitor), monitor.resolve()
        for index in (1, 2, 3):  # 4 to 6 are voltages of the shunts, and 7 is their sum
            volts, amperes = monitor / f"in{index}_input", monitor / f"curr{index}_input"
            label = text(monitor / f"in{index}_label")
            # The driver hides the labels that the device tree does not give.
            name = label or (f"{place} ch{index}" if volts.exists() and amperes.exists() else "")
            if is_connected(name) and text(monitor / f"in{index}_enable") != "0":
                channel = rail(name, place, _resolution_w(monitor, index))
                found[replace(channel, nameless=not label, declared_s=period_s)] = _power(volts, amperes)
    labels = {channel.name for channel in found}
    return {replace(channel, part=_FED_FROM.get(channel.name) in labels): read for channel, read in found.items()}


def _power(millivolts: Path, milliamperes: Path) -> Read:
    return lambda: number(millivolts) * number(milliamperes) / 1e6


def _resolution_w(monitor: Path, index: int) -> float:
    """A step of the shunt's voltage, as power at the channel's voltage now."""
    try:
        ohms = number(monitor / f"shunt{index}_resistor") / 1e6
        return number(monitor / f"in{index}_input") / 1e3 * _SHUNT_STEP_V / ohms
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0
