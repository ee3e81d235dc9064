"""Messages between host and agent, and between agent and worker: one JSON object a line, versioned.

Both ends of a connection send `hello` first; nothing else is read before it. Everything that comes in is checked here,
so that no other file handles a half message or a wrong type.

Host to agent: hello, status, submit {spec, wait}, follow {run, have}, cancel {run}, logs {lines}, stop {force},
pong.
Agent to host: hello, status, accepted {run, place, wait_s}, place {run, place, wait_s, held_by}, record {record},
end {run, status, reason}, cancelled {run}, logs {lines}, stopping, ping, error {code, message}.

While a run is followed, the agent sends ping now and then, and hangs up on a host that does not answer with pong.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

# History of the protocol. A change that an older end would misread raises the number.
#   1  first: hello, status, submit, follow, cancel, logs, stop.
#   2  a spec names the library of the csr backend; a check's record holds what its delegate did with each operator.
#   3  submit says whether it waits; a spec says how long the board keeps a run that nobody follows; place and status
#      say how long the others will take, and who measures outside of this agent.
#   4  a spec says whether energy is measured and with which meter, on which cores, under which governor, and
#      for how long without a pause.
#   5  ping and pong.
PROTOCOL = 5

# A line holds one launch's samples at most; anything longer is no message of ours.
MAX_LINE_BYTES = 4 * 1024 * 1024

MAX_CELLS = 10_000

CAPABILITIES = ("bench", "check", "queue", "resume")
BUILTIN, XNNPACK, CSR = "builtin", "xnnpack", "csr"
BACKENDS = (BUILTIN, XNNPACK, CSR)
# What a meter may be put before; see `agent/sensors/source.py`.
METER_SCOPES = ("wall", "board-input", "soc", "gpu", "rail")

Message = dict[str, Any]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CELL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[a-z0-9]+/[0-9]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class WireError(Exception):
    """A message that cannot be understood: no JSON object, too long, wrong types, unknown type, other protocol."""


def encode(message: Message) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message in a line.

    Raises:
        WireError: the line is not one JSON object with a string `type`, or is longer than MAX_LINE_BYTES.
    """
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"expected a line of at most {MAX_LINE_BYTES} bytes, found {len(line)}")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WireError(f"expected a JSON object, found {line[:60]!r} ({error})") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise WireError(f"expected a JSON object with a type, found {line[:60]!r}")
    return message


def hello(version: str, **more: Any) -> Message:
    """The first message of either end."""
    return {"type": "hello", "protocol": PROTOCOL, "version": version, "capabilities": list(CAPABILITIES), **more}


def check_hello(message: Message, *, whom: str) -> None:
    """Refuse an end that speaks another protocol.

    Raises:
        WireError: no hello, or another protocol; names both versions.
    """
    if message.get("type") != "hello":
        raise WireError(f"expected {whom} to say hello, found a message of type {message.get('type')!r}")
    if message.get("protocol") != PROTOCOL:
        raise WireError(
            f"{whom} {message.get('version')} speaks protocol {message.get('protocol')}, this end speaks {PROTOCOL}"
        )


def text(message: Message, key: str) -> str:
    """A string field of a message, checked."""
    value = message.get(key)
    if not isinstance(value, str):
        raise WireError(f"{message.get('type')}: expected {key} to be a string, found {value!r:.60}")
    return value


def whole(message: Message, key: str) -> int:
    """A field that is a whole number of at least 0, checked."""
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WireError(f"{message.get('type')}: expected {key} to be a whole number, found {value!r:.60}")
    return value


def identifier(message: Message, key: str) -> str:
    """A field that names something on the board; cannot leave the board's store."""
    value = text(message, key)
    if not _ID.fullmatch(value):
        raise WireError(f"{message.get('type')}: expected {key} to be a plain name, found {value!r:.60}")
    return value


@dataclass(frozen=True)
class Files:
    """The SHA-256 names, in the board's store, of what one variant needs."""

    model: str
    twin: str | None  # the same weights stored dense; tells which path was taken
    inputs: str
    golden: str


@dataclass(frozen=True)
class Delegate:
    """The csr backend's library, by its SHA-256 name in the board's store, and the options that it is loaded with."""

    library: str
    options: dict[str, str]


@dataclass(frozen=True)
class Cell:
    """One thing to measure: a variant under a backend with a number of threads."""

    id: str
    variant: str
    backend: str
    threads: int


