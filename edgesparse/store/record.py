"""One run on disk, going on or packed, here or fetched from the store."""

from __future__ import annotations

import fcntl
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgesparse import __version__
from edgesparse.convert.bundle import MANIFEST, Bundle, Manifest, parse_manifest
from edgesparse.errors import MeasurementError, UsageError
from edgesparse.store.about import parse_about
from edgesparse.store.journal import Journal, last_record
from edgesparse.store.noise import NoiseFloor, find_noise_floor
from edgesparse.store.packed import read_packed, read_tables, split, write_packed
from edgesparse.store.paths import JOURNAL, RUN, VERSION, Record, data_dir, runs_dir
from edgesparse.store.place import Place

if TYPE_CHECKING:
    import pyarrow as pa


class RunRecord:
    """One run on disk.

    Args:
        path: its directory.

    Raises:
        UsageError: it holds no run, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._look()

    @classmethod
    def load(cls, run: str | Path) -> RunRecord:
        """A run by its id or directory.

        Raises:
            UsageError: there is none; lists the latest.
        """
        return cls(find_run(run))

    @classmethod
    def last(cls) -> RunRecord:
        """The latest run.

        Raises:
            UsageError: there is none yet.
        """
        runs = list_runs()
        if not runs:
            raise UsageError(f"There is no run in {runs_dir()} yet.", hint="Make one: edgesparse bench BUNDLE")
        return cls.load(runs[-1])

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.about["id"])

    @property
    def board(self) -> Record:
        """Name, type, transport, host, address, emulated."""
        return dict(self.about["board"])

    @property
    def spec(self) -> Record:
        """What the agent was asked to do."""
        return dict(self.about["spec"])

    @property
    def noise_floor(self) -> NoiseFloor | None:
        """What was known of the board's noise when it was measured."""
        found = self.about.get("noise_floor")
        return NoiseFloor(**found) if found else None

    @property
    def aa(self) -> bool:
        """Whether it holds variants against themselves."""
        return bool(self.about.get("aa"))

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle that was measured."""
        path = self.path / MANIFEST
        return parse_manifest(path, path.read_bytes())

    @property
    def packed(self) -> bool:
        """Whether it is in the form of a run that has ended."""
        return self._journal is None

    @property
    def finished(self) -> bool:
        """Whether the board has said its last word about it."""
        self._refresh()
        return self.packed or (last_record(self.path / JOURNAL) or {}).get("type") == "finished"

    @property
    def last_seq(self) -> int:
        """The number of the last record; 0 where there is none."""
        return int(self.about["packed"]["records"]) if self._journal is None else self._journal.last_seq

    def records(self) -> list[Record]:
        """Every record, in order. A line of a journal that is still being written, or that a kill tore, is not one yet.

        Raises:
            UsageError: the run is damaged.
        """
        if self._journal and (records := self._journal.records()):
            return records
        self._refresh()  # it may have been packed meanwhile
        return self._journal.records() if self._journal else read_packed(self.path, self.about)

    def tables(self) -> dict[str, pa.Table]:
        """`samples`, `sensors` and `conditions` as columns; see `edgesparse.store.bulk`.

        Raises:
            UsageError: the run is damaged.
        """
        self._refresh()
        return read_tables(self.path, self.about) if self.packed else split(self.id, self.records())[2]

    def append(self, records: Sequence[Record]) -> None:
        """Keep records; those that are here already are dropped. What this returns from is on the disk.

        Several processes may collect one run: each appends only what none has yet.

        Raises:
            MeasurementError: one is missing in between, or the run has ended.
        """
        self._refresh()
        if self._journal is not None:
            with self._journal.locked() as file:
                if not self._packed_meanwhile():
                    self._journal.append(file, records)
                    return
        late = [record["seq"] for record in records if record["seq"] > self.last_seq]
        if late:
            raise MeasurementError(
                f"Run {self.id} has ended with record {self.last_seq}, found record {late[0]}.",
                hint="The board's journal is not the one that this run was collected from.",
            )

    def pack(self) -> None:
        """Bring a run that has ended into its last form; nothing where it is in it. Whenever this breaks off, the run
        is whole, as a journal or packed.

        Raises:
            UsageError: it has not ended, or its journal is damaged. OSError: the disk refuses.
        """
        if self._journal is None:
            (self.path / JOURNAL).unlink(missing_ok=True)  # which a kill may have left
            return
        with self._journal.locked():
            if self._packed_meanwhile():
                return
            records = self._journal.records()
            if not records or records[-1]["type"] != "finished":
                raise UsageError(
                    f"Run {self.id} has not ended, so it stays a journal.",
                    hint=f"Collect the rest: edgesparse bench --attach {self.id}",
                )
            write_packed(self.path, self.about, records)
            self._packed_meanwhile()

    def move_to(self, place: Place) -> None:
        """Put a packed run into a store, and read it there from now on. Raises UsageError; the run is then here."""
        with (data_dir() / "store.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.path.is_dir():  # else another process has just done it
                self.path = place.take(self.path)
        self._look()

    def _packed_meanwhile(self) -> bool:
        """Whether the run is no journal any more; asked with the journal locked, and takes away what is left of it."""
        self._refresh()
        if self._journal is None:
            (self.path / JOURNAL).unlink(missing_ok=True)
        return self._journal is None

    def _refresh(self) -> None:
        """Another process may have packed the run, moved it to the store, or removed what was fetched of it."""
        if (self._journal is not None and _stamp(self.path / RUN) != self._seen) or not self.path.is_dir():
            self._look()

    def _look(self) -> None:
        """Read run.json, wherever the run has gone."""
        if hasattr(self, "about") and not self.path.is_dir():
            self.path = find_run(self.id)
        self._seen = _stamp(self.path / RUN)
        self.about: Record = read_about(self.path)
        self._journal = None if is_packed(self.about) else Journal(self.path, self.id)


def read_about(path: Path) -> Record:
    """The run.json in a run's directory.

    Raises:
        UsageError: it holds no run, a damaged one, or one of another version.
    """
    try:
        content = (path / RUN).read_bytes()
    except OSError as error:
        raise UsageError(f"Expected a run in {path}, found no {RUN} ({error.strerror}).", hint=_latest_hint()) from None
    return parse_about(content, path / RUN)


def is_packed(about: Record) -> bool:
    """Whether a run.json is that of a packed run."""
    return bool(about["version"] >= 2 and about.get("packed"))


def find_run(run: str | Path) -> Path:
    """The directory of a run, fetched from the store where it is there.

    Raises:
        UsageError: there is none; lists the latest.
    """
    path = runs_dir() / run
    if path.is_dir():
        return path
    if Path(run).is_dir():
        return Path(run)
    place = Place.chosen()
    if place and Path(run).name == str(run) and place.has(str(run)):
        return place.fetch(str(run))
    where = f" or {place.url}" if place else ""
    raise UsageError(f"There is no run {str(run)!r} in {runs_dir()}{where}.", hint=_latest_hint())


def create_run(run: str, *, board: Record, bundle: Bundle, spec: Record, owner: str, aa: bool = False) -> RunRecord:
    """A new run's directory, whole or not at all; with the board's noise floor as it is known now."""
    floor = None if aa else find_noise_floor(board)
    runs = runs_dir()
    runs.mkdir(parents=True, exist_ok=True)
    about = {
        "version": VERSION,
        "id": run,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "edgesparse": __version__,
        "board": board,
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "spec": spec,
        "owner": owner,
        "aa": aa,
        "noise_floor": asdict(floor) if floor else None,
        "packed": None,
    }
    with tempfile.TemporaryDirectory(dir=runs, prefix=".part-") as parent:
        aside = Path(parent) / run
        aside.mkdir()
        (aside / RUN).write_text(json.dumps(about, indent=2) + "\n")
        (aside / MANIFEST).write_bytes((bundle.path / MANIFEST).read_bytes())
        aside.rename(runs / run)
    return RunRecord(runs / run)


def runs_here() -> list[str]:
    """The ids of the runs in `runs_dir`, oldest first."""
    return sorted(path.parent.name for path in runs_dir().glob(f"*/{RUN}") if not path.parent.name.startswith("."))


def list_runs() -> list[str]:
    """The ids of all runs, here and in the store, oldest first.

    Raises:
        UsageError: the store cannot be read.
    """
    place = Place.chosen()
    return sorted({*runs_here(), *(place.ids() if place else ())})


def _latest_hint() -> str:
    try:
        latest = list_runs()[-5:]
    except UsageError as error:
        return error.message
    return f"The latest are {', '.join(latest)}." if latest else "There is none yet: edgesparse bench BUNDLE"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
