"""Which channels energy is told of: those of the scope that holds the most, and nothing counted twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Which scope energy is told of where a board has several: the one that holds the most.
SCOPES = ("wall", "board-input", "soc", "gpu", "rail")
# Those in which the processor is.
ENCLOSING = ("wall", "board-input", "soc")

# A channel of a source, by the source's name.
Named = tuple[str, Mapping[str, Any]]


def main_channels(sources: Sequence[Mapping[str, Any]]) -> list[Named]:
    """The channels whose sum is the energy of the board: those of the scope that holds the most, its total alone where
    it has one. Simulated sources count where there are no others.

    Args:
        sources: as a run's `sensors_found` record has them.

    Returns:
        (source, channel) pairs of one source; empty without sensors, and where nothing tells that they may be added.
    """
    group = next(iter(candidates(sources)), [])
    return [] if why_not_added(group) else group


def candidates(sources: Sequence[Mapping[str, Any]]) -> list[list[Named]]:
    """What else energy could be told of, the best first, where the best gives no readings: a battery does not while a
    charger feeds the board. Only what holds the processor stands in; parts of it never do."""
    real = [source for source in sources if not source["simulated"]] or list(sources)
    found: list[list[Named]] = []
    for scope in SCOPES:
        if found and scope not in ENCLOSING:
            break
        for source in real:
            channels = [channel for channel in source["channels"] if channel["scope"] == scope]
            if totals := [channel for channel in channels if channel["total"]]:
                found.append([(source["source"], totals[0])])
            elif channels:
                found.append([(source["source"], channel) for channel in channels if not channel.get("part")])
            if channels and scope not in ENCLOSING:
                break
    return found


def why_not_added(group: Sequence[Named]) -> str:
    """Why the sum of these channels may hold something twice; "" where nothing says so."""
    nameless = [channel["name"] for _, channel in group if channel.get("nameless")]
    if len(group) < 2 or not nameless:
        return ""
    others = " and ".join(channel["name"] for _, channel in group)
    return f"nothing tells which of {others} feeds which: {nameless[0]} has no label in the device tree"