@dataclass(frozen=True)
class RunSpec:
    """What a run is asked to do. With `max_rounds` 0 it only checks parity and finds out the paths.

    `rounds`: every cell is launched once a round. `interval_target`: stop once the 95 % interval of every cell's median
    is narrower than this share of it. `launch_s`, `samples`: one launch ends after `samples` timed inferences or
    `launch_s` seconds, whichever comes first, but never before 5. `deadline_s`: a worker that takes longer for a step
    hangs. `linger_s`: a run that nobody has followed for so long, in line or measured, is taken off the board.
    `energy`: read the board's power sensors meanwhile, and `meter`, a command that prints readings, at `meter_scope`.
    `cpus`: the cores that workers run on, "big", "little" or a list; "" for all. `tune`: governor performance.
    `sustained_s`: instead of rounds every cell is launched once and runs for so long.
    """

    run: str
    owner: str
    bundle: str
    cells: list[Cell]
    files: dict[str, Files]
    runtime: str
    runtime_version: str
    min_rounds: int = 6
    max_rounds: int = 10
    time_limit_s: float = 300.0
    interval_target: float = 0.02
    samples: int = 70
    launch_s: float = 2.0
    warmup_s: float = 0.1
    deadline_s: float = 120.0
    linger_s: float = 900.0
    delegate: Delegate | None = None  # what cells under csr need
    energy: bool = True
    meter: str = ""
    meter_scope: str = "wall"
    cpus: str = ""
    tune: bool = False
    sustained_s: float = 0.0

    def objects(self) -> list[str]:
        """The SHA-256 names of all files that it needs on the board."""
        found = {
            name for files in self.files.values() for name in (files.model, files.twin, files.inputs, files.golden)
        }
        if self.delegate:
            found.add(self.delegate.library)
        return sorted(name for name in found if name)

    def to_message(self) -> Message:
        """The spec as JSON types."""
        return asdict(self)

    @staticmethod
    def from_message(message: Any) -> RunSpec:
        """The spec from JSON types.

        Raises:
            WireError: a key is missing or unknown, or a value has the wrong type or range.
        """
        if not isinstance(message, dict):
            raise WireError(f"expected a run's spec to be an object, found {message!r:.60}")
        try:
            spec = RunSpec(
                **{
                    **message,
                    "cells": [Cell(**cell) for cell in message["cells"]],
                    "files": {name: Files(**files) for name, files in message["files"].items()},
                    "delegate": None if message.get("delegate") is None else Delegate(**message["delegate"]),
                }
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise WireError(f"a run's spec does not have the expected keys: {error}") from None
        _check_spec(spec)
        return spec


def _check_spec(spec: RunSpec) -> None:
    for name in ("energy", "tune"):
        if not isinstance(getattr(spec, name), bool):
            raise WireError(f"spec: expected {name} to be true or false, found {getattr(spec, name)!r:.60}")
    if spec.meter_scope not in METER_SCOPES:
        raise WireError(f"spec: expected meter_scope out of {', '.join(METER_SCOPES)}, found {spec.meter_scope!r:.60}")
    for name in ("run", "owner", "bundle", "runtime", "runtime_version", "meter", "cpus"):
        if not isinstance(getattr(spec, name), str):
            raise WireError(f"spec: expected {name} to be a string, found {getattr(spec, name)!r:.60}")
    if not _ID.fullmatch(spec.run):
        raise WireError(f"spec: expected run to be a plain name, found {spec.run!r:.60}")
    for name, low, high in (
        ("min_rounds", 0, 10_000),
        ("max_rounds", 0, 10_000),
        ("samples", 5, 1_000_000),
        ("time_limit_s", 0, 7 * 86_400),
        ("interval_target", 0, 1),
        ("launch_s", 0, 86_400),
        ("warmup_s", 0, 86_400),
        ("deadline_s", 0.1, 86_400),
        ("linger_s", 1, 7 * 86_400),
        ("sustained_s", 0, 7 * 86_400),
    ):
        value = getattr(spec, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise WireError(f"spec: expected {name} between {low} and {high}, found {value!r:.60}")
    for name in ("min_rounds", "max_rounds", "samples"):
        if not isinstance(getattr(spec, name), int):
            raise WireError(f"spec: expected {name} to be a whole number, found {getattr(spec, name)!r:.60}")
    _check_delegate(spec.delegate)
    if not 1 <= len(spec.cells) <= MAX_CELLS:
        raise WireError(f"spec: expected 1 to {MAX_CELLS} cells, found {len(spec.cells)}")
    for cell in spec.cells:
        if not isinstance(cell.id, str) or not _CELL.fullmatch(cell.id):
            raise WireError(f"spec: expected a cell's id like dense/xnnpack/1, found {cell.id!r:.60}")
        if not isinstance(cell.variant, str) or cell.variant not in spec.files:
            raise WireError(f"spec: cell {cell.id} names the variant {cell.variant!r:.60}, which has no files")
        if not isinstance(cell.backend, str) or cell.backend not in BACKENDS:
            raise WireError(f"spec: expected a backend out of {', '.join(BACKENDS)}, found {cell.backend!r:.60}")
        if cell.backend == CSR and spec.delegate is None:
            raise WireError(f"spec: cell {cell.id} needs the kernels' library, and none is named")
        if type(cell.threads) is not int or not 1 <= cell.threads <= 256:
            raise WireError(f"spec: expected 1 to 256 threads, found {cell.threads!r:.60}")
    for name, files in spec.files.items():
        twin = files.model if files.twin is None else files.twin
        for sha256 in (files.model, twin, files.inputs, files.golden):
            if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
                raise WireError(f"spec: expected SHA-256 names for the files of {name!r:.60}, found {sha256!r:.60}")


def _check_delegate(delegate: Delegate | None) -> None:
    if delegate is None:
        return
    if not isinstance(delegate.library, str) or not _SHA256.fullmatch(delegate.library):
        raise WireError(f"spec: expected a SHA-256 name for the kernels' library, found {delegate.library!r:.60}")
    options = delegate.options
    if not isinstance(options, dict) or not all(isinstance(each, str) for pair in options.items() for each in pair):
        raise WireError(f"spec: expected the kernels' options to be strings by name, found {options!r:.60}")
