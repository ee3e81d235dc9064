"""Which cores a worker runs on: the fast ones or the small ones of a chip that has both, or a list."""

from __future__ import annotations

import os
import re
from pathlib import Path

BIG, LITTLE = "big", "little"
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_RATINGS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
# x86 chips with two kinds of cores list each kind.
_KINDS = {BIG: "sys/devices/cpu_core/cpus", LITTLE: "sys/devices/cpu_atom/cpus"}
# Cores of one kind may differ a little in their highest clocks.
_ALIKE = 0.9
_MOST_CORES = 8192


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
        chosen = _of_kind(wanted, root, allowed)
        if not chosen or chosen == allowed:
            raise ValueError(f"this board's cores are all alike, so none is {wanted}; name some of {there}")
        return sorted(chosen)
    try:
        chosen = _parsed(wanted)
    except ValueError:
        if all(_RANGE.fullmatch(word.strip()) for word in wanted.split(",")):
            raise ValueError(f"expected cores out of {there}, found {wanted}") from None
        raise ValueError(f"expected big, little or a list of cores such as 0,2-3, found {wanted!r}") from None
    if not chosen <= allowed or not chosen:
        missing = ",".join(map(str, sorted(chosen - allowed)))
        raise ValueError(f"expected cores out of {there}, found {missing or 'none'}")
    return sorted(chosen)


def _parsed(cores: str) -> set[int]:
    """The cores of a list.

    Raises:
        ValueError: it is none.
    """
    chosen: set[int] = set()
    for word in cores.split(","):
        match = _RANGE.fullmatch(word.strip())
        if not match or int(match[2] or 0) > _MOST_CORES:
            raise ValueError
        chosen |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return chosen


def _of_kind(wanted: str, root: Path, allowed: set[int]) -> set[int]:
    """The fast cores or the small ones, of those that may be used; all of them where they are alike."""
    try:
        return _parsed((root / _KINDS[wanted]).read_text().strip()) & allowed
    except (OSError, ValueError):
        pass  # no such chip
    ratings = {cpu: _rating(root, cpu) for cpu in allowed}
    best, least = max(ratings.values()), min(ratings.values())
    if wanted == BIG:
        return {cpu for cpu, rating in ratings.items() if rating >= _ALIKE * best}
    return {cpu for cpu, rating in ratings.items() if _ALIKE * rating <= least}


def _rating(root: Path, cpu: int) -> int:
    """What the kernel says a core can do: its capacity, else its highest clock."""
    for name in _RATINGS:
        try:
            return int((root / f"sys/devices/system/cpu/cpu{cpu}/{name}").read_text())
        except (OSError, ValueError):
            continue
    return 0
