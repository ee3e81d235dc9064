"""The form of a run that has ended: its samples, sensors and conditions as Parquet, all else as JSON.

`found.json` holds every record in order. What a table has of one is null there, and `taken` says what goes back where.
Packing writes all files beside the journal, then replaces run.json, whose `packed` makes them count, and only then
removes the journal: whenever it is killed, run.json names one whole form.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgesparse import __version__
from edgesparse.errors import MeasurementError, UsageError
from edgesparse.files import sha256_of, sync
from edgesparse.store.bulk import (
    CONDITIONS,
    SAMPLES,
    SENSORS,
    ConditionRows,
    Note,
    Restorer,
    Rows,
    SampleRows,
    SensorRows,
)
from edgesparse.store.paths import FOUND, PART, RUN, VERSION, Record, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

# History of found.json. A change that an older reader would misread raises the number.
#   1  first.
FOUND_VERSION = 1

TABLES = (SAMPLES, SENSORS, CONDITIONS)
# Position of a record, the table that took of it, and what it took.
Taken = tuple[int, str, Note]


def split(run: str, records: Sequence[Record]) -> tuple[list[Record], list[Taken], dict[str, pa.Table]]:
    """Records without their bulk, what was taken out of which, and the tables that have it."""
    rows: dict[str, Rows] = {SAMPLES: SampleRows(run), SENSORS: SensorRows(run), CONDITIONS: ConditionRows(run)}
    left: list[Record] = []
    taken: list[Taken] = []
    for place, record in enumerate(records):
        for name, each in rows.items():
            if note := each.take(record):
                taken.append((place, name, note))
                record = {key: None if key in note["keys"] else value for key, value in record.items()}
        left.append(record)
    return left, taken, {name: each.table() for name, each in rows.items()}


def join(left: list[Record], taken: Sequence[Any], tables: dict[str, pa.Table]) -> list[Record]:
    """The records that `split` was given."""
    restorer = Restorer(tables)
    for place, table, note in taken:
        restorer.restore(table, left[place], note)
    return left


def write_packed(path: Path, about: Record, records: Sequence[Record]) -> Record:
    """Put the packed form of a run beside its journal and make it the one that counts; the journal is left.

    Args:
        path: the run's directory.
        about: its run.json.
        records: all of them, the last one being `finished`.

    Returns:
        The new run.json.

    Raises:
        OSError: the disk refuses; the run is as it was. MeasurementError: the packed form would not give the same
        records, which must not happen.
    """
    left, taken, tables = split(about["id"], records)
    contents = {f"{name}.parquet": _parquet(table, about["id"]) for name, table in tables.items()}
    contents[FOUND] = _found(about["id"], left, taken)
    for name, content in contents.items():
        _write(path / f"{PART}{name}", content)
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    last = records[-1]
    packed = {
        "edgesparse": __version__,
        "status": last["status"],
        "reason": last["reason"],
        "records": len(records),
        "samples": sum(len(each["latency_ns"]) for each in records if each["type"] in ("samples", "slice")),
        "files": files,
    }
    new = {**about, "version": VERSION, "packed": packed}
    _compare(_read(path, new, PART), records, about["id"])
    for name in contents:
        (path / f"{PART}{name}").replace(path / name)
    sync(path)
    write_whole(path / RUN, json.dumps(new, indent=2).encode() + b"\n")
    return new


def read_packed(path: Path, about: Record) -> list[Record]:
    """Every record of a packed run, as its journal had them.

    Raises:
        UsageError: a file is missing or damaged, or of a newer version.
    """
    return _read(path, about)


def read_tables(path: Path, about: Record) -> dict[str, pa.Table]:
    """samples, sensors and conditions of a packed run. Raises UsageError as `read_packed` does."""
    return {name: _table(path, about, name) for name in TABLES}


def table_file(path: Path, about: Record, name: str) -> Path:
    """The file of one of a packed run's TABLES, for who reads it by path; it is what was packed.

    Raises:
        UsageError: it is missing or damaged.
    """
    file = path / f"{name}.parquet"
    try:
        found = file.stat()
        hashed = _hashed(file, (found.st_ino, found.st_mtime_ns, found.st_size))
    except FileNotFoundError:
        raise _missing(path, file.name) from None
    if hashed != _sha256(about, file.name):
        raise _changed(path, file.name)
    return file


def _read(path: Path, about: Record, prefix: str = "") -> list[Record]:
    found = decode(_content(path, about, FOUND, prefix))
    if found["version"] != FOUND_VERSION:
        raise UsageError(
            f"{path / FOUND} has version {found['version']!r}; this edgesparse reads version {FOUND_VERSION}.",
            hint="Read it with the edgesparse that measured it.",
        )
    return join(found["records"], found["taken"], {name: _table(path, about, name, prefix) for name in TABLES})


def decode(content: bytes) -> Any:
    """What is in some JSON, as Python's own reader has it: that knows NaN and lone surrogates, and is slow."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return json.loads(content)


def _table(path: Path, about: Record, name: str, prefix: str = "") -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = _content(path, about, f"{name}.parquet", prefix)
    # Arrow's pool of threads may abort a process that ends soon after ("terminate called without an active exception").
    return pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)


def _content(path: Path, about: Record, name: str, prefix: str = "") -> bytes:
    """A file of the packed form, if it is what was packed."""
    try:
        content = (path / f"{prefix}{name}").read_bytes()
    except FileNotFoundError:
        raise _missing(path, name) from None
    if hashlib.sha256(content).hexdigest() != _sha256(about, name):
        raise _changed(path, name)
    return content


def _sha256(about: Record, name: str) -> str | None:
    """What run.json says of a file; None where it says nothing."""
    said = about["packed"]["files"].get(name)
    return str(said["sha256"]) if said else None


@lru_cache(maxsize=1 << 14)
def _hashed(path: Path, stamp: tuple[int, int, int]) -> str:
    """Of a file as it is, so that who asks a second question does not wait for that again."""
    return sha256_of(path)


def _missing(path: Path, name: str) -> UsageError:
    return UsageError(f"Expected {name} in {path}, found none.", hint="The run was damaged after it was packed.")


def _changed(path: Path, name: str) -> UsageError:
    return UsageError(
        f"{path / name} is not what {RUN} says it is.",
        hint="The file was changed after it was written; measure again, or take it from a copy.",
    )


def _parquet(table: pa.Table, run: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    facts = {"edgesparse.run": run, "edgesparse.version": str(VERSION)}
    pq.write_table(table.replace_schema_metadata(facts), sink, compression="zstd")
    return bytes(sink.getvalue())


def _found(run: str, left: list[Record], taken: list[Taken]) -> bytes:
    """A record a line, for those who look."""
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in left)
    head = json.dumps({"version": FOUND_VERSION, "run": run})[:-1]
    return f'{head}, "records": [\n{lines}\n], "taken": {json.dumps(taken, separators=(",", ":"))}}}\n'.encode()


def _compare(found: Sequence[Record], records: Sequence[Record], run: str) -> None:
    """Nothing is thrown away on trust."""
    different = len(found) != len(records) or any(
        json.dumps(one) != json.dumps(other) for one, other in zip(found, records, strict=True)
    )
    if different:
        raise MeasurementError(
            f"Run {run} does not come out of its packed form as it went in; its journal is kept.",
            hint="Please report this, with the run's directory.",
        )


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
