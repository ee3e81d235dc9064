"""What on this board would spoil a measurement, and the command that mends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgesparse.agent.conditions import read_conditions
from edgesparse.agent.sensors import find_sources

# Above these a measurement is disturbed.
BUSY_PERCENT = 10.0
HOT_C = 75.0
LEAST_MEMORY_BYTES = 200e6
PRESSURE_PERCENT = 1.0

Finding = dict[str, Any]
Ask = Callable[[Sequence[str]], str]


def examine(root: Path = Path("/"), ask: Ask | None = None) -> list[Finding]:
    """Look at the board.

    Args:
        root: where `sys` and `proc` lie.
        ask: runs a command and gives what it printed, "" where there is none.

    Returns:
        {what, found, fine, why, cure} each; `fine` is None where the board does not say, `why` tells what it spoils.
    """
    conditions = read_conditions("now", root)
    return list(_findings(root, ask or _ask, conditions))


def _finding(what: str, found: str, fine: bool | None, why: str = "", cure: str = "") -> Finding:
    spoils = fine is False
    return {"what": what, "found": found, "fine": fine, "why": why if spoils else "", "cure": cure if spoils else ""}


def _findings(root: Path, ask: Ask, conditions: dict[str, Any]) -> Iterator[Finding]:
    yield _governor(root)
    yield from _turbo(root)
    yield from _power_mode(ask)
    throttled = conditions["throttled"]
    yield _finding(
        "throttling", ", ".join(throttled) or "none", not throttled, "clocks fall in the middle of a run",
        "a fan or a heat sink; for under-voltage the power supply that came with the board",
    )  # fmt: skip
    temperatures = conditions["temperature_c"]
    hottest = max(temperatures, key=lambda zone: float(temperatures[zone]), default=None)
    yield _finding(
        "temperature", f"{temperatures[hottest]:.0f} °C ({hottest})" if hottest else "no sensor",
        None if hottest is None else temperatures[hottest] < HOT_C, "it is close to where boards throttle",
        "let it cool down first",
    )  # fmt: skip
    busy = conditions["other_cpu_percent"]
    yield _finding(
        "load", f"{busy:.0f} % CPU by others", busy <= BUSY_PERCENT, "other processes take turns with the measurement",
        "top -b -n 1 | head -15, and end what is on top",
    )  # fmt: skip
    free = conditions["memory_available_bytes"]
    yield _finding(
        "memory", f"{free / 1e6:.0f} MB free", free >= LEAST_MEMORY_BYTES, "the system reclaims memory meanwhile",
        "end what takes it: ps aux --sort=-rss | head",
    )  # fmt: skip
    yield from _battery(root)
    yield from _sensors(root)


def _governor(root: Path) -> Finding:
    names = {_text(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")}
    found = ", ".join(sorted(names - {""}))
    return _finding(
        "governor", found or "not told", None if not found else found == "performance",
        "clocks go up and down with the load", "edgesparse bench --tune, or there: echo performance | sudo tee "
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )  # fmt: skip


def _turbo(root: Path) -> Iterator[Finding]:
    no_turbo, boost = "sys/devices/system/cpu/intel_pstate/no_turbo", "sys/devices/system/cpu/cpufreq/boost"
    why = "clocks depend on heat and on how many cores are busy"
    if (value := _text(root / no_turbo)) in ("0", "1"):
        on = value == "0"
        yield _finding("turbo", "on" if on else "off", not on, why, f"echo 1 | sudo tee /{no_turbo}")
    elif (value := _text(root / boost)) in ("0", "1"):
        on = value == "1"
        yield _finding("turbo", "on" if on else "off", not on, why, f"echo 0 | sudo tee /{boost}")


def _power_mode(ask: Ask) -> Iterator[Finding]:
    """Of a Jetson: which cores are on and how fast they may be."""
    said = ask(["nvpmodel", "-q"])
    if not said:
        return
    mode = next((line.partition(":")[2].strip() for line in said.splitlines() if "Power Mode" in line), "not told")
    yield _finding(
        "power mode", mode, None if mode == "not told" else mode.upper().startswith("MAXN"),
        "cores are off or their clocks are capped: fair only against runs in this mode",
        "sudo nvpmodel -m 0 && sudo jetson_clocks",
    )  # fmt: skip


def _battery(root: Path) -> Iterator[Finding]:
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        if _text(supply / "type") == "Battery" and (status := _text(supply / "status")):
            yield _finding(
                "battery", status, status != "Discharging", "many boards lower their clocks on battery",
                "plug the charger in, unless it is the battery's power that is to be measured",
            )  # fmt: skip


def _sensors(root: Path) -> Iterator[Finding]:
    sources = find_sources(root)
    if not sources:
        yield _finding("power sensors", "none", None)
    for source in sources:
        failed = [reading for reading in source.read() if isinstance(reading, str)]
        yield _finding(
            "power sensors", f"{source.name}: {failed[0] if failed else f'{len(source.channels)} channels'}",
            not failed, "no energy is measured by it", "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
            if source.name == "rapl" else "look at them: edgesparse boards sensors BOARD",
        )  # fmt: skip
        source.close()


def _ask(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):  # no such board
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
