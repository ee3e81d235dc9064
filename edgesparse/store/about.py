"""What the rest may rely on in a run.json, of every version that is read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec

from edgesparse.errors import UsageError
from edgesparse.store.noise import NoiseFloor
from edgesparse.store.paths import READABLE, RUN, Record

_DAMAGED = "The file was damaged after it was written; take the run from a copy, or measure again."
_CREATED = "%Y-%m-%dT%H:%M:%SZ"


class _Board(msgspec.Struct):
    name: str
    type: str
    transport: str | None = None
    host: str | None = None
    address: str | None = None
    emulated: bool = False
    counts_instructions: bool = False


class _Bundle(msgspec.Struct):
    id: str
    name: str


class _Cell(msgspec.Struct):
    id: str
    variant: str
    backend: str
    threads: int


class _Spec(msgspec.Struct):
    cells: list[_Cell] = []
    files: dict[str, Any] = {}
    runtime: str | None = None
    runtime_version: str | None = None


class _File(msgspec.Struct):
    bytes: int
    sha256: str


class _Packed(msgspec.Struct):
    status: str
    reason: str
    records: int
    samples: int
    files: dict[str, _File]


class _About(msgspec.Struct):
    id: str
    created: str
    edgesparse: str
    owner: str
    board: _Board
    bundle: _Bundle
    spec: _Spec
    aa: bool = False
    noise_floor: NoiseFloor | None = None
    packed: _Packed | None = None

    def __post_init__(self) -> None:
        time.strptime(self.created, _CREATED)


def parse_about(content: bytes, named: str | Path = RUN) -> Record:
    """A run.json, with all that every run has.

    Args:
        content: of the file.
        named: what the file is called where it is refused.

    Raises:
        UsageError: it is not whole, of another version, or lacks something.
    """
    try:
        about = json.loads(content)
        version = about.get("version")
    except (ValueError, AttributeError):
        raise UsageError(f"Expected a run, found no whole {named}.", hint=_DAMAGED) from None
    if version not in READABLE:
        raise UsageError(
            f"{named} has version {version!r}; this edgesparse reads versions {READABLE[0]} to {READABLE[-1]}.",
            hint="Read it with the edgesparse that measured it.",
        )
    try:
        msgspec.convert(about, _About)
    except msgspec.ValidationError as error:
        raise UsageError(f"{named} is not that of a run: {error}.", hint=_DAMAGED) from None
    return dict(about)
