"""What there is to know of all runs without reading their records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgesparse.errors import UsageError
from edgesparse.quantity import Quantity, quantity_of
from edgesparse.store.about import parse_about
from edgesparse.store.journal import last_record
from edgesparse.store.paths import JOURNAL, RUN, Record, runs_dir
from edgesparse.store.place import Place
from edgesparse.store.record import RunRecord, is_packed, runs_here

UNFINISHED = "unfinished"
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Entry:
    """One run, as its run.json has it.

    Attributes:
        status: "finished", "failed", "cancelled", "unfinished" where the board's last word is not here, or "unreadable"
            with the reason.
        form: "journal" or "packed".
        where: "here", or "store" for what only the store has.
        samples: timed inferences; None while the run is a journal, where they are not counted.
        about: its run.json; empty where that is unreadable.
    """

    run: str
    created: str
    status: str
    reason: str
    form: Literal["journal", "packed"]
    where: Literal["here", "store"]
    samples: int | None
    about: Record

    @property
    def board(self) -> Record:
        """Of the board: name, type, transport, host, address, emulated; empty where unreadable."""
        return dict(self.about.get("board", {}))

    @property
    def bundle(self) -> Record:
        """Of the bundle: id, name; empty where unreadable."""
        return dict(self.about.get("bundle", {}))

    @property
    def measured(self) -> Quantity:
        """What its board's clock counts."""
        return quantity_of(self.board)

    def to_dict(self) -> Record:
        """As JSON types, and as the row of `runs`."""
        spec = self.about.get("spec", {})
        return {
            "run": self.run, "created": self.created or None, "status": self.status, "reason": self.reason,
            "board": self.board.get("name"), "board_type": self.board.get("type"),
            "transport": self.board.get("transport"), "host": self.board.get("host"),
            "emulated": self.board.get("emulated"), "measured": self.measured if self.about else None,
            "bundle": self.bundle.get("name"), "bundle_id": self.bundle.get("id"), "owner": self.about.get("owner"),
            "edgesparse": self.about.get("edgesparse"), "runtime": spec.get("runtime"),
            "runtime_version": spec.get("runtime_version"), "aa": self.about.get("aa", False),
            "cell_count": len(spec.get("cells", ())), "sample_count": self.samples, "form": self.form,
            "where": self.where,
        }  # fmt: skip


def entries() -> list[Entry]:
    """Every run, here and in the store, oldest first; one that is in both is the one here.

    Raises:
        UsageError: the store cannot be read.
    """
    place = Place.chosen()
    found = {run: _entry(run, content, "store") for run, content in (place.abouts() if place else {}).items()}
    for run in runs_here():
        try:
            found[run] = _entry(run, (runs_dir() / run / RUN).read_bytes(), "here")
        except FileNotFoundError:  # moved to the store, or removed, since it was listed
            continue
        except OSError as error:
            found[run] = _unreadable(run, f"{RUN} cannot be read: {error.strerror}", "here")
    return [found[run] for run in sorted(found)]


def entry_of(record: RunRecord) -> Entry:
    """The entry of a run that is at hand, wherever its directory is."""
    where: Literal["here", "store"] = "here" if record.path.parent == runs_dir() or not Place.chosen() else "store"
    return _entry_in(record.path, json.dumps(record.about).encode(), where)


def _entry(run: str, content: bytes, where: Literal["here", "store"]) -> Entry:
    found = _entry_in(runs_dir() / run, content, where)
    if found.about and found.about["id"] != run:  # a copy: in answers each of its samples would count twice
        return _unreadable(run, f"{RUN} is that of run {found.about['id']}; a run's directory has its name", where)
    return found


def _entry_in(path: Path, content: bytes, where: Literal["here", "store"]) -> Entry:
    run = path.name
    try:
        about = parse_about(content)
    except UsageError as error:
        return _unreadable(run, error.message, where)
    created = about["created"]
    if is_packed(about):
        packed = about["packed"]
        return Entry(run, created, packed["status"], packed["reason"], "packed", where, packed["samples"], about)
    last = last_record(path / JOURNAL) or {}
    ended = last.get("type") == "finished"
    status, reason = (last.get("status", UNREADABLE), last.get("reason", "")) if ended else (UNFINISHED, "")
    return Entry(run, created, str(status), str(reason), "journal", where, None, about)


def _unreadable(run: str, reason: str, where: Literal["here", "store"]) -> Entry:
    return Entry(run, "", UNREADABLE, reason, "journal", where, None, {})
