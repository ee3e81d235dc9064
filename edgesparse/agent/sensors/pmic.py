"""Raspberry Pi 5: its power management chip, asked through the firmware. What it gives out is not what the board takes
in: the regulators' own losses and whatever hangs on USB are beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from edgesparse.agent.sensors.source import RAIL, SOC, Channel, Reading, Source, text

COMMAND = ("vcgencmd", "pmic_read_adc")
SUM = "PMIC outputs"
_LINE = re.compile(r"\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(-?[\d.]+)[AV]\s*")
_TIMEOUT_S = 5.0
Ask = Callable[[], str]


def find(root: Path, ask: Ask | None = None) -> Iterator[Source]:
    """The chip, on a board that has one."""
    if "Raspberry Pi" not in text(root / "proc/device-tree/model"):
        return
    if ask is None:
        if shutil.which(COMMAND[0]) is None:
            return
        ask = _ask
    try:
        if rails := parse(ask()):
            yield Pmic(ask, sorted(rails))
    except (OSError, subprocess.SubprocessError):  # a Pi 4 has the command and no such chip
        return


def parse(said: str) -> dict[str, float]:
    """Watts of each rail that has both a current and a voltage. They pair by name; the numbers do not match."""
    values: dict[str, dict[str, float]] = {}
    for line in said.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            try:
                values.setdefault(match[1], {})[match[2]] = float(match[3])
            except ValueError:
                continue
    return {rail: found["A"] * found["V"] for rail, found in values.items() if len(found) == 2}


class Pmic(Source):
    """All rails, from one answer.

    Args:
        ask: gives what the firmware says.
        rails: those that it named at first.
    """

    elsewhere = True

    def __init__(self, ask: Ask, rails: list[str]) -> None:
        self._ask, self._rails = ask, rails
        super().__init__("pmic", dict)
        self.channels = [Channel(SUM, SOC, total=True), *(Channel(rail, RAIL) for rail in rails)]

    def read(self) -> list[Reading]:
        """The sum, then every rail. The sum needs all of them."""
        try:
            found = parse(self._ask())
        except (OSError, subprocess.SubprocessError) as error:
            return [f"vcgencmd: {error}"] * len(self.channels)
        each: list[Reading] = [found.get(rail, "the firmware did not name it") for rail in self._rails]
        missing = [rail for rail in self._rails if rail not in found]
        return [f"without {', '.join(missing)}" if missing else sum(found[rail] for rail in self._rails), *each]


def _ask() -> str:
    return subprocess.run(COMMAND, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
