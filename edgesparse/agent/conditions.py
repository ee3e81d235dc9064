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

from edgesparse.agent.process import WORKERS
from edgesparse.agent.throttling import Throttling

_GOVERNOR = "cpu[0-9]*/cpufreq/scaling_governor"
# A Jetson's zone whose value stands for a limit and never changes (100 °C, or 50): no temperature of anything.
_NO_TEMPERATURE = "PMIC-Die"
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
    machine = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l"}.get(platform.machine(), platform.machine())
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


def read_conditions(when: str, root: Path = Path("/"), over_s: float = 0.5) -> dict[str, Any]:
    """The conditions now.

    Args:
        when: "before", "after".
        root: where proc and sys lie; another root for captured trees.
        over_s: how long to watch the load; this call takes that long.

    Returns:
        Units in the names; None or empty where the kernel does not say. `other_cpu_percent` is of one core.
    """
    live = LiveConditions(root)
    time.sleep(over_s)
    return {"when": when, **live.read(), "load_1m": round(os.getloadavg()[0], 2)}


def _now(root: Path, throttling: Throttling) -> dict[str, Any]:
    """What is told before, during and after."""
    return {
        "governor": governor(root),
        "power_mode": power_mode(root),
        "frequency_mhz": _frequencies(root) or None,
        "device_mhz": _device_frequencies(root),
        "temperature_c": _temperatures(root),
        "throttled": throttling.flags(),
        "memory_available_bytes": psutil.virtual_memory().available,
        "memory_pressure_percent": _memory_pressure(root),
    }


def governor(root: Path = Path("/")) -> str | None:
    """The governors of all cores, each once; None where the kernel does not say."""
    names = {_text(path) for path in (root / "sys/devices/system/cpu").glob(_GOVERNOR)}
    return ", ".join(sorted(name for name in names if name)) or None


def power_mode(root: Path = Path("/")) -> str | None:
    """A Jetson's power mode, by the name that its configuration gives it; None on other boards."""
    status = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    return power_modes(root).get(int(status[1]), f"mode {int(status[1])}")


def power_modes(root: Path = Path("/")) -> dict[int, str]:
    """Those that a Jetson has, by their numbers."""
    said = _text(root / "etc/nvpmodel.conf") or ""
    return {int(number): name for number, name in re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", said)}


def _frequencies(root: Path) -> list[float]:
    """Of each core, in its order; where the kernel sets none, what the CPU says of itself."""
    cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"), key=lambda path: int(path.name[3:]))
    told = [_text(core / "cpufreq/scaling_cur_freq") or "" for core in cores]
    if found := [round(int(each) / 1e3, 1) for each in told if each.isdigit()]:
        return found
    by_itself = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return [round(float(each), 1) for each in by_itself]


def _device_frequencies(root: Path) -> dict[str, float]:
    """Of GPUs, memory controllers and the like whose clock the kernel sets."""
    told = {path.parent.name: _text(path) or "" for path in sorted((root / "sys/class/devfreq").glob("*/cur_freq"))}
    return {name: round(int(value) / 1e6, 1) for name, value in told.items() if value.isdigit()}


def hottest_c(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone now; None without any."""
    return max(_temperatures(root).values(), default=None)


class LiveConditions:
    """What may change during a run, cheap enough to be read once a second.

    Args:
        root: where proc and sys lie.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._throttling = root, Throttling(root)
        self._before = self._cpu_seconds()

    def read(self) -> dict[str, Any]:
        """Temperatures, clocks, throttling, memory, and the share of one core that others than this agent and its
        workers took since the last call; None where that cannot be told."""
        return {**_now(self._root, self._throttling), "other_cpu_percent": self._other_cpu_percent()}

    def _other_cpu_percent(self) -> float | None:
        now = self._cpu_seconds()
        elapsed_s, busy_s, own_s = (later - earlier for earlier, later in zip(self._before, now))
        if elapsed_s <= 0 or own_s < 0:  # a worker is ending, and not yet among those that have: the next look tells
            return None
        self._before = now
        return round(max(0.0, busy_s - own_s) / elapsed_s * 100, 1)

    def _cpu_seconds(self) -> tuple[float, float, float]:
        """Now, what all processes have taken, and what the agent, its workers, and those that have ended took."""
        times = psutil.cpu_times()
        busy_s = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        ended = os.times()
        own_s = ended.user + ended.system + ended.children_user + ended.children_system
        for worker in tuple(WORKERS):  # those that the kernel knows of would take a look at every process
            with contextlib.suppress(psutil.Error):  # it has just ended
                used = psutil.Process(worker).cpu_times()
                own_s += used.user + used.system
        return time.monotonic(), busy_s, own_s


def _memory_pressure(root: Path) -> float | None:
    """Share of the last ten seconds in which some process waited for memory, in percent; None before Linux 4.20."""
    found = re.search(r"some avg10=([\d.]+)", _text(root / "proc/pressure/memory") or "")
    return float(found[1]) if found else None


def _temperatures(root: Path) -> dict[str, float]:
    """Thermal zones that measure, by their type; two zones of one type get their zone's name behind it."""
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _text(zone / "type") or zone.name, _text(zone / "temp")
        if value and value.lstrip("-").isdigit() and name != _NO_TEMPERATURE:
            found[name if name not in found else f"{name} ({zone.name})"] = int(value) / 1000
    return found


def _text(path: Path) -> str | None:
    """What is in it; None where there is nothing, or nothing that can be read."""
    try:
        # Unbuffered, None says that there is nothing just now, as of a Jetson's zones that are switched off; as text,
        # that would be a TypeError.
        with path.open("rb", buffering=0) as file:
            said = file.read()
    except OSError:
        return None
    return (said or b"").decode(errors="replace").strip("\0\n ") or None
