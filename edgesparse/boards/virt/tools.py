"""The programs that the emulated board needs, and how one of them is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgesparse.errors import BoardError

# Program to Debian package; what every Debian has (apt-get, dpkg-deb, mke2fs) tells other systems what is wanted.
BUILD_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
QEMU_IMG = {"qemu-img": "qemu-utils"}
# Debian has all of ARM in one package.
EMULATORS = {"qemu-system-aarch64": "qemu-system-arm", "qemu-system-arm": "qemu-system-arm"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SYSTEM_DIRS = ("/usr/sbin", "/sbin")


def find(program: str) -> str | None:
    """Where a program is; a user's PATH often lacks the directories of those for administrators."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_DIRS]))


def missing_packages(emulator: str = "qemu-system-aarch64", *, build: bool) -> list[str]:
    """The Debian packages that have to be installed first; with `build` also what making the image takes."""
    wanted = {emulator: EMULATORS[emulator], **QEMU_IMG, **(BUILD_TOOLS if build else {})}
    packages = [package for program, package in wanted.items() if find(program) is None]
    if build and not KEYRING.is_file():
        packages.append("debian-archive-keyring")
    return list(dict.fromkeys(packages))


def require(emulator: str, *, build: bool) -> None:
    """Make sure that everything is there.

    Raises:
        BoardError: something is not; names the line that installs it.
    """
    if packages := missing_packages(emulator, build=build):
        line = f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        raise BoardError(f"The emulated board needs {', '.join(packages)}.", hint=f"Install what is missing: {line}")


def run(command: Sequence[str | Path], *, doing: str, timeout_s: float, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed.

    Args:
        doing: what it is run for, to complete "… failed".

    Raises:
        BoardError: it failed or took too long; says what it said last.
    """
    program = find(str(command[0])) or str(command[0])
    try:
        done = subprocess.run(
            [program, *command[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout_s, check=False, env=dict(env) if env is not None else None,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BoardError(
            f"{doing} was not done within {timeout_s:g} s.", hint="Is the machine busy? Try again."
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise BoardError(f"{doing} failed: {command[0]}: {said[-1]}")
    return done.stdout
