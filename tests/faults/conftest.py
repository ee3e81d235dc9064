"""What happens when things break, on the real parts; at the end a table of it, which is the README's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from edgesparse.boards.inventory import Board
from edgesparse.store import RunRecord
from tests.e2e.conftest import bundle
from tests.faults.boards import loopback
from tests.sshd import Sshd, make_sshd, sshd

__all__ = ["bundle", "make_sshd", "sshd"]

ROWS = pytest.StashKey[list[tuple[str, str, str, int]]]()


class Tell(Protocol):
    """Says what a fault was, how it was made, and what happened; and how many samples that were journalled on the board
    did not reach the host."""

    def __call__(self, fault: str, how: str, happened: str, lost: int) -> None: ...


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """For the table."""

    def add(fault: str, how: str, happened: str, lost: int) -> None:
        assert lost == 0
        request.config.stash.setdefault(ROWS, []).append((fault, how, happened, lost))

    return add


@pytest.fixture
def board(sshd: Sshd) -> Board:
    """A real OpenSSH server on loopback, as a board."""
    return loopback(sshd)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line("| fault | how it was made | what happened | samples lost |")
        terminalreporter.write_line("|---|---|---|---|")
        for row in rows:
            terminalreporter.write_line(f"| {' | '.join(map(str, row))} |")


def lost(record: RunRecord, home: Path) -> int:
    """Samples in the board's journal that the host does not have; the host's records have no gap and none twice."""
    from edgesparse.agent.journal import read_from

    here = record.records()
    assert [each["seq"] for each in here] == list(range(1, len(here) + 1))
    there = [each for _, each in read_from(home / "runs" / record.id / "journal.jsonl", 0)]
    assert here == there[: len(here)]
    return samples(there) - samples(here)


def samples(records: list[dict[str, Any]]) -> int:
    """How many latencies they hold."""
    return sum(len(each["latency_ns"]) for each in records if each["type"] == "samples")


@pytest.fixture
def lost_on(sshd: Sshd) -> Callable[[RunRecord], int]:
    """`lost`, for the board on loopback."""
    return lambda record: lost(record, sshd.board_home)
