"""A Python and a TFLite runtime on the board: the board's own where it has them, wheels from the host where it has not.

The board needs no internet and no pip: wheels are fetched on the host, pushed as files and unpacked by the board's own
Python into `runtimes/<hash of the wheels>/`, beside whatever is there. A board that has both fetches them itself: the
very ones that the host has chosen, or those that it chooses where the host cannot see the package index.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgesparse.boards.facts import BoardFacts, Interpreter, parse_facts, probe
from edgesparse.boards.fetching import can_fetch, fetch_newest, fetch_same, lock_of
from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import LinkLost, Transport, missing
from edgesparse.boards.unpacking import MODULES, TRY_IMPORTS, RuntimeEnv, check_unpacked, imports_of, unpack
from edgesparse.boards.wheels import NUMPY_1, REQUIREMENTS, IndexUnseen, NoWheel, fetch_wheels, wheelhouse
from edgesparse.errors import BoardError
from edgesparse.files import sha256_of

__all__ = [
    "BoardFacts",
    "Interpreter",
    "RuntimeEnv",
    "RuntimePlan",
    "carry_out",
    "choose_python",
    "ensure_runtime",
    "parse_facts",
    "plan_runtime",
    "probe",
]

PYTHON_MIN = (3, 9)
IMPORT_S = 120.0
_NUMPY_MIN = (1, 23)

_WHAT_EXISTS = (
    "ai-edge-litert has wheels for aarch64 and x86_64 with glibc 2.27 or newer and Python 3.9 to 3.14, tflite-runtime "
    "for aarch64, armv7l and x86_64 with glibc 2.34 or newer and Python 3.9 to 3.11. numpy and psutil may come from "
    "the board's own packages: sudo apt install python3-numpy python3-psutil"
)


def choose_python(facts: BoardFacts, board: Board) -> Interpreter:
    """The board's Python to use: the one that the inventory names; else the newest of those that have all that is
    needed, or of all that are new enough.

    Raises:
        BoardError: there is none.
    """
    oldest = max(PYTHON_MIN, tuple(int(part) for part in board.type.python_min.split(".")[:2]))
    usable = [python for python in facts.pythons if python.version[:2] >= oldest]
    if usable:
        return max(usable, key=lambda python: (_has_all(python, board), python.version))
    wanted = ".".join(map(str, oldest))
    where = f"{board.name} ({', '.join(filter(None, [facts.model, facts.system, facts.arch]))})"
    if board.python:
        found = f"found {facts.pythons[0]}" if facts.pythons else f"there is none at {board.python}"
        raise BoardError(
            f"Expected Python {wanted} or newer at {board.python} on {where}; {found}.",
            hint=f"Correct or remove `python` of [boards.{board.name}] in the inventory.",
        )
    found = f"found {', '.join(map(str, facts.pythons))}" if facts.pythons else "found no Python at all"
    # Ubuntu 20.04, the base of JetPack 5, has 3.8 by default and a newer one on offer.
    package = (
        "python3.9"
        if "20.04" in facts.system and oldest <= (3, 9)
        else f"python{wanted}"
        if facts.pythons
        else "python3"
    )
    raise BoardError(
        f"Expected Python {wanted} or newer on {where}; {found}.",
        hint=f"Install one there: sudo apt install {package}; where apt has none: uv python install 3.11, and name it "
        f"as `python` of [boards.{board.name}] in the inventory.",
    )


@dataclass(frozen=True)
class RuntimePlan:
    """How a board gets its runtime.

    Args:
        runtime: what workers will run with.
        directory: where it is or will be; None where the board's Python has it already.
        wheels: files on this machine that go into the directory; empty where it is there.
        needed_bytes: what that takes on the board.
        refused: runtimes that were preferred, and why there is nothing of them for this board.
        left_to_board: where this machine cannot see the package index, runtimes for the board to choose from, the first
            that it finds, and the requirements of each; what comes of it is known once it is there.
        unseen: why this machine cannot.
    """

    runtime: RuntimeEnv
    directory: str | None = None
    wheels: list[Path] = field(default_factory=list)
    needed_bytes: int = 0
    refused: list[str] = field(default_factory=list)
    left_to_board: dict[str, list[str]] = field(default_factory=dict)
    unseen: str = ""


def plan_runtime(
    transport: Transport,
    board: Board,
    facts: BoardFacts,
    python: Interpreter,
    progress: Callable[[str], None],
    *,
    cache: Path | None = None,
) -> RuntimePlan:
    """What a board's Python lacks of a runtime, and where it comes from; nothing is changed on the board.

    Args:
        progress: told each step that takes time.
        cache: where wheels are kept on the host; the user's cache directory where None.

    Raises:
        BoardError: there are no wheels for this board, or they cannot be fetched.
    """
    own = _own_modules(transport, python)
    for name in board.type.runtimes:
        if name in own and not _wanted(name, own):
            return RuntimePlan(RuntimeEnv(python.path, [], name, own[name]))
    refused: list[str] = []
    names = list(board.type.runtimes)
    for place, name in enumerate(names):
        wanted = _wanted(name, own)
        if not wheelhouse(wanted, facts, python, cache).is_dir() and (
            known := _chosen_before(transport, python, wanted)
        ):
            return RuntimePlan(known, known.pythonpath[0], refused=refused)
        try:
            wheels = fetch_wheels(wanted, facts, python, board, progress, cache)
        except NoWheel as error:
            refused.append(f"{name}: nothing for {error}")
            continue
        except IndexUnseen as error:
            if not can_fetch(transport, python):
                raise
            left = {each: _wanted(each, own) for each in names[place:]}
            return RuntimePlan(RuntimeEnv(python.path, [], name, ""), None, [], 0, refused, left, error.message)
        return _plan_wheels(transport, python, name, wheels, refused)
    raise _nothing_for(board, facts, python, refused)


def _nothing_for(board: Board, facts: BoardFacts, python: Interpreter, refused: list[str]) -> BoardError:
    return BoardError(
        f"There is no TFLite runtime for {board.name}: {facts.arch}, Python {python.short_version}, {facts.libc} "
        f"({'; '.join(refused)}).",
        hint=_WHAT_EXISTS,
    )


def ensure_runtime(
    transport: Transport,
    board: Board,
    facts: BoardFacts,
    python: Interpreter,
    progress: Callable[[str], None],
    *,
    cache: Path | None = None,
) -> RuntimeEnv:
    """A runtime for the board's Python: its own if it has one that works, else one in the store.

    Args:
        progress, cache: as of `plan_runtime`.

    Raises:
        BoardError: there are no wheels for this board, no space, or they do not work there.
    """
    plan = plan_runtime(transport, board, facts, python, progress, cache=cache)
    return carry_out(transport, board, facts, python, plan, progress)


def carry_out(
    transport: Transport,
    board: Board,
    facts: BoardFacts,
    python: Interpreter,
    plan: RuntimePlan,
    progress: Callable[[str], None],
) -> RuntimeEnv:
    """Do what `plan_runtime` says; returns what the board then has.

    Raises:
        BoardError: as of `ensure_runtime`.
    """
    if plan.left_to_board:
        return _let_it_choose(transport, board, facts, python, plan, progress)
    if plan.directory is None:
        _remember(transport, python)
    elif plan.wheels:
        _provide(transport, board, facts, python, plan, progress)
    return plan.runtime


def _plan_wheels(
    transport: Transport, python: Interpreter, name: str, wheels: list[Path], refused: list[str]
) -> RuntimePlan:
    """They stay where they are already: the directory is named by what is in it."""
    runtime = _locked(transport, python, name, {wheel.name: sha256_of(wheel) for wheel in wheels})
    (directory,) = runtime.pythonpath
    if not missing(transport, [directory]):
        return RuntimePlan(runtime, directory, refused=refused)
    needed_bytes = sum(wheel.stat().st_size + _unpacked_bytes(wheel) for wheel in wheels)
    return RuntimePlan(runtime, directory, wheels, needed_bytes, refused)


def _locked(transport: Transport, python: Interpreter, name: str, wheels: dict[str, str]) -> RuntimeEnv:
    """The environment of these wheels, by name and SHA-256, whether it is there or not."""
    start = name.replace("-", "_") + "-"
    version = next((wheel.split("-")[1] for wheel in wheels if wheel.startswith(start)), None)
    directory = f"{transport.home}/runtimes/{lock_of(wheels)}"
    return RuntimeEnv(python.path, [directory], name, version or python.modules.get(name, "unknown"))


def _let_it_choose(
    transport: Transport,
    board: Board,
    facts: BoardFacts,
    python: Interpreter,
    plan: RuntimePlan,
    progress: Callable[[str], None],
) -> RuntimeEnv:
    """Have the board's own pip fetch what it finds, and that unpacked."""
    refused = list(plan.refused)
    for name, wanted in plan.left_to_board.items():
        progress(
            f"{board.name} fetches {', '.join(wanted)} over its own network: this machine cannot see the package index"
        )
        try:
            fetched = fetch_newest(transport, board, python, wanted, name)
        except NoWheel as error:
            refused.append(f"{name}: nothing for {error}")
            continue
        except LinkLost:
            raise
        except BoardError as error:
            raise BoardError(f"{plan.unseen} {error.message}", hint=error.hint) from None
        runtime = _locked(transport, python, name, fetched.wheels)
        check_unpacked(fetched.unpacked, board, python, runtime)
        _write(
            transport, _choice(transport, python, wanted), json.dumps([runtime.pythonpath[0], name, runtime.version])
        )
        return runtime
    raise _nothing_for(board, facts, python, refused)


