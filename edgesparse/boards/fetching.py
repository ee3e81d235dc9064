"""Wheels that a board fetches over its own network, with its own pip: the very ones that the host has chosen, or, where
the host cannot see the package index, those that its pip chooses."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesparse.agent.leftovers import writer
from edgesparse.boards.facts import Interpreter
from edgesparse.boards.transport import LinkLost, Transport
from edgesparse.boards.wheels import NoWheel
from edgesparse.errors import BoardError
from edgesparse.files import sha256_of

FETCH_S = 300.0

# stdin: the SHA-256s that wheels must have, by name, or null; arguments: what goes before a wheel's name, requirements.
# Ends with 0 once all are there and are those, and says which: a line "wheel SHA-256 name" for each. Where there is no
# network, pip says so of a retry only.
_FETCH = (
    inspect.getsource(writer)
    + """
import hashlib, json, os, shutil, subprocess, sys, tempfile
prefix, requirements, wanted = sys.argv[1], sys.argv[2:], json.loads(sys.stdin.read())
parent = os.path.dirname(prefix)
os.umask(0o77)
if not os.path.isdir(parent):
    os.makedirs(parent)
part = tempfile.mkdtemp(prefix=".part-%s-" % writer(), dir=parent)
found = {}
try:
    subprocess.check_call(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--timeout", "5",
         "--retries", "1" if wanted is None else "0", "download", "--no-deps", "--only-binary", ":all:",
         "--dest", part] + requirements, stdout=sys.stderr)
    for name in sorted(os.listdir(part)):
        with open(os.path.join(part, name), "rb") as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    for name in found if wanted is None else wanted:
        if wanted is not None and found.get(name) != wanted[name]:
            sys.exit("%s is another one there" % name)
        os.rename(os.path.join(part, name), prefix + name)
        print("wheel %s %s" % (found[name], name))
except subprocess.CalledProcessError:
    sys.exit(1)  # pip has said why
finally:
    shutil.rmtree(part, ignore_errors=True)
"""
)


@dataclass(frozen=True)
class FetchedWheel:
    """A wheel in the board's store, not unpacked yet."""

    name: str
    sha256: str


def can_fetch(transport: Transport, python: Interpreter) -> bool:
    """Whether the board may have a network of its own, and something to fetch with."""
    return "pip" in python.modules and not transport.is_here


def fetch_same(
    transport: Transport,
    python: Interpreter,
    wheels: list[Path],
    prefix: str,
    progress: Callable[[str], None],
    where: str,
) -> bool:
    """Have the board fetch the very same wheels over its own network, which is often faster than the link.

    Args:
        wheels: on this machine.
        prefix: of where each goes on the board; its name follows.
        where: the board's name.

    Returns:
        False where it has no pip or no network, or gets others; then nothing of it stays there.
    """
    if not can_fetch(transport, python):
        return False
    pins = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    progress(f"{where} fetches {', '.join(pins)}, if its network lets it")
    wanted = {wheel.name: sha256_of(wheel) for wheel in wheels}
    try:
        done = transport.run(_command(python, prefix, pins), input=json.dumps(wanted).encode(), timeout_s=FETCH_S)
    except LinkLost:
        raise
    except BoardError:  # it took too long
        return False
    return done.returncode == 0


def fetch_newest(
    transport: Transport, python: Interpreter, requirements: list[str], prefix: str, where: str
) -> list[FetchedWheel]:
    """Have the board fetch the newest wheels that meet the requirements, as its own pip sees it.

    Args:
        prefix, where: as of `fetch_same`.

    Raises:
        NoWheel: its index has none for it. BoardError: it cannot fetch them; says what its pip said.
    """
    done = transport.run(_command(python, prefix, requirements), input=b"null", timeout_s=FETCH_S)
    if done.returncode == 0:
        lines = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
        found = [FetchedWheel(line[2], line[1]) for line in lines if len(line) == 3 and line[0] == "wheel"]
        if len(found) == len(requirements):
            return found
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")] or said[-1:]
    missing = [line for line in errors if "No matching distribution found for" in line]
    if missing and not any("Retrying" in line for line in said):
        raise NoWheel(missing[0].rpartition(" for ")[2])
    raise BoardError(
        f"{where} could not fetch them either: {(errors or ['it said nothing'])[-1]}",
        hint="One of the two needs access to PyPI, or the board numpy, psutil and a TFLite runtime of its own.",
    )


def _command(python: Interpreter, prefix: str, requirements: list[str]) -> list[str]:
    return [python.path, "-c", _FETCH, prefix, *requirements]
