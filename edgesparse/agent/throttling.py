"""What holds a board's clocks down: the firmware of a Raspberry Pi, a Jetson's over-current guard, the kernel's
cooling, x86 cores that get too hot. A flag that ends in "now" holds as it is read; a count is one since boot."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgesparse.agent.sensors.source import number, text

Ask = Callable[[Sequence[str]], str]
MODEL = "proc/device-tree/model"

# `vcgencmd get_throttled`, and the same bits 16 higher for what has been since boot.
_PI_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
# Cooling by slowing down; fans are none.
_SLOWING = re.compile(r"cpufreq|devfreq|throttle|cpu-balanced|gpu-balanced|^Processor$")
_CPUS = "sys/devices/system/cpu"
_WELL_BELOW = 0.95
_TIMEOUT_S = 5.0


def raspberry_pi_flags(value: int) -> list[str]:
    """What the firmware of a Raspberry Pi says of its power supply and its heat, now and since boot."""
    now = [f"{what} now" for bit, what in _PI_BITS.items() if value >> bit & 1]
    return now + [f"{what} since boot" for bit, what in _PI_BITS.items() if value >> (bit + 16) & 1]


def is_raspberry_pi(root: Path) -> bool:
    """By the model that its device tree names."""
    return "Raspberry Pi" in text(root / MODEL)


def raspberry_pi_says(root: Path, ask: Ask) -> int | None:
    """The bits of a Raspberry Pi's firmware, by the kernel's file, else by the firmware's command; None where neither
    tells any, and on other boards."""
    said = [text(path) for path in root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled")]
    if not said and is_raspberry_pi(root):
        said = [ask(["vcgencmd", "get_throttled"]).strip().rpartition("=")[2]]
    try:
        return int(said[0], 16) if said else None
    except ValueError:  # nothing, such as to a user outside the group video, or something else
        return None


def run(command: Sequence[str]) -> str:
    """What a command prints; "" on a board that has no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


class Throttling:
    """Looks again and again.

    Args:
        root: where `proc` and `sys` lie.
        ask: runs a command and gives what it printed.
    """

    def __init__(self, root: Path = Path("/"), ask: Ask = run) -> None:
        self._root, self._ask = root, ask
        self._before = dict(_counts(root))

    def flags(self) -> list[str]:
        """All that holds now, and all that has been since boot."""
        counts = dict(_counts(self._root))
        grown = [what for what, count in counts.items() if count > self._before.get(what, count)]
        self._before = counts
        return [
            *raspberry_pi_flags(raspberry_pi_says(self._root, self._ask) or 0),
            *_slowed(self._root),
            *(f"{what} now" for what in grown),
            *(f"{what} {count} times" for what, count in counts.items() if count),
        ]


def _slowed(root: Path) -> Iterator[str]:
    """Cooling devices that slow something down, and cores below the lowest clock that they are to have."""
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind = text(device / "type")
        if _SLOWING.search(kind) and text(device / "cur_state").lstrip("+") not in ("", "0", "-1"):
            yield f"slowed down by {kind} now"
    for policy in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq")):
        try:
            now_khz, least_khz = number(policy / "scaling_cur_freq"), number(policy / "scaling_min_freq")
        except (OSError, ValueError):
            continue
        if now_khz < _WELL_BELOW * least_khz:
            yield f"{policy.parent.name} below its lowest clock now"


def _counts(root: Path) -> Iterator[tuple[str, int]]:
    """What the kernel counts of x86 cores, and of a Jetson's over-current guard, since boot."""
    for path in sorted((root / _CPUS).glob("cpu[0-9]*/thermal_throttle/core_throttle_count")):
        yield f"{path.parent.parent.name} throttled", _whole(path)
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text(chip / "name").startswith("soctherm"):
            for path in sorted(chip.glob("oc[0-9]*_event_cnt")):
                yield f"over-current {path.name.partition('_')[0]} throttled", _whole(path)


def _whole(path: Path) -> int:
    try:
        return int(number(path))
    except (OSError, ValueError):
        return 0
