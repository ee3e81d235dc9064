"""RAPL: energy counters of x86 processors, which wrap, and which most kernels let root alone read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import (
    BOARD_INPUT,
    ENERGY,
    RAIL,
    SOC,
    Channel,
    Read,
    Source,
    number,
    text,
)

_STEP_J = 61e-6  # 2^-14 J, the usual unit
# What the whole platform takes, where its maker has wired that up.
_PLATFORM = "psys"


def find(root: Path) -> Iterator[Source]:
    """One source for all domains."""
    source = Source("rapl", lambda: _channels(root))
    if source.channels:
        yield source


def _channels(root: Path) -> dict[Channel, Read]:
    """`intel-rapl:0` is a package and `intel-rapl:0:1` a part of it; AMD's are called the same."""
    found: dict[Channel, Read] = {}
    zones = [path for path in (root / "sys/class/powercap").glob("intel-rapl:*") if (path / "energy_uj").exists()]
    packages = [zone for zone in zones if text(zone / "name").startswith("package")]
    for zone in sorted(zones, key=lambda path: [int(part) for part in path.name.split(":")[1:] if part.isdigit()]):
        name = text(zone / "name") or zone.name
        try:
            wraps_at = number(zone / "max_energy_range_uj") / 1e6 or None
        except (OSError, ValueError):
            wraps_at = None
        scope = SOC if zone in packages else BOARD_INPUT if name == _PLATFORM else RAIL
        total = name == _PLATFORM or (zone in packages and len(packages) == 1)
        found[Channel(name, scope, ENERGY, _STEP_J, wraps_at, total=total, place=_place(zone))] = _microjoules(
            zone / "energy_uj"
        )
    return found


def _place(zone: Path) -> str:
    """A part's is its package, by name: packages have other numbers after another boot."""
    parent, _, part = zone.name.rpartition(":")
    return text(zone.parent / parent / "name") if ":" in parent and part else zone.name


def _microjoules(path: Path) -> Read:
    return lambda: number(path) / 1e6
