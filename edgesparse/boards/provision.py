"""What a board has, and a runtime for one that has none: wheels fetched here, pushed, unpacked there. No pip on the board."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import Transport, missing
from edgesparse.convert.bundle import sha256_of
from edgesparse.errors import BoardError

PYTHON_MIN = (3, 9)
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9")
NEEDED = ("numpy", "psutil")
TFLITE_RUNTIME = "2.14.0"
IMPORTS = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
PROBE_S = 60.0
UNPACK_S = 600.0
DOWNLOAD_S = 600.0

# One JSON line about the Python that runs it, quickly: the packages' metadata is read, nothing is imported.
_ABOUT_PYTHON = """
import json, sys
from importlib import metadata
found = {}
for name in ("numpy", "psutil", "ai-edge-litert", "tflite-runtime"):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        continue
print(json.dumps({"python": sys.executable, "version": list(sys.version_info[:3]), "packages": found}))
"""

# Where `importlib.metadata` is missing (Python 3.7 and older) the version alone is told.
_ABOUT_OLD_PYTHON = 'import json, sys; print(json.dumps({"python": sys.executable, "version": list(sys.version_info[:3])}))'

_UNPACK = """
import os, pathlib, shutil, sys, zipfile
target, wheels = pathlib.Path(sys.argv[1]), sys.argv[2:]
aside = target.with_name(".part-" + target.name)
shutil.rmtree(aside, ignore_errors=True)
for wheel in wheels:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(aside)
os.sync()
os.rename(aside, target)
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on the board and the packages that matter here, by version."""

    path: str
    version: tuple[int, ...]
    packages: dict[str, str]

    @property
    def usable(self) -> bool:
        """New enough for the agent."""
        return self.version >= PYTHON_MIN


@dataclass(frozen=True)
class BoardFacts:
    """What the board says of itself; `libc` is (major, minor) of glibc, None where it has another."""

    arch: str
    kernel: str
    libc: tuple[int, int] | None
    distribution: str
    pythons: list[Interpreter]


@dataclass(frozen=True)
class RuntimeEnv:
    """A Python on the board, directories in front of its path, and the TFLite runtime found there."""

    python: str
    pythonpath: list[str]
    name: str
    version: str


def probe(transport: Transport, board: Board) -> BoardFacts:
    """Ask the board what it has, in one round trip.

    Raises:
        BoardError: it does not answer as a Linux board would.
    """
    about, old = shlex.quote(_ABOUT_PYTHON), shlex.quote(_ABOUT_OLD_PYTHON)
    names = shlex.quote(board.python) if board.python else " ".join(PYTHONS)
    script = f"""
echo "arch $(uname -m)"; echo "kernel $(uname -r)"; echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
echo "distribution $(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
for name in {names}; do
  path=$(command -v "$name") || continue
  "$path" -c {about} 2>/dev/null || "$path" -c {old} 2>/dev/null
done; true
"""
    done = transport.run(["sh", "-c", script], timeout_s=PROBE_S)
    facts = parse_facts(done.stdout.decode(errors="replace"))
    if not facts.arch:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise BoardError(f"{board.name} does not answer like a Linux board: {said!r}.", hint="edgesparse needs a POSIX shell there.")
    return facts


def parse_facts(output: str) -> BoardFacts:
    """The facts in what the probe's script printed."""
    words: dict[str, str] = {}
    pythons: dict[str, Interpreter] = {}
    for line in output.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            python = Interpreter(found["python"], tuple(found["version"]), found.get("packages", {}))
            pythons.setdefault(python.path, python)
        else:
            key, _, value = line.partition(" ")
            words[key] = value.strip()
    libc = re.fullmatch(r"glibc (\d+)\.(\d+).*", words.get("libc", ""))
    return BoardFacts(
        arch={"arm64": "aarch64", "amd64": "x86_64"}.get(words.get("arch", ""), words.get("arch", "")),
        kernel=words.get("kernel", ""),
        libc=(int(libc[1]), int(libc[2])) if libc else None,
        distribution=words.get("distribution", ""),
        pythons=list(pythons.values()),
    )


def choose_python(facts: BoardFacts, board: Board) -> Interpreter:
    """The Python for the agent: the first usable one that has a runtime already, else the first usable one.

    Raises:
        BoardError: there is none, or only older ones.
    """
    usable = [python for python in facts.pythons if python.usable]
    oldest = ".".join(map(str, PYTHON_MIN))
    if not usable:
        found = ", ".join(f"{python.path} {'.'.join(map(str, python.version))}" for python in facts.pythons) or "none"
        where = f"at {board.python} " if board.python else ""
        raise BoardError(
            f"{board.name} ({facts.distribution or facts.arch}) needs Python {oldest} or newer {where}for the agent; found {found}.",
            hint=f"Install one there (sudo apt install python3.9 or newer), and name it in the inventory: "
            f'[boards.{board.name}] python = "/usr/bin/python3.9"',
        )
    return next((python for python in usable if _installed(python, board)), usable[0])


def _installed(python: Interpreter, board: Board) -> tuple[str, str] | None:
    """The runtime, with its version, that this Python has together with all that it needs."""
    if not all(name in python.packages for name in NEEDED):
        return None
    return next(((name, python.packages[name]) for name in board.type.runtimes if name in python.packages), None)


