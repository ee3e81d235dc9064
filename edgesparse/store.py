"""Runs on the host's disk: what was asked, the bundle's manifest, and every record as the board sent it.

`<data>/runs/<id>/` holds run.json, manifest.json and journal.jsonl. Samples are kept raw and whole; summaries are
computed from them, never stored instead.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from edgesparse import __version__
from edgesparse.convert.bundle import MANIFEST, Bundle, Manifest, parse_manifest
from edgesparse.errors import MeasurementError, UsageError

if TYPE_CHECKING:
    from edgesparse.report.summary import Comparison

# History of run.json. A change that an older reader would misread raises the number.
#   1  first.
VERSION = 1

RUN = "run.json"
# Between the name of a variant and its number where it is measured again beside itself.
AGAIN = "-again-"
JOURNAL = "journal.jsonl"

Record = dict[str, Any]


def runs_dir() -> Path:
    """Where runs are kept; EDGESPARSE_DATA names another data directory."""
    root = os.environ.get("EDGESPARSE_DATA")
    return (Path(root).expanduser() if root else platformdirs.user_data_path("edgesparse")) / "runs"


def new_run_id(board: str) -> str:
    """A new id, such as 20261122-231502-jetson-3f9a: they sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{board}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class NoiseFloor:
    """By how much of its latency a file at most differed from itself on a board, and the run that found it."""

    share: float
    run: str


class RunRecord:
    """One run on disk.

    Args:
        path: its directory.

    Raises:
        UsageError: it holds no run, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.about: Record = json.loads((path / RUN).read_bytes())
        except (OSError, ValueError):
            raise UsageError(f"Expected a run in {path}, found no whole {RUN}.", hint=_latest_hint()) from None
        if self.about.get("version") != VERSION:
            raise UsageError(
                f"{path / RUN} has version {self.about.get('version')!r}; this edgesparse reads version {VERSION}.",
                hint="Read it with the edgesparse that measured it.",
            )
        self._end, self.last_seq = 0, 0
        self._look_at_journal()

    @classmethod
    def load(cls, run: str | Path) -> RunRecord:
        """A run by its id or directory.

        Raises:
            UsageError: there is none; lists the latest.
        """
        path = runs_dir() / run
        if not path.is_dir() and not Path(run).is_dir():
            raise UsageError(f"There is no run {str(run)!r} in {runs_dir()}.", hint=_latest_hint())
        return cls(path if path.is_dir() else Path(run))

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
    def finished(self) -> bool:
        """Whether the board has said its last word about it."""
        records = self.records()
        return bool(records) and records[-1]["type"] == "finished"

    def records(self) -> list[Record]:
        """Every record, in order. A line that is still being written, or that a kill tore, is not one yet.

        Raises:
            UsageError: the journal is damaged.
        """
        lines = self._whole_lines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise UsageError(
                f"Expected one record a line in {self.path / JOURNAL}, found something else ({error}).",
                hint="The file was damaged after it was written; measure again.",
            ) from None

    def append(self, records: Sequence[Record]) -> None:
        """Keep records; those that are here already are dropped. What this returns from is on the disk.

        Several processes may collect one run: each appends only what none has yet.

        Raises:
            MeasurementError: one is missing in between.
        """
        with (self.path / JOURNAL).open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_size != self._end:
                self._look_at_journal()
                file.truncate(self._end)  # a line that a kill left half-written; the board sends that record again
            lines, last_seq = [], self.last_seq
            for record in records:
                if record["seq"] <= last_seq:
                    continue
                if record["seq"] != last_seq + 1:
                    raise MeasurementError(
                        f"Run {self.id}: expected record {last_seq + 1}, found {record['seq']}.",
                        hint=f"Collect it again: edgesparse bench --attach {self.id}",
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
        path = self.path / JOURNAL
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _look_at_journal(self) -> None:
        self._end = sum(map(len, self._whole_lines()))
        self.last_seq = max((record["seq"] for record in self.records()), default=0)


class Run:
    """A run and what its samples say.

    Args:
        record: the run on disk.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    @classmethod
    def load(cls, run: str | Path) -> Run:
        """A run by its id or directory. Raises UsageError."""
        return cls(RunRecord.load(run))

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.record.path

    def comparison(self) -> Comparison:
        """Every variant under every backend, with intervals; computed from the raw samples."""
        from edgesparse.report.summary import summarise

        return summarise(self.record)


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
    }
    with tempfile.TemporaryDirectory(dir=runs, prefix=".part-") as parent:
        aside = Path(parent) / run
        aside.mkdir()
        (aside / RUN).write_text(json.dumps(about, indent=2) + "\n")
        (aside / MANIFEST).write_bytes((bundle.path / MANIFEST).read_bytes())
        aside.rename(runs / run)
    return RunRecord(runs / run)


def keep_noise_floor(board: Record, floor: NoiseFloor) -> None:
    """Remember it for the runs to come on this board, in the place of an older one."""
    path = _noise_file(board)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".part-{secrets.token_hex(4)}")
    aside.write_text(json.dumps({"version": VERSION, "address": board["address"], **asdict(floor)}) + "\n")
    aside.replace(path)


def find_noise_floor(board: Record) -> NoiseFloor | None:
    """The noise floor of a board, if it was measured; not that of another one that once had its name."""
    try:
        found = json.loads(_noise_file(board).read_bytes())
        if (found["version"], found["address"]) == (VERSION, board["address"]):
            return NoiseFloor(float(found["share"]), str(found["run"]))
    except (OSError, ValueError, TypeError, KeyError):  # never measured, or not by this version
        pass
    return None


def _noise_file(board: Record) -> Path:
    return runs_dir().parent / "noise" / f"{board['name']}.json"


def list_runs() -> list[str]:
    """The ids of all runs, oldest first."""
    return sorted(path.parent.name for path in runs_dir().glob(f"*/{RUN}") if not path.parent.name.startswith("."))


def _latest_hint() -> str:
    latest = list_runs()[-5:]
    return f"The latest are {', '.join(latest)}." if latest else "There is none yet: edgesparse bench BUNDLE"
