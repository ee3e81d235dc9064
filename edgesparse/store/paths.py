"""Where runs lie on this machine, and what the files of a run are called."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import platformdirs

from edgesparse.files import sync

# History of run.json. A change that an older reader would misread raises the number.
#   1  first: every record in journal.jsonl, always.
#   2  a run that has ended is packed: `packed` says so, names the files that hold its records, with their SHA-256, and
#      how it ended; there is no journal then.
VERSION = 2
READABLE = (1, 2)

RUN = "run.json"
JOURNAL = "journal.jsonl"
FOUND = "found.json"
# What a file is called until it is whole; a kill may leave one, which nobody reads.
PART = ".part-"

Record = dict[str, Any]


def data_dir() -> Path:
    """Where everything is kept that edgesparse remembers here; EDGESPARSE_DATA names another directory."""
    root = os.environ.get("EDGESPARSE_DATA")
    return Path(root).expanduser() if root else platformdirs.user_data_path("edgesparse")


def runs_dir() -> Path:
    """Where runs are kept while they go on, and for good unless EDGESPARSE_STORE says otherwise."""
    return data_dir() / "runs"


def new_run_id(board: str) -> str:
    """A new id, such as 20261122-231502-jetson-3f9a: they sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{board}-{secrets.token_hex(2)}"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file aside, sync it, and put it in its place."""
    aside = path.with_name(f"{PART}{path.name}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)
