"""A source that is made up, for tests: EDGESPARSE_SIMULATED_POWER=<idle watts>,<busy watts>,<hertz>.

It is marked so in every output. It is busy while a worker of this agent uses the CPU, so that there is energy to find.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgesparse.agent.process import WORKERS
from edgesparse.agent.sensors.source import BOARD_INPUT, Channel, Source, text

VARIABLE = "EDGESPARSE_SIMULATED_POWER"


def find(environment: Mapping[str, str] = os.environ) -> Iterator[Source]:
    """The source, where the environment asks for it."""
    asked = environment.get(VARIABLE)
    if not asked:
        return
    try:
        idle_w, busy_w, hertz = (float(word) for word in asked.split(","))
    except ValueError:
        raise ValueError(f"expected {VARIABLE} to be idle watts, busy watts and hertz, found {asked!r}") from None
    channel = Channel("simulated", BOARD_INPUT, resolution=1e-3, total=True)
    read = _Power(idle_w, busy_w, 1 / hertz).read
    yield Source("simulated", lambda: {channel: read}, 1 / hertz, simulated=True)


class _Power:
    """Renewed once a period, as a chip's register is."""

    def __init__(self, idle_w: float, busy_w: float, period_s: float) -> None:
        self._idle_w, self._busy_w, self._period_s = idle_w, busy_w, period_s
        self._renewed_s, self._watts, self._count = -1.0, idle_w, 0

    def read(self) -> float:
        now_s = time.monotonic()
        if now_s - self._renewed_s >= self._period_s:
            self._renewed_s = now_s
            self._count += 1
            self._watts = (self._busy_w if _busy() else self._idle_w) + 1e-3 * (self._count % 2)
        return self._watts


def _busy() -> bool:
    """Whether a worker runs just now."""
    states = (text(Path(f"/proc/{pid}/stat")).rpartition(")")[2] for pid in tuple(WORKERS))
    return any(state.startswith(" R") for state in states)