def ensure_runtime(
    transport: Transport, board: Board, facts: BoardFacts, python: Interpreter, progress: Callable[[str], None]
) -> RuntimeEnv:
    """A runtime for this Python: its own, or wheels in the board's store, under a directory named by their hash.

    Raises:
        BoardError: there are no wheels for this board, they cannot be fetched, or they do not import there.
    """
    installed = _installed(python, board)
    if installed:
        return RuntimeEnv(python.path, [], *installed)
    wheels = fetch_wheels(facts, python, board, progress)
    lock = hashlib.sha256("".join(f"{path.name} {sha256_of(path)}\n" for path in wheels).encode()).hexdigest()[:16]
    directory = f"{transport.home}/runtimes/{lock}"
    (name, found), *_ = [(name, wheel.name.split("-")[1]) for name in IMPORTS for wheel in wheels
                         if wheel.name.startswith(name.replace("-", "_"))]  # fmt: skip
    if missing(transport, [f"{directory}/{IMPORTS[name].replace('.', '/')}.py"]):
        progress(f"{board.name} has no TFLite runtime; pushing {name} {found} for {facts.arch} and Python {_short(python)}")
        remote = {path: f"{transport.home}/runtimes/wheels/{path.name}" for path in wheels}
        absent = set(missing(transport, list(remote.values())))
        transport.put([(path, target) for path, target in remote.items() if target in absent], lambda count: None)
        _on_board(transport, [python.path, "-c", _UNPACK, directory, *remote.values()], board, "unpacking the runtime")
        imports = f"import numpy, psutil, {IMPORTS[name]}"
        _on_board(transport, ["env", f"PYTHONPATH={directory}", python.path, "-c", imports], board, "importing the runtime")
    return RuntimeEnv(python.path, [directory], name, found)


def _on_board(transport: Transport, argv: Sequence[str], board: Board, what: str) -> None:
    done = transport.run(list(argv), timeout_s=UNPACK_S)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise BoardError(
            f"{board.name}: {what} failed: {said[0]}.", hint=f"Remove {transport.home}/runtimes there and try again."
        )


def requirements(facts: BoardFacts, python: Interpreter) -> list[str]:
    """What has to be fetched: the runtime that exists for this architecture and Python, and what it needs.

    Raises:
        BoardError: none exists.
    """
    minor = python.version[:2]
    if facts.libc is not None and (3, 10) <= minor <= (3, 13) and facts.arch in ("aarch64", "x86_64"):
        return [f"ai-edge-litert=={version('ai-edge-litert')}", "numpy", "psutil"]
    if facts.libc is not None and (3, 9) <= minor <= (3, 11) and facts.arch in ("aarch64", "x86_64", "armv7l"):
        return [f"tflite-runtime=={TFLITE_RUNTIME}", "numpy<2", "psutil"]
    raise _no_wheel(facts, python)


def fetch_wheels(facts: BoardFacts, python: Interpreter, board: Board, progress: Callable[[str], None]) -> list[Path]:
    """The wheels for a board, out of the cache or fetched by pip for the board's architecture, libc and Python.

    Raises:
        BoardError: there are none, or they cannot be fetched.
    """
    needed = requirements(facts, python)
    assert facts.libc is not None
    tag = f"{facts.arch}-{_short(python)}-glibc{facts.libc[0]}.{facts.libc[1]}"
    key = hashlib.sha256(" ".join(needed).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("EDGESPARSE_CACHE") or platformdirs.user_cache_path("edgesparse")) / "wheels"
    directory = cache / f"{tag}-{key}"
    if not directory.is_dir():
        progress(f"fetching {', '.join(needed)} for {facts.arch} and Python {_short(python)}")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as aside:
            _download(needed, facts, python, board, Path(aside) / "wheels")
            (Path(aside) / "wheels").rename(directory)
    return sorted(directory.glob("*.whl"))


def _download(needed: list[str], facts: BoardFacts, python: Interpreter, board: Board, target: Path) -> None:
    assert facts.libc is not None
    major, minor = facts.libc
    platforms = [f"manylinux_{major}_{each}_{facts.arch}" for each in range(minor, 16, -1)]
    platforms += [f"manylinux2014_{facts.arch}", f"linux_{facts.arch}"]
    abi = "cp" + "".join(map(str, python.version[:2]))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--implementation", "cp", "--python-version", _short(python), "--abi", abi,
               "--abi", "abi3", "--abi", "none", "--dest", str(target)]  # fmt: skip
    for platform in platforms:
        command += ["--platform", platform]
    done = subprocess.run([*command, *needed], capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        if any("No matching distribution" in line or "Could not find a version" in line for line in errors):
            raise _no_wheel(facts, python)
        raise BoardError(
            f"The runtime for {board.name} cannot be fetched: {(errors or ['pip said nothing'])[-1]}.",
            hint="Is this machine online? Or install numpy, psutil and ai-edge-litert on the board yourself.",
        )


def _no_wheel(facts: BoardFacts, python: Interpreter) -> BoardError:
    libc = f"glibc {facts.libc[0]}.{facts.libc[1]}" if facts.libc else "a libc other than glibc"
    return BoardError(
        f"There is no TFLite runtime wheel for {facts.arch}, Python {_short(python)}, {libc}.",
        hint="ai-edge-litert has wheels for aarch64 and x86_64 with Python 3.10 to 3.13, tflite-runtime for aarch64, "
        "x86_64 and armv7l with Python 3.9 to 3.11 and glibc 2.34 or newer. Name another Python in the inventory.",
    )


def _short(python: Interpreter) -> str:
    return ".".join(map(str, python.version[:2]))
