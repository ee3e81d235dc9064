"""Both transports, reached for real: this machine, and an OpenSSH server on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.transport import Transport
from tests.sshd import Sshd
from tests.sshd import make_sshd as make_sshd
from tests.sshd import sshd as sshd
from tests.wheelhouse import add_wheel


@pytest.fixture(params=["local", "ssh"])
def board(request: pytest.FixtureRequest) -> Board:
    """This machine, and the same over SSH."""
    if request.param == "local":
        return resolve("local")
    server: Sshd = request.getfixturevalue("sshd")
    return resolve("x86-64", host=server.host)


@pytest.fixture
def transport(board: Board) -> Iterator[Transport]:
    """The board, reached."""
    transport = reach(board)
    yield transport
    transport.close()


@pytest.fixture
def local_transport() -> Iterator[Transport]:
    """This machine, reached."""
    transport = reach(resolve("local"))
    yield transport
    transport.close()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Wheels for this machine's Python."""
    cpython = f"cp3{sys.version_info.minor}"
    for distribution in ("ai_edge_litert-2.3.0", "numpy-2.2.6", "psutil-7.0.0"):
        add_wheel(tmp_path / "index", f"{distribution}-{cpython}-{cpython}-manylinux_2_17_x86_64")
    return tmp_path / "index"


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with pip and nothing else."""
    made = tmp_path_factory.mktemp("venv") / "pip"
    subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
    return made


def make_files(directory: Path, *sizes: int) -> list[Path]:
    """Files of these sizes, no two alike, that do not compress."""
    directory.mkdir(exist_ok=True)
    paths = [directory / f"file{number}" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(Random(number).randbytes(size))
    return paths
