"""What on this board would spoil a measurement, and the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgesparse.agent.conditions import governor, power_mode, power_modes, read_conditions
from edgesparse.agent.sensors import find_sources, pmic
from edgesparse.agent.sensors.battery import batteries
from edgesparse.agent.sensors.source import number, text
from edgesparse.agent.throttling import MODEL, Ask, is_raspberry_pi, raspberry_pi_says, run

# Above these a measurement is disturbed. Of one core, as everywhere.
BUSY_PERCENT = 25.0
HOT_C = 75.0
LEAST_MEMORY_BYTES = 200e6
PRESSURE_PERCENT = 1.0

_CPUS = "sys/devices/system/cpu"
_TEMPERATURES = "/sys/class/thermal/thermal_zone*/temp"
# The firmware of a Raspberry Pi answers this group alone. The agent, too, has to be started anew.
_LET_ASK = "sudo usermod -aG video $USER && sudo reboot; where there is no vcgencmd: sudo apt install raspi-utils"
# These have a chip that measures power.
_MEASURES = re.compile("Raspberry Pi (5|Compute Module 5)")

Finding = dict[str, Any]


def examine(root: Path = Path("/"), ask: Ask = run) -> list[Finding]:
    """Look at the board.

    Args:
        root: where `sys` and `proc` lie.
        ask: runs a command and gives what it printed, "" where there is none.

    Returns:
        {what, found, fine, why, cure} each; `fine` is None where the board does not say, `why` tells what it spoils or
        may spoil, and `cure` is the command that mends it or lets the board say.
    """
    return list(_findings(root, ask, read_conditions("now", root)))


def _finding(what: str, found: str, fine: bool | None, why: str = "", cure: str = "") -> Finding:
    spoils = fine is False
    return {"what": what, "found": found, "fine": fine, "why": why if spoils else "", "cure": cure if spoils else ""}


def _untold(what: str, found: str, why: str, cure: str) -> Finding:
    """What may spoil a measurement, and the command that tells."""
    return {"what": what, "found": found, "fine": None, "why": why, "cure": cure}


def _findings(root: Path, ask: Ask, conditions: dict[str, Any]) -> Iterator[Finding]:
    mode = _power_mode(root, ask)
    yield _governor(root)
    yield from _turbo(root)
    yield from _capped(root)
    yield from mode
    yield _throttling(root, ask, conditions["throttled"], jetson=bool(mode))
    yield _temperature(conditions["temperature_c"], jetson=bool(mode))
    busy = conditions["other_cpu_percent"]
    yield _finding(
        "load", f"{busy:.0f} % CPU by others", busy <= BUSY_PERCENT, "other processes take turns with the measurement",
        "top -b -n 1 | head -15, and end what is on top",
    )  # fmt: skip
    yield from _memory(conditions)
    yield from _battery(root)
    yield from _sensors(root, ask)


def _governor(root: Path) -> Finding:
    found = governor(root)
    return _finding(
        "governor", found or "not told", None if not found else found == "performance",
        "clocks go up and down with the load", "edgesparse bench --tune, or there: echo performance | sudo tee "
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )  # fmt: skip


def _turbo(root: Path) -> Iterator[Finding]:
    no_turbo, boost = f"{_CPUS}/intel_pstate/no_turbo", f"{_CPUS}/cpufreq/boost"
    why = "clocks depend on heat and on how many cores are busy"
    if (value := text(root / no_turbo)) in ("0", "1"):
        on = value == "0"
        yield _finding("turbo", "on" if on else "off", not on, why, f"echo 1 | sudo tee /{no_turbo}")
    elif (value := text(root / boost)) in ("0", "1"):
        on = value == "1"
        yield _finding("turbo", "on" if on else "off", not on, why, f"echo 0 | sudo tee /{boost}")


def _capped(root: Path) -> Iterator[Finding]:
    """Cores that may not run as fast as they can, whoever has set that."""
    limits = []
    for policy in sorted((root / _CPUS).glob("cpu[0-9]*/cpufreq")):
        try:
            limits.append(
                (policy.parent.name, number(policy / "scaling_max_freq"), number(policy / "cpuinfo_max_freq"))
            )
        except (OSError, ValueError):
            continue
    capped = [f"{core} at {most / 1e3:.0f} of {can / 1e3:.0f} MHz" for core, most, can in limits if most < can]
    if limits:
        several = f" and {len(capped) - 1} more" * (len(capped) > 1)
        yield _finding(
            "clock limit", f"{capped[0]}{several}" if capped else "none", not capped,
            "cores run slower than they can, and by how much is up to whoever set it",
            f"for c in /{_CPUS}/cpu[0-9]*/cpufreq; do sudo tee $c/scaling_max_freq "
            "< $c/cpuinfo_max_freq; done",
        )  # fmt: skip


def _power_mode(root: Path, ask: Ask) -> list[Finding]:
    """Of a Jetson: which cores are on and how fast they may be. By its own program, else by what that has written."""
    said = ask(["nvpmodel", "-q"])
    told = next((line.partition(":")[2].strip() for line in said.splitlines() if "Power Mode" in line), None)
    mode = told or power_mode(root) or ("not told" if said else None)
    if mode is None:
        return []
    fastest = next((number for number, name in power_modes(root).items() if _is_fastest(name)), None)
    why = "cores are off or their clocks are capped: fair only against runs in this mode"
    if mode == "not told" or not (_is_fastest(mode) or fastest is not None):
        return [_untold("power mode", mode, f"maybe {why}", "see each mode's cores and clocks: nvpmodel -p --verbose")]
    cure = f"sudo nvpmodel -m {fastest} && sudo jetson_clocks"
    return [_finding("power mode", mode, _is_fastest(mode), why, cure)]


def _is_fastest(mode: str) -> bool:
    """By its name. A Jetson without one such tells only in its configuration which mode is the fastest."""
    return mode.upper().startswith("MAXN")


def _throttling(root: Path, ask: Ask, flags: list[str], *, jetson: bool) -> Finding:
    why = "clocks fall in the middle of a run"
    if not flags and is_raspberry_pi(root) and raspberry_pi_says(root, ask) is None:
        return _untold("throttling", "not told: vcgencmd says nothing", f"maybe {why}", _LET_ASK)
    if any("voltage" in flag for flag in flags):
        cure = "the power supply that came with the board; then, for what has been since boot: sudo reboot"
    elif flags and all(flag.endswith("since boot") or flag.endswith("times") for flag in flags):
        cure = f"better cooling, then sudo reboot; whether it is hot now: cat {_TEMPERATURES}"
    else:
        cure = "sudo jetson_clocks --fan" if jetson else f"a fan or a heat sink, until it is cool: cat {_TEMPERATURES}"
    return _finding("throttling", ", ".join(flags) or "none", not flags, why, cure)


def _temperature(temperatures: dict[str, float], *, jetson: bool) -> Finding:
    hottest = max(temperatures, key=lambda zone: temperatures[zone], default=None)
    fan = "sudo jetson_clocks --fan; " if jetson else ""
    return _finding(
        "temperature", f"{temperatures[hottest]:.0f} °C ({hottest})" if hottest else "no sensor",
        None if hottest is None else temperatures[hottest] < HOT_C, "it is close to where boards throttle",
        f"{fan}let it cool down first: watch cat {_TEMPERATURES}",
    )  # fmt: skip


def _memory(conditions: dict[str, Any]) -> Iterator[Finding]:
    free, pressure = conditions["memory_available_bytes"], conditions["memory_pressure_percent"]
    why, cure = "the system reclaims memory meanwhile", "ps aux --sort=-rss | head, and end what takes most"
    yield _finding("memory", f"{free / 1e6:.0f} MB free", free >= LEAST_MEMORY_BYTES, why, cure)
    if pressure is not None:
        found = f"waited for in {pressure:.1f} % of the last 10 s"
        yield _finding("memory pressure", found, pressure < PRESSURE_PERCENT, why, cure)


def _battery(root: Path) -> Iterator[Finding]:
    for supply in batteries(root):
        if status := text(supply / "status"):
            yield _finding(
                "battery", status, status != "Discharging", "many boards lower their clocks on battery",
                "plug the charger in, unless it is the battery's power that is to be measured",
            )  # fmt: skip


def _sensors(root: Path, ask: Ask) -> Iterator[Finding]:
    sources = find_sources(root)
    if not sources:
        silent = bool(_MEASURES.search(text(root / MODEL))) and not pmic.parse(ask(pmic.COMMAND))
        unheard = _untold("power sensors", "none: vcgencmd says nothing", "no energy is measured", _LET_ASK)
        yield unheard if silent else _finding("power sensors", "none", None)
    for source in sources:
        failed = [reading for reading in source.read() if isinstance(reading, str)]
        name = f"{source.name} (SIMULATED)" if source.simulated else source.name
        # On a charger a battery has nothing to tell, and that is as it should be.
        fine = None if failed and source.name == "battery" else not failed
        yield _finding(
            "power sensors", f"{name}: {failed[0] if failed else f'{len(source.channels)} channels'}",
            fine, "no energy is measured by it", "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
            if source.name == "rapl" else "look at them: edgesparse boards sensors BOARD",
        )  # fmt: skip
        source.close()
