"""An agent or a worker that dies, hangs or is starved."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgesparse import deploy, wire
from edgesparse.agent.dialling import dial
from edgesparse.agent.journal import last_record, read_from
from edgesparse.bench import Effort
from edgesparse.boards import reach
from edgesparse.boards.inventory import Board
from edgesparse.boards.session import AgentBusy, BoardSession
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError, MeasurementError
from edgesparse.store import RunRecord
from edgesparse.zipapp import agent_zipapp
from tests.faults.boards import BACKENDS, CELLS, assert_usable, measure
from tests.faults.conftest import Tell, samples
from tests.sshd import Sshd
from tests.waiting import wait_until

Lost = Callable[[RunRecord], int]


def processes(sshd: Sshd, kind: str) -> list[psutil.Process]:
    """The agent's processes of a kind (daemon, worker) that run there now."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if kind in words and any(str(sshd.board_home) in word for word in words):
            found.append(process)
    return found


def at(sequence: int, do: Callable[[], None]) -> Callable[[Any], None]:
    """Do something when a record of this number arrives."""

    def look(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == sequence:
            do()

    return look


def the_worker(sshd: Sshd, what: Callable[[psutil.Process], None]) -> Callable[[], None]:
    """Do something to the next worker that runs."""

    def wait_and_do() -> None:
        wait_until(lambda: bool(processes(sshd, "worker")))
        for process in processes(sshd, "worker"):
            what(process)

    return lambda: threading.Thread(target=wait_and_do).start()


def test_an_agent_that_is_killed_in_a_run(bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell) -> None:
    def kill() -> None:
        for process in processes(sshd, "daemon"):
            process.kill()

    with pytest.raises(MeasurementError, match="the agent was stopped or the board restarted"):
        measure(bundle, board, on_message=at(20, kill))
    record = RunRecord.last()
    assert samples(record.records()) > 0
    assert processes(sshd, "worker") == []
    assert_usable(bundle, board)
    tell("agent killed -9 in a run", "SIGKILL to the daemon",
         "started anew; the run ends with its reason, and what was measured is kept", lost_on(record))  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS])
def test_a_worker_that_crashes(
    bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell, number: signal.Signals
) -> None:
    run = measure(bundle, board, on_message=at(14, the_worker(sshd, lambda worker: worker.send_signal(number))))
    failed = [each for each in run.record.records() if each["type"] == "cell_failed"]
    assert [(each["kind"], each["reason"]) for each in failed] == [("crash", f"the worker was killed by {number.name}")]
    assert samples(run.record.records()) >= 5 * 6 * 15
    if number == signal.SIGSEGV:
        tell("worker segfaults", "SIGSEGV to it", "its cell is left out with the reason, the others go on",
             lost_on(run.record))  # fmt: skip


