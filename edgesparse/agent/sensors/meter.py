"""An external meter: a command that prints a line per reading, `watts` or `seconds,watts` by the meter's own clock.

Where a first line names the columns, as in a logger's CSV, those of time and of power are taken, in the units that
their names end in: `timestamp_ms,voltage_v,current_a,power_mw`.

A line arrives some time after its reading, never before. So the meter's clock is laid over this machine's by the line
that came with the least delay of late; what that one took is all that stays unknown.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

from edgesparse.agent.sensors.source import WALL, Channel, Reading, Source

_LINES_KEPT = 100_000
_LONGEST_LINE = 4096
_END_S = 2.0
# Two clocks drift apart; what came with the least delay before this is no longer asked.
_OF_LATE_NS = 60_000_000_000
# No two lines that follow each other are so much farther apart by the meter's clock than they arrived.
_LEAP_NS = 60_000_000_000

# When it arrived, the meter's own time where it gave one, and its reading.
Line = tuple[int, Optional[int], Reading]  # noqa: UP045 (evaluated, also by the Python 3.9 of a board)

_TIMES = {"": 1e9, "s": 1e9, "sec": 1e9, "seconds": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_POWERS = {"": 1.0, "w": 1.0, "watts": 1.0, "mw": 1e-3, "uw": 1e-6, "kw": 1e3}
_TIME = re.compile(r"(?:time|timestamp|t)?[ _(\[]*(seconds|sec|s|ms|us|ns|)[)\]]*")
_POWER = re.compile(r"(?:power|p)?[ _(\[]*(watts|w|mw|uw|kw|)[)\]]*")


@dataclass(frozen=True)
class Columns:
    """Where time and power stand in a line, and what one of their units is in nanoseconds and in watts."""

    count: int
    time: int | None
    power: int
    ns: float = 1e9
    watts: float = 1.0


USUAL = (Columns(1, None, 0), Columns(2, 0, 1))


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
        self._lines: deque[Line] = deque(maxlen=_LINES_KEPT)
        self._delays: deque[tuple[int, int]] = deque()
        self._last: tuple[int, int] | None = None  # when the last line arrived, and its time
        self._ended = ""
        self._process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, errors="replace",
        )  # fmt: skip
        threading.Thread(target=self._listen, name="listening to the meter", daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        columns: Iterable[Columns] = USUAL
        for line in iter(lambda: self._process.stdout.readline(_LONGEST_LINE), ""):  # type: ignore[union-attr]
            arrived_ns = time.monotonic_ns()
            if named := heading(line):
                columns = (named,)
                continue
            meter_ns, watts = parse(line, columns)
            self._lines.append((arrived_ns, meter_ns, watts))
        self._ended = f"the meter's command has ended with exit status {self._process.wait()}"

    def take(self) -> list[tuple[int, list[Reading]]]:
        """What came since the last call, stamped with this machine's clock in nanoseconds. Once the command has ended,
        that it has."""
        ended = self._ended  # looked at first: no line comes behind it
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        stamped: list[tuple[int, list[Reading]]] = []
        for begun in self._by_beginnings(lines):
            for arrived_ns, meter_ns, _ in begun:
                if meter_ns is not None:
                    self._heard(arrived_ns, meter_ns)
            least_ns = self._delays[0][1] if self._delays else 0
            stamped += [(arrived if meter is None else meter + least_ns, [watts]) for arrived, meter, watts in begun]
        return stamped + ([(time.monotonic_ns(), [ended])] if ended else [])

    def _by_beginnings(self, lines: list[Line]) -> Iterator[list[Line]]:
        """The lines in parts within which the meter's clock goes on. It goes backwards where the meter has been started
        again, or where its counter of microseconds wraps, and leaps where it has been set or a line is damaged: how
        late its lines were is then not known any more."""
        part: list[Line] = []
        for line in lines:
            arrived_ns, meter_ns, _ = line
            if meter_ns is not None:
                if self._last is not None:
                    before_ns, last_ns = self._last
                    leap_ns = (meter_ns - last_ns) - (arrived_ns - before_ns)
                    if meter_ns < last_ns or leap_ns > _LEAP_NS:
                        yield part
                        part = []
                        self._delays.clear()
                self._last = arrived_ns, meter_ns
            part.append(line)
        yield part

    def _heard(self, arrived_ns: int, meter_ns: int) -> None:
        """Keep the delays that may yet be the least of the time to come, the least first."""
        delay_ns = arrived_ns - meter_ns
        while self._delays and self._delays[-1][1] >= delay_ns:
            self._delays.pop()
        self._delays.append((arrived_ns, delay_ns))
        while self._delays[0][0] < arrived_ns - _OF_LATE_NS:
            self._delays.popleft()

    def close(self) -> None:
        """End the command."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def heading(line: str) -> Columns | None:
    """The columns that a line names; None if it is no heading that names power."""
    words = [word.strip().strip('"').lower() for word in line.strip().split(",")]
    if any(_is_number(word) for word in words):
        return None
    times = [(place, match[1]) for place, word in enumerate(words) if word and (match := _TIME.fullmatch(word))]
    powers = [(place, match[1]) for place, word in enumerate(words) if word and (match := _POWER.fullmatch(word))]
    if not powers:
        return None
    (power, watts), (at, seconds) = powers[0], times[0] if times else (None, "")
    return Columns(len(words), at, power, _TIMES[seconds], _POWERS[watts])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def parse(line: str, columns: Iterable[Columns] = USUAL) -> tuple[int | None, Reading]:
    """The meter's time in nanoseconds, if it gives one, and watts; or why the line is no reading."""
    words = line.strip().split(",")
    found = next((each for each in columns if each.count == len(words)), None)
    try:
        if found is None:
            raise ValueError
        watts = float(words[found.power]) * found.watts
        meter_ns = None if found.time is None else round(float(words[found.time]) * found.ns)
        if watts != watts or abs(watts) == float("inf"):
            raise ValueError
    except (ValueError, OverflowError):
        wanted = "watts or seconds,watts" if columns is USUAL else "the columns of the heading"
        return None, f"expected {wanted}, found {line.strip()[:40]!r}"
    return meter_ns, watts
