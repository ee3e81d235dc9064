"""Wheels for a board, fetched on the host by pip for the board's architecture, libc and Python, and kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from edgesparse.boards.facts import BoardFacts, Interpreter
from edgesparse.boards.inventory import Board
from edgesparse.errors import BoardError

DOWNLOAD_S = 900.0
# The interpreters of both runtimes import nothing but numpy, whatever else their wheels ask for (protobuf, tqdm, …).
REQUIREMENTS = {
    "ai-edge-litert": "ai-edge-litert>=2.1,<2.4",
    "tflite-runtime": "tflite-runtime>=2.13,<2.15",
    "numpy": "numpy>=1.23.2,<3",
    "psutil": "psutil>=5.9",
}
NUMPY_1 = "numpy>=1.23.2,<2"  # what tflite-runtime was built against
# The oldest glibc that wheels are marked for: manylinux1 is 2.5, and nothing for ARM is older than 2.17.
_OLDEST_GLIBC_MINOR = {"x86_64": 5}


class NoWheel(Exception):
    """The index has no wheel for one of the requirements; says which."""


class IndexUnseen(BoardError):
    """The package index cannot be reached from this machine."""


def wheelhouse(requirements: list[str], facts: BoardFacts, python: Interpreter, cache: Path | None = None) -> Path:
    """The directory for the wheels that meet the requirements on such a board, once they are fetched.

    Args:
        cache: as of `fetch_wheels`.
    """
    wanted = "\n".join([*requirements, facts.arch, facts.libc, python.short_version])
    kept = cache or platformdirs.user_cache_path("edgesparse")
    return kept / "wheels" / hashlib.sha256(wanted.encode()).hexdigest()[:16]


def fetch_wheels(
    requirements: list[str],
    facts: BoardFacts,
    python: Interpreter,
    board: Board,
    progress: Callable[[str], None],
    cache: Path | None = None,
) -> list[Path]:
    """The newest wheels that meet the requirements and run on the board; a set once fetched is used again.

    Args:
        cache: where they are kept; the user's cache directory where None.

    Raises:
        NoWheel: there is none for this board. IndexUnseen: they cannot be fetched.
    """
    directory = wheelhouse(requirements, facts, python, cache)
    if not directory.is_dir():
        progress(f"fetching {', '.join(requirements)} for {facts.arch}, Python {python.short_version}, {facts.libc}")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".part-") as aside:
            done = Path(aside) / "wheels"
            _download(requirements, facts, python, board, done)
            if not directory.is_dir():  # somebody else may have been quicker
                done.rename(directory)
    return sorted(directory.glob("*.whl"))


def _download(requirements: list[str], facts: BoardFacts, python: Interpreter, board: Board, target: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", python.short_version,
        *(f"--platform={tag}" for tag in platform_tags(facts)), "--dest", str(target), *requirements,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        raise IndexUnseen(
            f"The wheels for {board.name} were not fetched within {DOWNLOAD_S:g} s.",
            hint="Is the network slow? Try again.",
        ) from None
    if done.returncode == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    missing = [line for line in errors if "No matching distribution found for" in line]
    # Without a network nothing is found either, but pip warns of its retries before.
    if missing and "Retrying" not in done.stderr:
        raise NoWheel(missing[0].rpartition(" for ")[2])
    raise IndexUnseen(
        f"The wheels for {board.name} could not be fetched: "
        f"{(errors or [done.stderr.strip() or 'pip said nothing'])[-1]}",
        hint="This machine needs access to PyPI, or the board numpy, psutil and a TFLite runtime of its own.",
    )


def platform_tags(facts: BoardFacts) -> list[str]:
    """The platform tags whose wheels run on the board, newest first; pip takes each number by the letter.

    Raises:
        NoWheel: its libc is not glibc.
    """
    if facts.glibc is None:
        raise NoWheel(f"a board with {facts.libc}")
    major, minor = facts.glibc
    oldest = _OLDEST_GLIBC_MINOR.get(facts.arch, 17)
    tags = [f"manylinux_{major}_{each}_{facts.arch}" for each in range(minor, oldest - 1, -1)]
    return [*tags, f"manylinux2014_{facts.arch}"] if minor >= 17 else tags
