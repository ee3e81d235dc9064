"""Whatever else the kernel's hwmon has that measures power or counts energy: INA2xx monitors, GPUs, power supplies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.ina3221 import NAME as OTHERS
from edgesparse.agent.sensors.source import (
    ENERGY,
    GPU,
    POWER,
    RAIL,
    SOC,
    Channel,
    Read,
    Source,
    device_of,
    names_in,
    number,
    text,
)

# Chips whose scope their driver's name tells; of any other it is only known that it is one rail of several.
_SCOPES = {
    "amdgpu": GPU,
    "nouveau": GPU,
    "i915": GPU,
    "xe": GPU,
    "fam15h_power": SOC,
    "zenpower": SOC,
    "amd_energy": SOC,
}
_INDEX = re.compile(r"(?:power|energy|curr)(\d+)_(?:input|average)$")
_POWER = re.compile(r"power\d+_(?:input|average)$")
_STEP = 1e-6


def find(root: Path) -> Iterator[Source]:
    """One source for each chip."""
    for name in sorted({text(chip / "name") for chip in _chips(root)} - {"", OTHERS}):
        source = Source(f"hwmon {name}", lambda name=name: _channels(root, name), _period_s(root, name))  # type: ignore[misc]
        if source.channels:
            yield source


def _chips(root: Path) -> list[Path]:
    """In the order of the devices behind them: hwmon's numbers change between boots."""
    return sorted((root / "sys/class/hwmon").glob("hwmon*"), key=lambda chip: (device_of(chip), chip.name))


def _channels(root: Path, name: str) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    for chip in (each for each in _chips(root) if text(each / "name") == name):
        inputs = set(names_in(chip))
        indices = {match[1] for file in inputs if (match := _INDEX.match(file))}
        for index in sorted(indices, key=int):
            kind, read = _read(chip, index, inputs)
            if read is not None:
                label = text(chip / f"{kind}{index}_label") or f"{name} {kind}{index}"
                counts, place = (ENERGY if kind == "energy" else POWER), device_of(chip) or chip.name
                found[Channel(label, _SCOPES.get(name, RAIL), counts, resolution=_STEP, place=place)] = read
    return found


def _read(chip: Path, index: str, inputs: set[str]) -> tuple[str, Read | None]:
    """What is best of one number: counted energy, else power, else smoothed power, else voltage times current."""
    for kind, file in (("energy", "input"), ("power", "input"), ("power", "average")):
        if f"{kind}{index}_{file}" in inputs:
            return kind, _millionths(chip / f"{kind}{index}_{file}")
    volts, amperes = f"in{index}_input", f"curr{index}_input"
    alike = text(chip / f"in{index}_label") == text(chip / f"curr{index}_label")
    # A voltage and a current of one number need not be of one rail, unless their labels say so.
    if {volts, amperes} <= inputs and alike and not any(_POWER.match(file) for file in inputs):
        return "curr", _product(chip / volts, chip / amperes)
    return "", None


def _product(millivolts: Path, milliamperes: Path) -> Read:
    return lambda: number(millivolts) * number(milliamperes) / 1e6


def _millionths(path: Path) -> Read:
    """Of microwatts or microjoules."""
    return lambda: number(path) / 1e6


def _period_s(root: Path, name: str) -> float | None:
    for chip in _chips(root):
        if text(chip / "name") == name:
            try:
                return number(chip / "update_interval") / 1e3 or None
            except (OSError, ValueError):
                continue
    return None
