"""An external meter: a command that prints a line per reading, `watts` or `seconds,watts` by the meter's own clock.

A line arrives some time after its reading, never before. So the meter's clock is laid over this machine's by the line
that came with the least delay; what that one took is all that stays unknown.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections import deque

from edgesparse.agent.sensors.source import WALL, Channel, Reading, Source

_LINES_KEPT = 100_000
# A line that is no reading, such as a heading, is counted and no more; its reason is told with the next look.
_END_S = 2.0


class Meter(Source):
    """Reads what the command prints, in a thread.

    Args:
        command: as a shell's words; run on the board.
        scope: where it is put: at the WALL, unless told.
    """

    stamped = True

    def __init__(self, command: str, scope: str = WALL) -> None:
        super().__init__("meter", dict)
        self.channels = [Channel("meter", scope, total=True)]
        self._lines: deque[tuple[int, int | None, Reading]] = deque(maxlen=_LINES_KEPT)
        self._least_delay_ns: int | None = None
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            arrived_ns = time.monotonic_ns()
            meter_ns, watts = parse(line)
            if meter_ns is not None:
                delay_ns = arrived_ns - meter_ns
                self._least_delay_ns = min(delay_ns, self._least_delay_ns or delay_ns)
            self._lines.append((arrived_ns, meter_ns, watts))
        self._lines.append((time.monotonic_ns(), None, "the meter's command has ended"))

    def take(self) -> list[tuple[int, list[Reading]]]:
        """What came since the last call, stamped with this machine's clock in nanoseconds."""
        taken = []
        while self._lines:
            arrived_ns, meter_ns, watts = self._lines.popleft()
            stamp_ns = arrived_ns if meter_ns is None else meter_ns + (self._least_delay_ns or 0)
            taken.append((stamp_ns, [watts]))
        return taken

    def close(self) -> None:
        """End the command."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def parse(line: str) -> tuple[int | None, Reading]:
    """The meter's time in nanoseconds, if it gives one, and watts; or why the line is no reading."""
    words = line.strip().split(",")
    try:
        watts = float(words[-1])
        seconds = float(words[0]) if len(words) == 2 else None
        if len(words) > 2 or watts != watts or abs(watts) == float("inf"):
            raise ValueError
    except ValueError:
        return None, f"expected watts or seconds,watts, found {line.strip()[:40]!r}"
    return None if seconds is None else round(seconds * 1e9), watts
