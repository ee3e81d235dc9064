"""Under what conditions a run was measured: what the kernel says of clocks, heat, load and memory. Read, never set."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

import psutil

_GOVERNOR = "devices/system/cpu/cpu0/cpufreq/scaling_governor"
_HYPERVISOR_NAMES = ("sys_vendor", "product_name")
_HYPERVISORS = (
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "xen",
    "amazon ec2",
    "google compute",
    "microsoft corporation",
    "bochs",
)


def board_facts(root: Path = Path("/")) -> dict[str, Any]:
    """What board this is: names, cores, memory, kernel, Python, and the hypervisor where there is one."""
    return {
        "hostname": platform.node(),
        "machine": platform.machine(),
        "cpu": _cpu_name(root),
        "cores": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "virtual": _hypervisor(root),
    }


def program_architecture() -> str:
    """What programs here are built for: a 32-bit system on a 64-bit ARM kernel is `armv7l`."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine(), platform.machine())
    return "armv7l" if machine == "aarch64" and sys.maxsize < 2**32 else machine


def _cpu_name(root: Path) -> str:
    model = _text(root / "proc/device-tree/model")
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return f"{value.strip()} ({model})" if model else value.strip()
    return model or platform.processor() or platform.machine()


def _hypervisor(root: Path) -> str | None:
    names = " ".join(_text(root / "sys/class/dmi/id" / name) or "" for name in _HYPERVISOR_NAMES).strip()
    if any(word in names.lower() for word in _HYPERVISORS):
        return names
    in_flags = any(
        line.startswith("flags") and " hypervisor" in line for line in (_text(root / "proc/cpuinfo") or "").splitlines()
    )
    return (names or "hypervisor") if in_flags else None


def read_conditions(when: str, root: Path = Path("/"), over_s: float = 0.2) -> dict[str, Any]:
    """The conditions now.

    Args:
        when: "before", "after".
        root: where proc and sys lie; another root for captured trees.
        over_s: how long to watch the load; this call takes that long.

    Returns:
        Units in the names; None or empty where the kernel does not say.
    """
    frequencies = [round(core.current, 1) for core in psutil.cpu_freq(percpu=True) or []]
    return {
        "when": when,
        "governor": _text(root / "sys" / _GOVERNOR),
        "frequency_mhz": frequencies or None,
        "temperature_c": _temperatures(root),
        "throttled": _throttled(root),
        "load_1m": round(os.getloadavg()[0], 2),
        "other_cpu_percent": psutil.cpu_percent(interval=over_s),
        "memory_available_bytes": psutil.virtual_memory().available,
    }


def hottest_c(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone now; None without any."""
    return max(_temperatures(root).values(), default=None)


class LiveConditions:
    """What may change during a run, cheap enough to be read once a second.

    Args:
        root: where proc and sys lie.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._agent = root, psutil.Process()
        self._before = self._cpu_seconds()

    def read(self) -> dict[str, Any]:
        """Temperatures, clocks, throttling, memory, and the share of one core that others than this agent and its
        workers took since the last call."""
        now = self._cpu_seconds()
        elapsed_s, busy_s, own_s = (later - earlier for earlier, later in zip(self._before, now))
        self._before = now
        frequencies = [round(core.current) for core in psutil.cpu_freq(percpu=True) or []]
        return {
            "temperature_c": _temperatures(self._root),
            "frequency_mhz": frequencies or None,
            "throttled": _throttled(self._root),
            "other_cpu_percent": round(max(0.0, busy_s - own_s) / elapsed_s * 100, 1) if elapsed_s > 0 else None,
            "memory_available_bytes": psutil.virtual_memory().available,
            "memory_pressure_percent": _memory_pressure(self._root),
        }

    def _cpu_seconds(self) -> tuple[float, float, float]:
        """Now, what all processes have taken, and what the agent, its workers, and those that have ended took."""
        times = psutil.cpu_times()
        busy_s = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        ended = os.times()
        own_s = ended.user + ended.system + ended.children_user + ended.children_system
        for worker in self._agent.children():
            with contextlib.suppress(psutil.Error):  # it has just ended
                used = worker.cpu_times()
                own_s += used.user + used.system
        return time.monotonic(), busy_s, own_s


def _memory_pressure(root: Path) -> float | None:
    """Share of the last ten seconds in which some process waited for memory, in percent; None before Linux 4.20."""
    found = re.search(r"some avg10=([\d.]+)", _text(root / "proc/pressure/memory") or "")
    return float(found[1]) if found else None


def _temperatures(root: Path) -> dict[str, float]:
    """Thermal zones by their type; two zones of one type get their zone's name behind it."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _text(zone / "type") or zone.name, _text(zone / "temp")
        if value and value.lstrip("-").isdigit():
            found[name if name not in found else f"{name} ({zone.name})"] = int(value) / 1000
    return found


# `vcgencmd get_throttled`, and the same bits 16 higher for what has been since boot.
_PI_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


def raspberry_pi_flags(value: int) -> list[str]:
    """What the firmware of a Raspberry Pi says of its power supply and its heat, now and since boot."""
    now = [f"{what} now" for bit, what in _PI_BITS.items() if value >> bit & 1]
    return now + [f"{what} since boot" for bit, what in _PI_BITS.items() if value >> (bit + 16) & 1]


def _throttled(root: Path) -> list[str]:
    """What the firmware of a Raspberry Pi says, and x86 cores whose kernel counts a thermal throttling."""
    flags: list[str] = []
    for path in root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"):
        with contextlib.suppress(ValueError):
            flags += raspberry_pi_flags(int(_text(path) or "0", 16))
    return flags + [
        f"{path.parent.parent.name} throttled {count} times"
        for path in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
        if (count := _text(path) or "0") != "0"
    ]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
