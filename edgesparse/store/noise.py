"""By how much a board's latency differs from itself: found by `bench --aa`, remembered for the runs to come."""

from __future__ import annotations

import json
import platform
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from edgesparse.store.paths import Record, data_dir

# History of the file.
#   1  first.
NOISE_VERSION = 1


@dataclass(frozen=True)
class NoiseFloor:
    """By how much of its latency a file at most differed from itself on a board, and the run that found it."""

    share: float
    run: str


def keep_noise_floor(board: Record, floor: NoiseFloor) -> None:
    """Remember it for the runs to come on this board, in the place of an older one."""
    path = _noise_file(board)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".part-{secrets.token_hex(4)}")
    aside.write_text(json.dumps({"version": NOISE_VERSION, "address": board["address"], **asdict(floor)}) + "\n")
    aside.replace(path)


def find_noise_floor(board: Record) -> NoiseFloor | None:
    """The noise floor of a board, if it was measured; not that of another one that has or once had its name."""
    paths, here = [_noise_file(board)], _hostname({})
    if board.get("address") is None and _hostname(board) == here:
        paths.append(_noise_dir() / f"{board['name']}.json")  # as it was called before hosts were told apart
    for path in paths:
        try:
            found = json.loads(path.read_bytes())
            if (found["version"], found["address"]) == (NOISE_VERSION, board["address"]):
                return NoiseFloor(float(found["share"]), str(found["run"]))
        except (OSError, ValueError, TypeError, KeyError):  # never measured, or not by this version
            continue
    return None


def _noise_file(board: Record) -> Path:
    """A board without an address is the machine itself: several of them, each called local, may share a directory."""
    name = str(board["name"]) if board.get("address") else f"{board['name']}@{_hostname(board)}"
    return _noise_dir() / f"{name}.json"


def _hostname(board: Record) -> str:
    """As the board told it, else this machine's; nothing of it leaves the directory."""
    return re.sub(r"[^\w.-]", "_", str(board.get("hostname") or platform.node()))


def _noise_dir() -> Path:
    return data_dir() / "noise"
