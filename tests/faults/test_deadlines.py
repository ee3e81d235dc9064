"""A board so slow that every deadline passes: each says in one sentence what did not come, and the board is usable when
it is quicker again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import BoardSession
from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.transport import Unreachable
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError
from tests.faults.boards import assert_usable
from tests.faults.conftest import Tell
from tests.faults.test_agents import processes
from tests.sshd import Sshd


@contextmanager
def stopped(found: list[psutil.Process]) -> Iterator[None]:
    """None of them gets on, for a while."""
    assert found
    for process in found:
        process.suspend()
    try:
        yield
    finally:
        for process in found:
            process.resume()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_a_server_that_takes_connections_and_says_nothing(board: Board, sshd: Sshd) -> None:
    assert sshd.process is not None
    with stopped([psutil.Process(sshd.process.pid)]), within(10), pytest.raises(Unreachable, match="nothing"):
        SshTransport(board, connect_timeout_s=2)


def test_a_command_that_takes_too_long(board: Board) -> None:
    transport = reach(board)
    with within(5), pytest.raises(BoardError, match=r"sleep did not end within 1 s on loop"):
        transport.run(["sleep", "30"], timeout_s=1)
    transport.close()


def test_an_agent_that_does_not_answer(
    bundle: Bundle, board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_usable(bundle, board)
    with (
        monkeypatch.context() as patch,
        stopped(processes(sshd, "daemon")),
        BoardSession(board, reach) as session,
        within(10),
        pytest.raises(BoardError, match=r"The agent on loop said nothing for 2 s"),
    ):
        patch.setattr("edgesparse.boards.agent_link.ANSWER_S", 2.0)
        session.link()


def test_an_agent_that_neither_answers_nor_ends(
    bundle: Bundle, board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    """Nothing can be started beside it: the store is its own. That is said, with what to do."""
    assert_usable(bundle, board)
    with (
        monkeypatch.context() as patch,
        stopped(processes(sshd, "daemon")),
        BoardSession(board, reach) as session,
        within(150),
        pytest.raises(BoardError) as caught,
    ):
        patch.setattr("edgesparse.boards.agent_link.ANSWER_S", 2.0)
        session.start_agent()
    assert "does not answer within 30 s; if it stays so, end it there: kill -9" in caught.value.message
    assert_usable(bundle, board)
    tell("board too slow for its deadlines", "server, commands, agent and workers stopped (SIGSTOP) beyond them",
         "each says what did not come and for how long; usable when it is quicker again", 0)  # fmt: skip


def test_a_board_that_stops_in_the_middle_of_a_push(
    board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgesparse.boards.putting.FINISH_S", 2.0)
    local = tmp_path / "file"
    local.write_bytes(bytes(1000))
    transport = SshTransport(board, keepalive_s=60, dead_link_s=60)

    def slow(count: int) -> None:
        sshd.freeze()

    with within(30), pytest.raises(BoardError, match=r"said nothing for 2 s while files were put"):
        transport.put([(local, f"{transport.home}/objects/file")], slow)
    sshd.cut()
    transport.close()
    there = sshd.board_home / "objects" / "file"
    assert not there.exists() or there.read_bytes() == bytes(1000)  # whole or not at all