def test_a_worker_that_hangs(
    bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Effort((6, 6), 15, 300, 15.0)
    monkeypatch.setattr(sys.modules["edgesparse.bench"], "effort", lambda board: short)
    run = measure(bundle, board, on_message=at(14, the_worker(sshd, psutil.Process.suspend)))
    failed = [each for each in run.record.records() if each["type"] == "cell_failed"]
    assert [each["kind"] for each in failed] == ["hang"]
    assert "within 15 s" in failed[0]["reason"]
    assert processes(sshd, "worker") == []
    tell("worker hangs", "SIGSTOP to it", "killed at its deadline, its cell is left out with the reason",
         lost_on(run.record))  # fmt: skip


@contextmanager
def memory_limit(process: psutil.Process, limit_bytes: int) -> Iterator[None]:
    """A limit of the kernel's on what a process and those that it starts may use, until it is lifted."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"edgesparse-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(limit_bytes))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        (group / "cgroup.procs").write_text(str(process.pid))
        try:
            yield
        finally:
            for pid in (group / "cgroup.procs").read_text().split():
                (Path(root) / "cgroup.procs").write_text(pid)
            group.rmdir()
        return
    pytest.skip("needs a memory control group that may be written to (root)")


def test_a_worker_that_runs_out_of_memory(bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell) -> None:
    assert_usable(bundle, board)
    (daemon,) = processes(sshd, "daemon")
    with memory_limit(daemon, 16_000_000), pytest.raises(MeasurementError, match="every cell failed"):
        measure(bundle, board, rounds=1)
    record = RunRecord.last()
    failed = [each for each in record.records() if each["type"] == "cell_failed"]
    assert {each["reason"] for each in failed} == {
        "the worker was killed by SIGKILL, as the kernel does where memory runs out"
    }
    assert daemon.is_running()
    assert_usable(bundle, board)
    assert samples(measure(bundle, board, rounds=1).record.records()) == 6 * 15
    tell("worker killed for its memory", "the kernel's OOM killer, by a control group of 16 MB",
         "its cell is left out with the reason; the agent lives", lost_on(record))  # fmt: skip


def test_a_host_that_is_killed_and_another_shell(
    bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, tell: Tell
) -> None:
    from edgesparse.bench import attach

    assert_usable(bundle, board)
    command = [sys.executable, "-m", "edgesparse.cli", "bench", str(bundle.path), "--board", board.name,
               "--rounds", "6", "--samples", "15", "--backend", "builtin", "--backend", "xnnpack"]  # fmt: skip
    host = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = Path(os.environ["EDGESPARSE_DATA"]) / "runs"
    wait_until(lambda: any(path.stat().st_size > 15_000 for path in runs.glob("*/journal.jsonl")))
    host.kill()
    host.wait()
    left = RunRecord.last()
    assert not left.finished
    run = attach(left.id)
    assert samples(run.record.records()) == 6 * 6 * 15
    tell("host killed", "SIGKILL to `edgesparse bench` in a run, then --attach from another shell",
         "the board measured on; every record collected", lost_on(run.record))  # fmt: skip


def test_two_hosts_at_once(bundle: Bundle, board: Board, lost_on: Lost, tell: Tell) -> None:
    assert_usable(bundle, board)
    runs: list[Any] = []
    threads = [threading.Thread(target=lambda: runs.append(measure(bundle, board, rounds=2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 2
    spans = sorted((run.record.records()[0]["t_ns"], run.record.records()[-1]["t_ns"]) for run in runs)
    assert spans[0][1] < spans[1][0]
    tell("two hosts at once", "two runs submitted together", "measured one after the other",
         sum(lost_on(run.record) for run in runs))  # fmt: skip


def test_agents_and_hosts_of_other_versions(bundle: Bundle, board: Board, sshd: Sshd, tell: Tell) -> None:
    """An older and a newer agent, idle: this host replaces them."""
    assert_usable(bundle, board)
    for protocol in (1, 99):
        start_repacked(sshd, protocol)
        connection = dial(sshd.board_home)
        assert connection is not None
        with connection, connection.makefile("rb") as lines:
            assert json.loads(lines.readline())["protocol"] == protocol
        # An older host speaks to a newer agent, and a newer one to an older: told which they are, and what cures it.
        with BoardSession(board, reach) as session:
            session.push_agent()
            with pytest.raises(BoardError, match=f"speaks protocol {protocol}, this end speaks") as caught:
                session.link()
        assert_usable(bundle, board)  # the idle one was replaced
        start_repacked(sshd, protocol)
        assert "this end speaks" in edgesparse("agent", "status", "--board", board.name, code=4)
        hint = re.search(r"edgesparse (agent stop --board \S+),", caught.value.hint or "")
        assert hint, caught.value.hint
        assert "has ended" in edgesparse(*hint[1].split())
        assert dial(sshd.board_home) is None
        assert "agent ends" in edgesparse("agent", "logs", "--board", board.name)
    tell("agent of another version", "an older and a newer one on the board, idle",
         "named with both versions, replaced at the next deploy", 0)  # fmt: skip


def test_an_agent_of_another_version_that_measures(bundle: Bundle, board: Board, sshd: Sshd, tell: Tell) -> None:
    """It is let be until its run has ended, and no record of that is lost."""
    ran = measure(bundle, board, rounds=2).record.id
    spec = json.loads((sshd.board_home / "runs" / ran / "spec.json").read_bytes())
    for protocol in (1, 99):
        run = f"{ran}-{protocol}"
        start_repacked(sshd, protocol)
        with_a_run(sshd, protocol, {**spec, "run": run, "max_rounds": 6, "min_rounds": 6})
        with pytest.raises(AgentBusy, match=f"measuring run {run} of .*, under another agent"):
            deploy(bundle, board, backends=BACKENDS)
        assert f"measuring run {run}" in edgesparse("agent", "stop", "--board", board.name, code=4)
        journal = sshd.board_home / "runs" / run / "journal.jsonl"
        wait_until(lambda journal=journal: (last_record(journal) or {}).get("type") == "finished", 120)  # type: ignore[misc]
        assert (last_record(journal) or {})["status"] == "finished"
        there = [each for _, each in read_from(journal, 0)]
        assert samples(there) == CELLS * 6 * 15
        assert_usable(bundle, board)
        assert journal.is_file(), "what it measured stays"
        start_repacked(sshd, protocol)
        with_a_run(sshd, protocol, {**spec, "run": f"{run}-again", "max_rounds": 1000, "min_rounds": 1000})
        assert "has ended" in edgesparse("agent", "stop", "--force", "--board", board.name)
        assert (last_record(journal.parents[1] / f"{run}-again" / "journal.jsonl") or {})["status"] == "cancelled"
    tell("agent of another version, in a run", "an older and a newer one that measure, then a deploy",
         "refused until the run has ended whole; then replaced", 0)  # fmt: skip


def edgesparse(*words: str, code: int = 0) -> str:
    """Run the command line; returns all that it said."""
    done = subprocess.run([sys.executable, "-m", "edgesparse.cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def with_a_run(sshd: Sshd, protocol: int, spec: dict[str, Any]) -> None:
    """Submit a run to an agent there of another protocol, and hang up."""
    connection = dial(sshd.board_home)
    assert connection is not None
    with connection, connection.makefile("rwb") as stream:
        assert json.loads(stream.readline())["protocol"] == protocol
        for message in ({**wire.hello("0"), "protocol": protocol}, {"type": "submit", "spec": spec}):
            stream.write(wire.encode(message))
        stream.flush()
        assert json.loads(stream.readline())["type"] == "accepted"


def start_repacked(sshd: Sshd, protocol: int) -> None:
    """Start an agent there that speaks another protocol, in the place of the one that runs."""
    data, sha256 = repacked(agent_zipapp()[0], protocol)
    zipapp = sshd.board_home / "agent" / f"{sha256}.pyz"
    zipapp.write_bytes(data)
    command = [sys.executable, str(zipapp), "start", "--home", str(sshd.board_home)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ""})
    assert json.loads(done.stdout)["state"] == "started", done.stdout


def repacked(data: bytes, protocol: int) -> tuple[bytes, str]:
    """The agent's program with another protocol, and its SHA-256."""
    import hashlib
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            text = before.read(name)
            if name.endswith("wire.py"):
                text, count = re.subn(rb"^PROTOCOL = \d+$", b"PROTOCOL = %d" % protocol, text, flags=re.MULTILINE)
                assert count == 1
            after.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest()
