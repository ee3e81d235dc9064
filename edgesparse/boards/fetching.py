"""Wheels that a board fetches over its own network, with its own pip: the very ones that the host has chosen, or, where
the host cannot see the package index, those that its pip chooses.

One process on the board fetches, checks and unpacks them. So they lie under a temporary name of a process that lives,
and whatever ends it, nothing stays that the next put does not sweep.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesparse.agent.leftovers import writer
from edgesparse.boards.facts import Interpreter
from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import Completed, Transport
from edgesparse.boards.unpacking import TRY_IMPORTS, UNPACK, UNPACK_S, disk_filled, modules_of
from edgesparse.boards.wheels import NoWheel
from edgesparse.errors import BoardError
from edgesparse.files import sha256_of

FETCH_S = 300.0
END_S = 60.0


def lock_of(wheels: dict[str, str]) -> str:
    """The name of an environment: the hash of its wheels, SHA-256s by name. Also sent to boards as it stands here."""
    import hashlib

    lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(wheels.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


# stdin: an order, as `_fetch` writes it. Says which wheels it has, "fetched {name: SHA-256}", once they are those that
# are wanted; what comes after that is the unpacking's. Where there is no network, pip says so of a retry only.
_FETCH = (
    inspect.getsource(writer)
    + inspect.getsource(lock_of)
    + """
import hashlib, json, os, shutil, subprocess, sys, tempfile
order = json.loads(sys.stdin.read())
requirements, wanted = order["requirements"], order["wanted"]
os.umask(0o77)
os.makedirs(order["parent"], exist_ok=True)
part = tempfile.mkdtemp(prefix=".part-%s-" % writer(), dir=order["parent"])
try:
    wheels, temporary = os.path.join(part, "wheels"), os.path.join(part, "temporary")
    os.mkdir(temporary)
    try:
        subprocess.run(
            [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--timeout", "5",
             "--retries", "1" if wanted is None else "0", "download", "--no-deps", "--only-binary", ":all:",
             "--dest", wheels] + requirements,
            stdout=sys.stderr, env=dict(os.environ, TMPDIR=temporary), timeout=order["fetch_s"], check=True)
    except subprocess.CalledProcessError:
        sys.exit(1)  # pip has said why
    except subprocess.TimeoutExpired:
        sys.exit("pip did not end within %g s" % order["fetch_s"])
    found = {}
    for name in sorted(os.listdir(wheels)):
        with open(os.path.join(wheels, name), "rb") as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    if len(found) != len(requirements):
        sys.exit("pip fetched %s for %s" % (", ".join(found) or "nothing", ", ".join(requirements)))
    if wanted is not None and found != wanted:
        sys.exit("%s is another one there" % ", ".join(name for name in found if found[name] != wanted.get(name)))
    print("fetched " + json.dumps(found), flush=True)
    target = os.path.join(order["parent"], lock_of(found))
    sys.exit(subprocess.call([sys.executable, "-c", order["unpack"], target, order["imports"], order["modules"]]
                             + [os.path.join(wheels, name) for name in found]))
finally:
    shutil.rmtree(part, ignore_errors=True)
"""
)


@dataclass(frozen=True)
class Fetched:
    """Wheels that a board has fetched, SHA-256s by name, and what came of unpacking them."""

    wheels: dict[str, str]
    unpacked: Completed


def can_fetch(transport: Transport, python: Interpreter) -> bool:
    """Whether the board may have a network of its own, and something to fetch with."""
    return "pip" in python.modules and not transport.is_here


def fetch_same(
    transport: Transport,
    board: Board,
    python: Interpreter,
    wheels: list[Path],
    runtime: str,
    progress: Callable[[str], None],
) -> Fetched | None:
    """Have the board fetch the very same wheels over its own network, which is often faster than the link, and unpack
    them.

    Args:
        wheels: on this machine.
        runtime: the name of the one among them.

    Returns:
        None where it has no pip or no network, is too slow, or gets others; then nothing of it stays there.
    """
    if not can_fetch(transport, python):
        return None
    pins = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    progress(f"{board.name} fetches {', '.join(pins)}, if its network lets it")
    done = _fetch(transport, python, pins, {wheel.name: sha256_of(wheel) for wheel in wheels}, runtime)
    return _fetched(done)


def fetch_newest(
    transport: Transport, board: Board, python: Interpreter, requirements: list[str], runtime: str
) -> Fetched:
    """Have the board fetch the newest wheels that meet the requirements, as its own pip sees it, and unpack them.

    Args:
        runtime: as of `fetch_same`.

    Raises:
        NoWheel: its index has none for it. BoardError: it cannot fetch them; says what its pip said.
    """
    done = _fetch(transport, python, requirements, None, runtime)
    found = _fetched(done)
    if found is not None:
        return found
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")] or said[-1:]
    if any("No space left" in line for line in errors):
        raise disk_filled(board, "it fetched the wheels")
    missing = [line for line in errors if "No matching distribution found for" in line]
    if missing and not any("Retrying" in line for line in said):
        raise NoWheel(missing[0].rpartition(" for ")[2])
    raise BoardError(
        f"{board.name} could not fetch them either: {(errors or ['it said nothing'])[-1]}",
        hint="One of the two needs access to PyPI, or the board numpy, psutil and a TFLite runtime of its own.",
    )


def _fetch(
    transport: Transport, python: Interpreter, requirements: list[str], wanted: dict[str, str] | None, runtime: str
) -> Completed:
    order = {
        "parent": f"{transport.home}/runtimes",
        "requirements": requirements,
        "wanted": wanted,
        "fetch_s": FETCH_S,
        "unpack": UNPACK,
        "imports": TRY_IMPORTS,
        "modules": modules_of(runtime),
    }
    return transport.run(
        [python.path, "-c", _FETCH], input=json.dumps(order).encode(), timeout_s=FETCH_S + UNPACK_S + END_S
    )


def _fetched(done: Completed) -> Fetched | None:
    """What it has said, if it has fetched what was wanted."""
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith("fetched "):
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(line.removeprefix("fetched "))
                if isinstance(found, dict) and all(isinstance(each, str) for each in found.values()):
                    return Fetched(found, done)
    return None
