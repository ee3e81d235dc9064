"""A board that loses its power, hangs, or whose clock jumps: the emulated one, with its emulator killed."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgesparse.boards import reach
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import BoardSession
from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.virt import Image, Machine, ensure_image, tools
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError, MeasurementError
from edgesparse.files import sha256_of
from edgesparse.store import RunRecord
from edgesparse.zipapp import agent_zipapp
from tests.faults.boards import assert_usable, measure
from tests.faults.conftest import Tell, samples
from tests.faults.test_agents import repacked

MISSING = tools.missing_packages(build=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt)"),
    pytest.mark.timeout(1200),  # the first may build the image, and everything is slow when it is emulated
]


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(print)


@pytest.fixture(scope="module")
def machine(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.start(image)
    yield made
    made.stop(discard=True)


@pytest.fixture
def virtual(machine: Machine, bundle: Bundle) -> Board:
    """The emulated board, with everything on it."""
    assert_usable(bundle, machine.board())
    return machine.board()


def shell(board: Board, script: str) -> str:
    transport = SshTransport(board)
    try:
        return transport.run(["sh", "-c", script], timeout_s=120).stdout.decode().strip()
    finally:
        transport.close()


class Plug:
    """The board's, pulled once and put back after a while."""

    def __init__(self, machine: Machine, image: Image) -> None:
        self.machine, self.image, self.pulled = machine, image, False
        self._booting = threading.Thread(target=lambda: machine.start(image, keep=True))

    def pull(self) -> None:
        if not self.pulled:
            self.machine.power_cut()
            self._booting.start()
            self.pulled = True

    def back(self) -> None:
        """Wait until it is up again."""
        assert self.pulled
        self._booting.join()


@pytest.fixture
def plug(machine: Machine, image: Image) -> Plug:
    return Plug(machine, image)


def lost(record: RunRecord, board: Board) -> int:
    """Samples that the board's journal has and the host has not."""
    said = shell(board, f"cat /root/.edgesparse/runs/{record.id}/journal.jsonl")
    there, here = [json.loads(line) for line in said.splitlines()], record.records()
    assert [each["seq"] for each in here] == list(range(1, len(here) + 1))
    assert there[: len(here)] == here
    return samples(there) - samples(here)


def test_power_cut_during_a_push(bundle: Bundle, virtual: Board, plug: Plug, tmp_path: Path, tell: Tell) -> None:
    large = tmp_path / "large"
    large.write_bytes(np.random.default_rng(1).bytes(8_000_000))
    sha256, sent = sha256_of(large), [0]

    def pull_at_a_third(count: int) -> None:
        sent[0] += count
        if sent[0] > 3_000_000:
            plug.pull()

    with BoardSession(virtual, reach) as session:
        pushed = session.push([(large, sha256)], pull_at_a_third)
        assert pushed.moved == 1
        found = shell(virtual, f"cd /root/.edgesparse; sha256sum objects/{sha256}; find . -name '.part-*'")
    plug.back()
    assert found.split() == [sha256, f"objects/{sha256}"]
    assert_usable(bundle, virtual)
    tell("power cut during a push", "emulator killed after a third of 8 MB, booted again",
         "reached again and pushed anew; no half file", 0)  # fmt: skip