def _chosen_before(transport: Transport, python: Interpreter, wanted: list[str]) -> RuntimeEnv | None:
    """The environment that the board's own pip chose for these requirements, if it is there still."""
    if not can_fetch(transport, python) or missing(transport, [_choice(transport, python, wanted)]):
        return None
    done = transport.run(["cat", _choice(transport, python, wanted)], timeout_s=IMPORT_S)
    try:
        directory, name, version = map(str, json.loads(done.stdout))
    except (ValueError, TypeError, RecursionError):
        return None
    if missing(transport, [directory]):
        return None
    return RuntimeEnv(python.path, [directory], name, version)


def _choice(transport: Transport, python: Interpreter, wanted: list[str]) -> str:
    """The file that says which wheels the board's own pip chose for these requirements."""
    return f"{transport.home}/runtimes/chosen-{_key(python, wanted)}"


def _key(python: Interpreter, wanted: list[str]) -> str:
    return hashlib.sha256(json.dumps([python.path, python.version, wanted]).encode()).hexdigest()[:16]


def _provide(
    transport: Transport,
    board: Board,
    facts: BoardFacts,
    python: Interpreter,
    plan: RuntimePlan,
    progress: Callable[[str], None],
) -> None:
    """Have the wheels unpacked in the board's store."""
    directory = str(plan.directory)
    if facts.disk_free_bytes is not None and plan.needed_bytes > facts.disk_free_bytes:
        raise BoardError(
            f"The disk of {board.name} is full: the runtime needs {plan.needed_bytes / 1e6:.0f} MB in {directory}, "
            f"{facts.disk_free_bytes / 1e6:.0f} MB are free.",
            hint="Free some space there, or give the board another `home` in the inventory.",
        )
    fetched = fetch_same(transport, board, python, plan.wheels, plan.runtime.name, progress)
    if fetched is not None:
        check_unpacked(fetched.unpacked, board, python, plan.runtime)
        return
    remote = [f"{directory}-{wheel.name}" for wheel in plan.wheels]
    progress(f"putting {', '.join(wheel.name.split('-')[0] for wheel in plan.wheels)} onto {board.name}")
    transport.put(list(zip(plan.wheels, remote, strict=True)), lambda count: None)
    unpack(transport, board, python, plan.runtime, remote, progress)


