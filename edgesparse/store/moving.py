"""Runs taken out of the store and into it: as one file, and for good."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from edgesparse.errors import UsageError
from edgesparse.files import replacing, sync
from edgesparse.store.catalogue import Entry
from edgesparse.store.cells import forget_cells
from edgesparse.store.paths import JOURNAL, RUN, runs_dir
from edgesparse.store.place import Place, files_of, remove_here
from edgesparse.store.record import RunRecord, list_runs

# What an archive may unpack to; a run of a million samples takes some 10 MB.
_MOST_BYTES = 4 << 30
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def write_archive(record: RunRecord, out: Path) -> None:
    """The whole run as a zip, one directory with all its files, which `read_archive` takes and RunRecord.load reads
    once it is unpacked. Raises OSError."""
    names = files_of(record.path) + ([] if record.packed else [JOURNAL] * (record.path / JOURNAL).exists())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(record.path / name, f"{record.id}/{name}")


def read_archive(path: Path) -> RunRecord:
    """Put a run that `write_archive` wrote beside the runs here.

    Raises:
        UsageError: it is no such archive, or there is a run of this name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            run = _run_of(path, members)
            if run in list_runs():
                raise UsageError(f"There is a run {run} already.", hint=f"edgesparse runs rm {run}")
            with replacing(runs_dir() / run) as aside:
                for member in members:
                    target = aside.joinpath(*PurePosixPath(member.filename).parts[1:])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
                RunRecord(aside).records()
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"Expected a run's archive, {path} cannot be read ({error}).", hint="edgesparse runs export RUN --out F.zip"
        ) from None
    return RunRecord(runs_dir() / run)


def remove_run(entry: Entry) -> None:
    """Remove a run from here and from the store. Raises UsageError where the store refuses; OSError."""
    forget_cells(entry.run)
    here = runs_dir() / entry.run
    if here.is_dir():
        remove_here(here)
        sync(runs_dir())
    place = Place.chosen()
    if place and place.has(entry.run):
        place.remove(entry.run)


def _run_of(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """The one directory that all files of an archive are in."""
    parts = [PurePosixPath(member.filename).parts for member in members]
    tops = {each[0] for each in parts if each}
    outside = [each for each in parts if len(each) < 2 or ".." in each or each[0] == "/"]
    whole = sum(member.file_size for member in members) <= _MOST_BYTES
    if len(tops) != 1 or outside or not whole or (next(iter(tops)), RUN) not in parts:
        raise UsageError(
            f"Expected {path} to hold the directory of one run, found {', '.join(sorted(tops)[:3]) or 'nothing'}.",
            hint="edgesparse runs export RUN --out FILE.zip writes one.",
        )
    run = tops.pop()
    if not _RUN_ID.fullmatch(run):
        raise UsageError(f"Expected the directory in {path} to be named as a run, found {run!r}.")
    return run
