"""Boards for these tests, and whether they are usable."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from edgesparse import bench, deploy
from edgesparse.boards.inventory import Board, resolve
from edgesparse.convert import Bundle
from edgesparse.store import Run
from tests.sshd import Sshd

BACKENDS = ["builtin", "xnnpack"]
CELLS = 6  # dense, unstructured, block-4x1 under each


def loopback(server: Sshd, name: str = "loop") -> Board:
    """The server as a board of the inventory, whose Python has the runtime already."""
    inventory = Path(os.environ["EDGESPARSE_CONFIG"])
    inventory.parent.mkdir(parents=True, exist_ok=True)
    before = inventory.read_text() if inventory.exists() else "version = 1\n"
    entry = f'[boards.{name}]\ntype = "x86-64"\nhost = "{server.host}"\npython = "{sys.executable}"\nthreads = [1]\n'
    if f"[boards.{name}]" not in before:
        inventory.write_text(before + entry)
    return resolve(name)


def measure(bundle: Bundle, board: Board, rounds: int = 6, **options: Any) -> Run:
    """A short run under two backends."""
    return bench(bundle, board, backends=BACKENDS, rounds=(rounds, rounds), samples=15, **options)


def assert_usable(bundle: Bundle, board: Board) -> None:
    """Everything is there or comes, every check passes, and no half of anything is left."""
    deployment = deploy(bundle, board, backends=BACKENDS)
    assert [check["status"] for check in deployment.checks] == ["ok"] * CELLS
