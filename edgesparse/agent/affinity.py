"""Which cores a worker runs on: the fast ones or the small ones of a chip that has both, or a list."""

from __future__ import annotations

import os
import re
from pathlib import Path

BIG, LITTLE = "big", "little"
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_RATINGS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")


def choose_cpus(wanted: str, root: Path = Path("/"), allowed: set[int] | None = None) -> list[int]:
    """The cores that a word or a list means.

    Args:
        wanted: "big", "little", or a list such as "0,2-3".
        root: where `sys` lies.
        allowed: the cores that this process may use; asked of the kernel where None.

    Raises:
        ValueError: no such cores; says which there are.
    """
    allowed = os.sched_getaffinity(0) if allowed is None else allowed
    there = ",".join(map(str, sorted(allowed)))
    if wanted in (BIG, LITTLE):
        ratings = {cpu: _rating(root, cpu) for cpu in allowed}
        if len(set(ratings.values())) < 2:
            raise ValueError(f"this board's cores are all alike, so none is {wanted}; name some of {there}")
        rating = max(ratings.values()) if wanted == BIG else min(ratings.values())
        return sorted(cpu for cpu, found in ratings.items() if found == rating)
    chosen: set[int] = set()
    for word in wanted.split(","):
        match = _RANGE.fullmatch(word.strip())
        if not match:
            raise ValueError(f"expected big, little or a list of cores such as 0,2-3, found {wanted!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > 4096:
            raise ValueError(f"expected cores out of {there}, found {word.strip()}")
        chosen |= set(range(first, last + 1))
    if not chosen <= allowed or not chosen:
        missing = ",".join(map(str, sorted(chosen - allowed)))
        raise ValueError(f"expected cores out of {there}, found {missing or 'none'}")
    return sorted(chosen)


def _rating(root: Path, cpu: int) -> int:
    """What the kernel says a core can do: its capacity, else its highest clock."""
    for name in _RATINGS:
        try:
            return int((root / f"sys/devices/system/cpu/cpu{cpu}/{name}").read_text())
        except (OSError, ValueError):
            continue
    return 0
