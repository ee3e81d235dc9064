"""Links that break, in every direction and at every time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import BoardSession
from edgesparse.boards.ssh import SshTransport
from edgesparse.convert import Bundle
from edgesparse.files import sha256_of
from edgesparse.store import RunRecord
from tests.faults.boards import assert_usable, measure
from tests.faults.conftest import Tell, samples
from tests.sshd import Sshd

Lost = Callable[[RunRecord], int]


def test_a_link_cut_while_files_are_pushed(bundle: Bundle, board: Board, sshd: Sshd, tmp_path: Any, tell: Tell) -> None:
    large = tmp_path / "large"
    large.write_bytes(np.random.default_rng(0).bytes(30_000_000))
    sha256 = sha256_of(large)
    cuts: list[int] = []
    said: list[str] = []

    def cut_at_a_third(count: int) -> None:
        cuts.append(count)
        if sum(cuts) > 10_000_000 and len(said) < 3:
            sshd.cut()

    with BoardSession(board, reach, said.append) as session:
        pushed = session.push([(large, sha256)], cut_at_a_third)
    assert pushed.moved == 1
    assert any("is lost; reaching it again" in text for text in said)
    assert sha256_of(sshd.board_home / "objects" / sha256) == sha256
    assert list(sshd.board_home.rglob(".part-*")) == []
    assert_usable(bundle, board)
    tell("link cut during a push", "sshd's processes killed after a third of 30 MB",
         "reached again and pushed anew; no half file", 0)  # fmt: skip


def test_a_link_cut_while_readings_stream(bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell) -> None:
    cuts: list[int] = []

    def cut_now_and_then(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] in (9, 20, 33):
            cuts.append(sshd.cut())

    run = measure(bundle, board, on_message=cut_now_and_then)
    assert len(cuts) == 3
    assert all(cuts)
    assert samples(run.record.records()) == 6 * 6 * 15
    tell("link cut while readings stream", "sshd's processes killed three times in a run",
         "reached again, the rest collected", lost_on(run.record))  # fmt: skip


def test_an_ssh_server_that_is_killed_and_comes_back(
    bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell
) -> None:
    def away_for_a_while(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == 12:
            sshd.stop()
            threading.Timer(4, sshd.start, sshd.options).start()

    started = time.monotonic()
    run = measure(bundle, board, on_message=away_for_a_while)
    assert time.monotonic() - started > 4
    assert samples(run.record.records()) == 6 * 6 * 15
    tell("sshd killed", "server and sessions killed in a run, started again 4 s later",
         "the board measured on; reached again, the rest collected", lost_on(run.record))  # fmt: skip


@pytest.mark.timeout(200)
def test_a_cable_that_is_pulled_is_noticed(bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell) -> None:
    def quick(where: Board) -> SshTransport:
        return SshTransport(where, keepalive_s=1.0, dead_link_s=5.0)

    frozen: list[int] = []

    def freeze(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == 12:
            frozen.append(sshd.freeze())

    run = measure(bundle, board, on_message=freeze, reach=quick)
    assert frozen[0]
    assert samples(run.record.records()) == 6 * 6 * 15
    sshd.cut()  # the frozen ones
    assert_usable(bundle, board)
    tell("cable pulled: the link falls silent", "sshd's processes stopped (SIGSTOP) in a run",
         "noticed by its silence, reached again, the rest collected", lost_on(run.record))  # fmt: skip
