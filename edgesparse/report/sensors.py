"""A board's power sensors on the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from edgesparse import energy
from edgesparse.agent.sensors.told import candidates, why_not_added
from edgesparse.report.tables import new_table


def render(board: str, look: dict[str, Any]) -> RenderableType:
    """A row for each channel.

    Args:
        look: what the agent read in a second.
    """
    told = [Text(f"{board}: {look['error']}")] if look["error"] else []
    if not look["sources"]:
        none = f"{board}: no power sensor that edgesparse knows; energy is then not measured, and never guessed."
        return Group(*(told or [Text(none)]))
    heads = ("source", "channel", "scope", "now", "resolution", "renewed", "")
    table = new_table(board, *heads, right=["now", "resolution"])
    main = next(iter(candidates(look["sources"])), [])
    if reason := why_not_added(main):
        told.append(Text(f"{board}: no energy is told: {reason}"))
    used = {(source, channel["name"]) for source, channel in main if not reason}
    for source in look["sources"]:
        for channel in source["channels"]:
            rated = {**source, **channel}
            rate = f"{1 / rated['update_s']:.3g} Hz" + ("" if rated["rate_seen"] else " (not seen)")
            unit = "J" if channel["counts"] == "energy" else "W"
            step = f"{channel['resolution'] * 1e3:.3g} m{unit}" if channel["resolution"] else "-"
            note = "energy is told of it" if (source["source"], channel["name"]) in used else ""
            name = f"{source['source']} (SIMULATED)" if source["simulated"] else source["source"]
            shown = _now(source, channel)
            table.add_row(name, channel["name"], channel["scope"], shown, step, rate, _error(source, channel) or note)
    return Group(*told, table)


def _now(source: dict[str, Any], channel: dict[str, Any]) -> str:
    """Mean watts of what was read; of a counter its speed."""
    pairs = zip(source["t_ns"], source["values"].get(channel["name"], ()), strict=False)
    read = [(stamp, value) for stamp, value in pairs if value is not None]
    if channel["counts"] == "energy":
        if len(read) < 2 or read[-1][0] == read[0][0]:
            return "-"
        joules = energy.unwrapped(np.array([value for _, value in read]), channel["wraps_at"])
        return f"{(joules[-1] - joules[0]) / (read[-1][0] - read[0][0]) * 1e9:.3f} W"
    return f"{np.mean([value for _, value in read]):.3f} W" if read else "-"


def _error(source: dict[str, Any], channel: dict[str, Any]) -> str:
    return next((reason for _, name, reason in reversed(source["errors"]) if name == channel["name"]), "")
