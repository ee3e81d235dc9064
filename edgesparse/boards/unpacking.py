"""Wheels that lie on a board, made into an environment of its store: unpacked, imported, put under its name."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass

from edgesparse.agent.leftovers import writer
from edgesparse.boards.facts import Interpreter
from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import Completed, Transport
from edgesparse.errors import BoardError

UNPACK_S = 600.0
MODULES = {
    "numpy": "numpy",
    "psutil": "psutil",
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}

# Imports what it is told to, one by one, and says in one JSON line which version each has, or null.
TRY_IMPORTS = """
import importlib, json, sys
from importlib.metadata import PackageNotFoundError, version
sys.dont_write_bytecode = True
found = {}
for name, module in json.loads(sys.argv[1]).items():
    try:
        importlib.import_module(module)
    except Exception as error:
        found[name] = None
        sys.stderr.write("%s: %s\\n" % (name, (str(error).strip() or repr(error)).splitlines()[0]))
        continue
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = "unknown"
print("\\nimports " + json.dumps(found))
"""

# Arguments: target directory, what imports, modules to try, wheels. The next put sweeps what is left under a temporary
# name.
UNPACK = (
    inspect.getsource(writer)
    + """
import os, shutil, subprocess, sys, zipfile
os.umask(0o77)
target, imports, modules, wheels = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
part = os.path.join(os.path.dirname(target), ".part-%s-%s" % (writer(), os.path.basename(target)))
try:
    archives = [zipfile.ZipFile(wheel) for wheel in wheels]
    needed = sum(member.file_size for archive in archives for member in archive.infolist())
    disk = os.statvfs(os.path.dirname(target))
    if needed > disk.f_bavail * disk.f_frsize:
        sys.exit("No space left: %d MB are needed" % (needed / 1e6))
    for archive in archives:
        archive.extractall(part)
    environment = dict(os.environ, PYTHONPATH=part)
    done = subprocess.run([sys.executable, "-c", imports, modules], env=environment, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit("importing the unpacked wheels ended with exit code %d" % done.returncode)
    sys.stdout.write(done.stdout.decode())
    if "null" not in done.stdout.decode():
        os.sync()
        try:
            os.rename(part, target)
        except OSError:
            if not os.path.isdir(target):  # else somebody else was quicker
                raise
finally:
    shutil.rmtree(part, ignore_errors=True)
    for wheel in wheels:
        os.remove(wheel)
"""
)


@dataclass(frozen=True)
class RuntimeEnv:
    """What workers run with: a Python, directories for its `PYTHONPATH`, and the runtime that it finds there."""

    python: str
    pythonpath: list[str]
    name: str
    version: str


def unpack(
    transport: Transport,
    board: Board,
    python: Interpreter,
    runtime: RuntimeEnv,
    wheels: list[str],
    progress: Callable[[str], None],
) -> None:
    """Make an environment of wheels that are in the board's store, and try it; the wheels go.

    Raises:
        BoardError: no space, or it does not work there; then nothing of it stays.
    """
    progress(f"unpacking them there, under {python.path}")
    (directory,) = runtime.pythonpath
    command = [python.path, "-c", UNPACK, directory, TRY_IMPORTS, modules_of(runtime.name), *wheels]
    check_unpacked(transport.run(command, timeout_s=UNPACK_S), board, python, runtime)


def modules_of(runtime: str) -> str:
    """What an environment of a runtime has to import, as `TRY_IMPORTS` takes it."""
    return json.dumps({each: MODULES[each] for each in ("numpy", "psutil", runtime)})


def check_unpacked(done: Completed, board: Board, python: Interpreter, runtime: RuntimeEnv) -> None:
    """See that all was imported.

    Raises:
        BoardError: as of `unpack`.
    """
    found = imports_of(done.stdout)
    if done.returncode == 0 and None not in found.values() and len(found) == len(json.loads(modules_of(runtime.name))):
        return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if "No space left" in " ".join(said[-1:]):
        raise disk_filled(board, f"the runtime was unpacked in {runtime.pythonpath[0]}")
    raise BoardError(
        f"{runtime.name} {runtime.version} does not work on {board.name} under {python}: "
        f"{(said or ['it gave no reason'])[-1]}",
        hint=f"Use another Python there: name it as `python` of [boards.{board.name}] in the inventory.",
    )


def disk_filled(board: Board, when: str) -> BoardError:
    """That there is no space any more."""
    return BoardError(
        f"The disk of {board.name} filled up while {when}.",
        hint="Free some space there, or give the board another `home` in the inventory.",
    )


def imports_of(stdout: bytes) -> dict[str, str | None]:
    """What `TRY_IMPORTS` said: the version of each, or None; empty where it said nothing."""
    for line in reversed(stdout.decode(errors="replace").splitlines()):
        if line.startswith("imports "):
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(line.removeprefix("imports "))
                if isinstance(found, dict) and all(isinstance(each, (str, type(None))) for each in found.values()):
                    return found
    return {}
