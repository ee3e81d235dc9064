"""Whatever else the kernel's hwmon has that measures power or counts energy: INA2xx monitors, GPUs, power supplies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgesparse.agent.sensors.ina3221 import NAME as OTHERS
from edgesparse.agent.sensors.source import (
    BOARD_INPUT,
    ENERGY,
    GPU,
    POWER,
    RAIL,
    SOC,
    Channel,
    Read,
    Source,
    declared_s,
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
# Labels of a monitor at a board's input.
_BOARD_INPUT = re.compile(r"v_?in|vin_sys|vdd_in", re.IGNORECASE)
# Those and others of what holds the rest of its chip: of power supplies and their converters, of a GPU's card beside
# its package, of a processor's socket beside its cores.
_TOTAL = re.compile(rf"{_BOARD_INPUT.pattern}|(.*\b)?total(\b.*)?|pin\d?|card|system|esocket\d+", re.IGNORECASE)


def find(root: Path) -> Iterator[Source]:
    """One source for each chip."""
    for name in sorted({text(chip / "name") for chip in _chips(root)} - {"", OTHERS}):
        source = Source(f"hwmon {name}", lambda name=name: _channels(root, name))  # type: ignore[misc]
        if source.channels:
            yield source


def _chips(root: Path) -> list[Path]:
    """In the order of the devices behind them: hwmon's numbers change between boots."""
    return sorted((root / "sys/class/hwmon").glob("hwmon*"), key=lambda chip: (device_of(chip), chip.name))


def _channels(root: Path, name: str) -> dict[Channel, Read]:
    chips = [_of_chip(chip, name) for chip in _chips(root) if text(chip / "name") == name]
    totals = [channel for chip in chips for channel in chip if _is_total(channel)]
    found: dict[Channel, Read] = {}
    for chip in chips:
        has_total = any(channel in totals for channel in chip)
        for channel, read in chip.items():
            # Of several cards or sockets each is a total of its own, and they may be added; what is inside may not.
            alone = totals == [channel]
            found[replace(channel, total=alone, part=has_total and channel not in totals)] = read
    return found


def _is_total(channel: Channel) -> bool:
    return not channel.nameless and _TOTAL.fullmatch(channel.name) is not None


def _of_chip(chip: Path, name: str) -> dict[Channel, Read]:
    inputs, found = set(names_in(chip)), {}
    indices = {match[1] for file in inputs if (match := _INDEX.match(file))}
    place, own, period_s = device_of(chip) or chip.name, text(chip / "label"), declared_s(chip)
    scope = _SCOPES.get(name, RAIL)
    chip = chip.resolve()  # the device's own path: another chip may get this one's number, never its place
    for index in sorted(indices, key=int):
        kind, read = _read(chip, index, inputs)
        if read is None:
            continue
        # The chip's label, of a device tree, is that of its channel where it has but one.
        label = text(chip / f"{kind}{index}_label") or (own if len(indices) == 1 else "")
        channel = Channel(label or f"{own or name} {kind}{index}", scope, place=place, declared_s=period_s)
        found[replace(
            channel, counts=ENERGY if kind == "energy" else POWER, nameless=scope == RAIL and not label,
            scope=BOARD_INPUT if _BOARD_INPUT.fullmatch(label) else scope,
        )] = read  # fmt: skip
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