def _unpacked_bytes(wheel: Path) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile:
        raise BoardError(
            f"{wheel}, fetched earlier, is damaged.", hint=f"Have it fetched again: rm -r {wheel.parent}"
        ) from None


def _own_modules(transport: Transport, python: Interpreter) -> dict[str, str]:
    """What the board's Python really imports of what it seems to have, with versions."""
    there = {name: module for name, module in MODULES.items() if name in python.modules}
    if not there or not missing(transport, [_record(transport, python)]):
        return python.modules
    # Debian's Pythons share their packages, and numpy's library fits only one of them: only importing tells.
    done = transport.run([python.path, "-c", TRY_IMPORTS, json.dumps(there)], timeout_s=IMPORT_S)
    # A module that takes the Python down with it leaves no list: then nothing of it is used.
    return {name: version for name, version in imports_of(done.stdout).items() if version is not None}


def _record(transport: Transport, python: Interpreter) -> str:
    """The file that says that this Python, with just these packages, was seen to import them."""
    what = json.dumps([python.path, python.version, python.modules], sort_keys=True)
    return f"{transport.home}/runtimes/own-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _remember(transport: Transport, python: Interpreter) -> None:
    _write(transport, _record(transport, python), "")


def _write(transport: Transport, path: str, content: str) -> None:
    """A file that saves time; where it cannot be written, the next time takes longer."""
    script = 'umask 077; mkdir -p "${1%/*}" && cat > "$1.part" && mv "$1.part" "$1"'
    transport.run(["sh", "-c", script, "sh", path], input=content.encode(), timeout_s=IMPORT_S)


def _wanted(name: str, own: dict[str, str]) -> list[str]:
    """The requirements that a runtime adds to what the board's Python has."""
    numpy = tuple(int(part) for part in own.get("numpy", "0.0").split(".")[:2] if part.isdigit())
    old_abi = name == "tflite-runtime"
    wanted = [REQUIREMENTS[each] for each in (name, "psutil") if each not in own]
    if numpy < _NUMPY_MIN or (old_abi and numpy >= (2,)):
        wanted.append(NUMPY_1 if old_abi else REQUIREMENTS["numpy"])
    return wanted


def _has_all(python: Interpreter, board: Board) -> bool:
    return {"numpy", "psutil"} <= set(python.modules) and any(name in python.modules for name in board.type.runtimes)
