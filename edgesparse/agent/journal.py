"""A run's journal: numbered records, on disk before anyone is told of them."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

# For a run's last records, in whole blocks of any file system.
RESERVE_BYTES = 1 << 16


class Journal:
    """Append-only JSON lines; each record gets the next `seq` and the monotonic time `t_ns`, and is synced.

    A line that a crash cut short is dropped when the journal is opened again, so the next record takes its number.

    Args:
        path: the journal's file; made if it is not there.
        reserve: keep some space beside it, so that a full disk can still be told of; it is given up with `close`.
    """

    def __init__(self, path: Path, *, reserve: bool = False) -> None:
        self.path = path
        self._has_reserve = reserve
        if reserve:
            with _reserve_of(path).open("wb") as file:
                file.write(bytes(RESERVE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        self.seq = 0
        end = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    record = _whole(line)
                    if record is None:
                        break
                    self.seq = record["seq"]
                    end += len(line)
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self._file.truncate(end)
        self._end = self._file.seek(end)

    def append(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Write one record and sync it. Raises OSError where the disk refuses; what was written before stays whole."""
        record = {"seq": self.seq + 1, "t_ns": time.monotonic_ns(), "type": type_, **fields}
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            rest = line
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._end)  # a full disk may have taken half of the line
            self._file.seek(self._end)
            raise
        self._end += len(line)
        self.seq += 1
        return record

    def give_up_reserve(self) -> None:
        """Let the next records have the space that was kept."""
        if self._has_reserve:
            give_up_reserve(self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self.give_up_reserve()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def give_up_reserve(path: Path) -> None:
    """Let whoever writes next have the space that was kept beside a journal, also by an agent that was killed."""
    _reserve_of(path).unlink(missing_ok=True)


def _reserve_of(path: Path) -> Path:
    return path.with_suffix(".reserve")


def read_from(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole records that start at a byte offset, each with the offset behind it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            record = _whole(line)
            if record is None:
                return
            offset += len(line)
            yield offset, record


def last_record(path: Path) -> dict[str, Any] | None:
    """The last whole record, None in an empty or missing journal."""
    latest = deque(read_from(path, 0), maxlen=1)
    return latest[0][1] if latest else None


def _whole(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("seq"), int) else None
