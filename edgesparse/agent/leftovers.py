"""Temporary names that tell who writes, so that what the dead have left is told from what the living still write.

A writer is a process, when that began by the kernel's clock, and the boot that it belongs to: after a power cut a small
board gives the same numbers to other processes within seconds. A name is `.part-PID.BEGAN.BOOT`, and anything after one
more hyphen. `boards/putting.py` makes and sweeps such names in a shell.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

_PART = re.compile(r"\.part-(\d+)\.(\d+)\.([0-9a-f]+)(?:-.*)?", re.DOTALL)


def writer() -> str:
    """This process, as temporary names have it. Also sent to boards as it stands here, so it needs nothing else."""
    with open("/proc/self/stat") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
        fields = stat.read()  # the program's name comes second, in brackets, and may hold anything
        return ".".join([fields.split(" ", 1)[0], fields.rpartition(")")[2].split()[19], boot.read(8)])


def sweep(directories: Iterable[Path]) -> int:
    """Remove what writers that are no more have left in these directories; returns how much that was.

    Raises:
        OSError: something of it cannot be removed.
    """
    swept = 0
    for path in (path for directory in directories for path in directory.glob(".part-*")):
        found = _PART.fullmatch(path.name)
        if found is None or _lives(*found.groups()):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # another sweeper may be at it
        else:
            path.unlink(missing_ok=True)
        swept += 1
    return swept


def _lives(pid: str, began: str, boot: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        now = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:  # there is no such process
        return False
    return (fields[19], now) == (began, boot)
