"""The board's store: `~/.edgesparse/` with objects by SHA-256, runs, checks. Everything is written aside, synced and
renamed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from edgesparse.agent.leftovers import sweep, writer

LOG = "agent.log"
OLD_LOG = "agent.old.log"
LOCK = "agent.lock"


class BoardStore:
    """The agent's directory on the board.

    Args:
        home: the directory; made, private to the user, if it is not there.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._verified: dict[str, tuple[int, int, int]] = {}
        for directory in (home, home / "objects", home / "runs", home / "checks", home / "agent"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def object(self, sha256: str) -> Path:
        """Where the object with this name lies or would lie."""
        return self.home / "objects" / sha256

    def run_dir(self, run: str) -> Path:
        """The directory of a run; not made here."""
        return self.home / "runs" / run

    def sweep(self) -> None:
        """Remove what writers have left here that a power cut or a signal ended half-way."""
        runs = self.home / "runs"
        named = [self.home / name for name in ("agent", "objects", "checks", "runtimes")]
        sweep([self.home, *named, *(each for each in runs.iterdir() if each.is_dir())])

    def missing(self, names: list[str]) -> list[str]:
        """Those of the named objects that are not here."""
        return [name for name in names if not self.object(name).is_file()]

    def verified(self, name: str) -> bool:
        """Whether an object's content is still what its name says; read once, and again only when the file is another.
        A damaged one is removed, so that the next push brings it again.

        Raises:
            OSError: it is not there or cannot be read.
        """
        path = self.object(name)
        stat = path.stat()
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._verified.get(name) != seen:
            if sha256_of(path) != name:
                path.unlink()
                return False
            self._verified[name] = seen
        return True

    def check_path(self, key: Any) -> Path:
        """Where the verdict of an earlier check is kept; `key` is everything that the verdict depends on, as JSON
        types."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.home / "checks" / f"{digest}.json"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()


def write_aside(path: Path, data: bytes) -> None:
    """Write a whole file: to a temporary name, synced, renamed; a crash leaves the old file or the new one."""
    aside = path.with_name(f".part-{writer()}-{path.name}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The JSON value in a file, or None where there is no whole one."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
