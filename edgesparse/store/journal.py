"""The journal of a run that goes on: a record a line, synced before anybody counts on it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from edgesparse.errors import MeasurementError, UsageError
from edgesparse.store.paths import JOURNAL, Record

_TAIL_BYTES = 1 << 16


class Journal:
    """Records as they come from the board. Several processes may collect one run; each appends what none has yet.

    Args:
        directory: of the run.
        run: its id.

    Raises:
        UsageError: the journal is damaged.
    """

    def __init__(self, directory: Path, run: str) -> None:
        self.path, self.run = directory / JOURNAL, run
        self._end, self.last_seq = 0, 0
        self._look()

    def records(self) -> list[Record]:
        """Every record, in order. A line that is still being written, or that a kill tore, is not one yet.

        Raises:
            UsageError: the journal is damaged.
        """
        lines = self._whole_lines()
        try:
            return [_record(line) for line in lines]
        except ValueError as error:
            raise UsageError(
                f"Expected one record a line in {self.path}, found something else ({error}).",
                hint="The file was damaged after it was written; measure again.",
            ) from None

    @contextmanager
    def locked(self) -> Iterator[FileIO]:
        """The file, opened for appending, and nobody else's until the block ends."""
        with self.path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def append(self, file: FileIO, records: Sequence[Record]) -> None:
        """Keep records; those that are here already are dropped. What this returns from is on the disk.

        Args:
            file: from `locked`.
            records: in order.

        Raises:
            MeasurementError: one is missing in between.
        """
        if os.fstat(file.fileno()).st_size != self._end:
            self._look()
            file.truncate(self._end)  # a line that a kill left half-written; the board sends that record again
        lines, last_seq = [], self.last_seq
        for record in records:
            if record["seq"] <= last_seq:
                continue
            if record["seq"] != last_seq + 1:
                raise MeasurementError(
                    f"Run {self.run}: expected record {last_seq + 1}, found {record['seq']}.",
                    hint=f"Collect it again: edgesparse bench --attach {self.run}",
                )
            lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            last_seq = record["seq"]
        rest = b"".join(lines)
        size = len(rest)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(self._end)  # a full disk may have taken half of it
            raise
        self._end, self.last_seq = self._end + size, last_seq

    def _whole_lines(self) -> list[bytes]:
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:  # nothing came yet, or the run has been packed
            return []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _look(self) -> None:
        self._end = sum(map(len, self._whole_lines()))
        self.last_seq = max((record["seq"] for record in self.records()), default=0)


def _record(line: bytes) -> Record:
    """Raises ValueError."""
    record = json.loads(line)
    if not isinstance(record, dict) or type(record.get("seq")) is not int or not isinstance(record.get("type"), str):
        raise ValueError("a line without the number and type of a record")
    return record


def last_record(path: Path) -> Record | None:
    """The last whole record of a journal, without reading all of it; None where there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            wanted = _TAIL_BYTES
            while True:
                file.seek(max(0, size - wanted))
                lines = file.read(wanted).splitlines(keepends=True)
                whole = lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
                if len(whole) > 1 or (whole and wanted >= size):  # the first one may lack its beginning
                    record = json.loads(whole[-1])
                    return record if isinstance(record, dict) else None
                if wanted >= size:
                    return None
                wanted *= 8
    except (OSError, ValueError):
        return None
