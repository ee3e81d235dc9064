"""On what, and under what conditions, a document's numbers were taken."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgesparse import __version__
from edgesparse.agent.conditions import board_facts, read_conditions

# Of the flags of /proc/cpuinfo, those that decide which kernels run.
_ISA_FLAGS = ("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx_vnni",
              "amx_tile", "asimd", "neon", "asimddp", "fphp", "sve", "i8mm")  # fmt: skip

# Load by others, in per cent of one core, above which a document carries a warning.
BUSY_PERCENT = 20.0


def about() -> dict[str, Any]:
    """The machine and the software; nothing that names a person or a place."""
    facts = board_facts()
    facts.pop("hostname", None)
    return {"edgesparse": __version__, **facts, "flags": [flag for flag in _ISA_FLAGS if flag in _cpu_flags()]}


def conditions(when: str) -> dict[str, Any]:
    """Load, clocks, heat, memory: see `edgesparse.agent.conditions`."""
    return read_conditions(when)


def warnings(machine: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What may have spoilt the numbers."""
    found = []
    if machine.get("virtual"):
        found.append("A virtual machine: unseen neighbours may disturb it; repeat the run.")
    busy = max(before["other_cpu_percent"], after["other_cpu_percent"])
    if busy > BUSY_PERCENT:
        found.append(f"Others used {busy:.0f} % of the CPU before or after: repeat the run on a quiet machine.")
    return found


def library(path: Path) -> dict[str, Any]:
    """Which build of the delegate it was."""
    content = path.read_bytes()
    return {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
