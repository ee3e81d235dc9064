"""What a board's clock may be said to have measured. Pure: no files, no clock.

An emulated board has no latency of its own: what its clock shows depends on this machine and on the emulator. In
counting mode its clock shows the instructions that it executed, one a nanosecond, and these are the program's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Quantity = Literal["latency", "instructions", "nothing"]

NO_LATENCY = "emulated: no latency"


def quantity_of(board: Mapping[str, Any]) -> Quantity:
    """What a run measures on a board, as the stored run describes it (`bench.describe`)."""
    if not board.get("emulated"):
        return "latency"
    return "instructions" if board.get("counts_instructions") else "nothing"


def without_times(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the csr backend's kernels report, without the one time in it that the board's clock told."""
    return None if report is None else {**report, "packing_ms": None}


def millions(instructions: float | None) -> str:
    """A number of instructions in millions, four digits or one decimal; a dash for none."""
    if instructions is None:
        return "-"
    value = instructions / 1e6
    return f"{value:.1f}" if value >= 100 else f"{value:.4g}"
