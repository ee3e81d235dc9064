"""Whatever else the kernel's hwmon has that measures power or counts energy: INA2xx monitors, GPUs, power supplies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import (
    ENERGY,
    GPU,
    RAIL,
    SOC,
    Channel,
    Read,
    Source,
    number,
    text,
    unique,
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
_OTHERS_FILE = "ina3221"
_STEP = 1e-6


def find(root: Path) -> Iterator[Source]:
    """One source for each chip."""
    for name in sorted({text(chip / "name") for chip in _chips(root)} - {"", _OTHERS_FILE}):
        source = Source(f"hwmon {name}", lambda name=name: _channels(root, name), _period_s(root, name))  # type: ignore[misc]
        if source.channels:
            yield source


def _chips(root: Path) -> list[Path]:
    """In the order of the devices behind them: hwmon's numbers change between boots."""
    return sorted((root / "sys/class/hwmon").glob("hwmon*"), key=lambda chip: (_device(chip), chip.name))


def _device(chip: Path) -> str:
    link = chip / "device"
    return link.resolve().name if link.exists() else ""


def _channels(root: Path, name: str) -> dict[Channel, Read]:
    found: dict[Channel, Read] = {}
    scope = _SCOPES.get(name, RAIL)
    for chip in (each for each in _chips(root) if text(each / "name") == name):
        inputs = sorted(path.name for path in chip.iterdir())
        indices = {match[1] for file in inputs if (match := re.fullmatch(r"(?:power|energy)(\d+)_\w+", file))}
        for index in sorted(indices, key=int):
            for kind, file in (("energy", "input"), ("power", "input"), ("power", "average")):
                path = chip / f"{kind}{index}_{file}"
                if path.name not in inputs:
                    continue
                label = text(chip / f"{kind}{index}_label") or f"{name} {kind}{index}"
                where = _device(chip) or chip.name
                counts = ENERGY if kind == "energy" else "power"
                channel = Channel(unique(label, found, where), scope, counts, resolution=_STEP)
                found[channel] = _millionths(path)
                break
    return found


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
