"""Under what conditions a run was measured: what the kernel says of clocks, heat, load and memory. Read, never set."""

from __future__ import annotations

import os
import platform
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


def _temperatures(root: Path) -> dict[str, float]:
    """Thermal zones by their type; two zones of one type get their zone's name behind it."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _text(zone / "type") or zone.name, _text(zone / "temp")
        if value and value.lstrip("-").isdigit():
            found[name if name not in found else f"{name} ({zone.name})"] = int(value) / 1000
    return found


def _throttled(root: Path) -> list[str]:
    """x86 cores whose kernel counts a thermal throttling."""
    return [
        f"{path.parent.parent.name} throttled {count} times"
        for path in sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
        if (count := _text(path) or "0") != "0"
    ]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ") or None
    except OSError:
        return None
