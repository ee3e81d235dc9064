"""The environment in which peers are measured: their own, so that theirs and the project's packages never meet."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from edgesparse.errors import MeasurementError, UsageError
from edgesparse.networks import cache_dir
from kernels.bench.files import say

REQUIREMENTS = Path(__file__).with_name("peers_requirements.txt")
OLDEST = (3, 11)


def peers_python() -> Path:
    """The environment's interpreter; it is made first where it is missing.

    Raises:
        UsageError: this Python is too old for the peers. MeasurementError: the packages could not be installed.
    """
    if sys.version_info[:2] < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:2])
        raise UsageError(
            f"Expected Python {OLDEST[0]}.{OLDEST[1]} or newer for the peers, found {found}.",
            hint="Make the project's environment with a newer one: make clean setup PYTHON=python3.12",
        )
    content = REQUIREMENTS.read_bytes() + sys.version.encode()
    place = cache_dir().parent / f"peers-{hashlib.sha256(content).hexdigest()[:12]}"
    ready = place / ".ready"
    if not ready.exists():
        say(f"installing the peers into {place}")
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(place)])
        # --no-deps: the list is complete but for a package that reports usage. A dependency of ai-edge-litert's says
        # that it is for older Pythons only, and is asked for all the same.
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "--disable-pip-version-check"]
        flags = ["--quiet", "--no-deps", "--ignore-requires-python", "--only-binary=:all:"]
        _run([*pip, "install", *flags, "--requirement", str(REQUIREMENTS)])
        ready.touch()
    return place / "bin" / "python"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MeasurementError(
            f"The peers' environment could not be made; {Path(command[2]).name} said: {said}",
            hint="It needs the package index that pip uses, once.",
        )