def test_power_cut_during_a_run(bundle: Bundle, virtual: Board, plug: Plug, tell: Tell) -> None:
    def pull(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == 16:
            plug.pull()

    with pytest.raises(MeasurementError, match="the agent was stopped or the board restarted"):
        measure(bundle, virtual, rounds=50, on_message=pull)
    plug.back()
    record = RunRecord.last()
    assert samples(record.records()) > 0
    with BoardSession(virtual, reach) as session, session.link() as link:
        status = link.ask({"type": "status"})
    assert (status["state"], status["queue"]) == ("idle", [])  # no lease outlives a reboot
    missing = lost(record, virtual)
    assert_usable(bundle, virtual)
    assert samples(measure(bundle, virtual, rounds=1).record.records()) == 6 * 15
    tell("power cut during a run", "emulator killed in a run, booted again",
         "the run ends with that reason, what was measured is kept; the board is free", missing)  # fmt: skip


# When the power is cut in an upgrade, in the order in which it goes on: what is then so in the board's store. $1 is the
# new program.
MOMENTS = {
    "the program arrives": "ls -d agent/.part-* >/dev/null 2>&1",
    "it begins": "grep -qszx upgrade /proc/[0-9]*/cmdline",
    "the old agent has ended": "[ ! -S agent.sock ]",
    "the new one has begun": 'grep -qszxF "$1" $(grep -lszx daemon /proc/[0-9]*/cmdline) /dev/null',
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_power_cut_during_an_upgrade(bundle: Bundle, virtual: Board, plug: Plug, moment: str, tell: Tell) -> None:
    old, new = put_an_old_agent_there(virtual), agent_zipapp()[1]
    program = f"/root/.edgesparse/agent/{new}.pyz"
    assert shell(virtual, "ls /root/.edgesparse/agent") == f"{old}.pyz"
    with cut_when(MOMENTS[moment], program, virtual, plug), BoardSession(virtual, reach) as session:
        assert session.runtime
        with pytest.raises(BoardError):  # it is cut before it ends
            session.control("upgrade")
    plug.back()
    there = shell(virtual, "ls /root/.edgesparse/agent").split()
    assert f"{old}.pyz" in there, "until the new one runs"
    assert_usable(bundle, virtual)
    with BoardSession(virtual, reach) as session:
        session.control("upgrade")
    programs = shell(virtual, "cd /root/.edgesparse/agent; sha256sum *; find . -name '.part-*'").splitlines()
    assert [line.split() for line in programs] == [[new, f"{new}.pyz"]]
    if moment == list(MOMENTS)[-1]:
        tell("power cut during an agent's upgrade",
             "emulator killed as its program arrives, as it begins, as the old agent has ended, as the new one begins",
             "the next one completes it; one whole agent there", 0)  # fmt: skip


def put_an_old_agent_there(board: Board) -> str:
    """Have an agent of another version run in the place of this one's, whose program is gone; returns its SHA-256."""
    data, sha256 = repacked(agent_zipapp()[0], 1)
    with BoardSession(board, reach) as session, tempfile.TemporaryDirectory() as directory:
        runtime, remote = session.runtime, f"{session.home}/agent/{sha256}.pyz"
        local = Path(directory) / "old"
        local.write_bytes(data)
        session.transport.put([(local, remote)], lambda count: None)
        path = f"PYTHONPATH={os.pathsep.join(runtime.pythonpath)}"
        done = session.transport.run(
            ["env", path, runtime.python, remote, "start", "--home", session.home], timeout_s=300
        )
        assert json.loads(done.stdout)["state"] == "started", done.stdout
        session.transport.run(
            ["sh", "-c", 'rm -- "$1"; sync', "sh", f"{session.home}/agent/{agent_zipapp()[1]}.pyz"], timeout_s=60
        )
    return sha256


@contextmanager
def cut_when(condition: str, program: str, board: Board, plug: Plug) -> Iterator[None]:
    """Pull the plug as soon as this is so on the board."""
    script = f"cd /root/.edgesparse; until {condition}; do sleep 0.02; done; echo now"
    watching = SshTransport(board)
    stream = watching.open(["sh", "-c", script, "sh", program])

    def watch() -> None:
        if stream.readline(600) == b"now\n":
            plug.pull()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()
    watching.close()
    assert plug.pulled


def test_a_clock_that_jumps(bundle: Bundle, virtual: Board, tell: Tell) -> None:
    jumps: list[str] = []

    def jump(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] in (10, 14, 18):
            jumps.append(shell(virtual, f"date -s @$(($(date +%s) {('+', '-', '-')[len(jumps)]} 18000)); date -Is"))

    run = measure(bundle, virtual, rounds=2, on_message=jump)
    assert len(set(jumps)) == 3
    assert samples(run.record.records()) == 2 * 6 * 15
    assert run.record.records()[-1]["status"] == "finished"
    tell("clock jumps by hours", "`date -s` five hours on, back, and back again in a run",
         "nothing: times are of the monotonic clock", lost(run.record, virtual))  # fmt: skip


def test_a_board_that_hangs_for_a_while(bundle: Bundle, virtual: Board, machine: Machine, tell: Tell) -> None:
    def quick(where: Board) -> SshTransport:
        return SshTransport(where, connect_timeout_s=5, keepalive_s=1.0, dead_link_s=4.0)

    def hang(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == 12:
            state = machine.running()
            assert state is not None
            emulator = psutil.Process(state.pid)
            emulator.suspend()
            threading.Timer(20, emulator.resume).start()

    started = time.monotonic()
    run = measure(bundle, virtual, rounds=1, on_message=hang, reach=quick)
    assert time.monotonic() - started > 20
    assert samples(run.record.records()) == 6 * 15
    tell("board hangs", "emulator stopped for 20 s in a run",
         "noticed by its silence; reached again, the rest collected", lost(run.record, virtual))  # fmt: skip
