"""What the agent waits for, and for how long: a daemon that does not start, one that does not end, a client that does
not read."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgesparse import wire
from edgesparse.agent import control, daemon
from edgesparse.agent.control import Control
from edgesparse.agent.daemon import Daemon
from edgesparse.agent.dialling import SOCKET
from edgesparse.agent.journal import Journal, last_record
from edgesparse.agent.store import BoardStore
from tests.agent.test_hostile import SPEC


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control, "START_DEADLINE_S", 2.0)
    monkeypatch.setattr(control, "HELLO_S", 1.0)
    monkeypatch.chdir(tmp_path)  # whoever dials changes into the store
    return BoardStore(tmp_path / "home").home


def program(home: Path, text: str) -> Control:
    """The control of an agent that is this program."""
    (home / "agent" / "program.py").write_text(text)
    return Control(home, str(home / "agent" / "program.py"))


@pytest.fixture
def listen(home: Path) -> Iterator[Callable[[list[wire.Message]], None]]:
    """Something that takes every connection and answers each line with the next of these messages; it never ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:

        def serve(messages: list[wire.Message]) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=answer, args=(connection, messages), daemon=True).start()

        def answer(connection: socket.socket, messages: list[wire.Message]) -> None:
            with connection, contextlib.suppress(OSError), connection.makefile("rwb") as stream:
                for message in messages:
                    stream.write(wire.encode(message))
                    stream.flush()
                    stream.readline()
                stream.readline()

        def begin(messages: list[wire.Message]) -> None:
            server.bind(str(home / SOCKET))
            server.listen()
            threading.Thread(target=serve, args=(messages,), daemon=True).start()

        yield begin
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def test_a_daemon_that_does_not_come_up(home: Path) -> None:
    state = program(home, "import time; time.sleep(30)").start(None)
    assert (state["state"], state["message"]) == ("failed", "the agent did not answer within 2 s")


def test_a_daemon_that_ends_at_once_says_its_last_words(home: Path) -> None:
    state = program(home, "import sys; sys.exit('no runtime, no agent')").start(None)
    assert (state["state"], state["message"]) == ("failed", "the agent did not start: no runtime, no agent")


def test_one_that_listens_and_says_nothing_is_named_by_its_process(
    home: Path, listen: Callable[[list[wire.Message]], None]
) -> None:
    listen([])
    state = program(home, "").start(None)
    assert state["state"] == "failed"
    assert "does not answer within 1 s; if it stays so, end it there: kill -9 " in state["message"]


def test_one_that_says_that_it_ends_and_does_not(home: Path, listen: Callable[[list[wire.Message]], None]) -> None:
    listen([wire.hello("0.0.9", sha256="0" * 64), {"type": "stopping"}])
    state = program(home, "").start(None)
    assert (state["state"], state["message"]) == ("busy", "the other agent does not end, under another agent (0.0.9)")


def test_a_second_daemon_of_one_store_gives_up(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "LOCK_DEADLINE_S", 0.2)
    with (home / "agent.lock").open("w") as lock:
        assert daemon._acquired(lock)
        assert daemon.main(home, "0" * 64, ["false"], None) == 1
    assert f"another agent already serves {home}" in capsys.readouterr().err


def test_a_client_that_does_not_read_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "SEND_DEADLINE_S", 0.5)
    run = home / "runs" / "run-1"
    run.mkdir()
    (run / "spec.json").write_text("{}")
    with Journal(run / "journal.jsonl") as journal:
        for _ in range(20):
            journal.append("samples", latency_ns="9" * 500_000)
        journal.append("finished", status="finished", reason="")

    async def follow_and_read_nothing() -> None:
        served = Daemon(BoardStore(home), "0" * 64, ["false"], None)
        serving = asyncio.ensure_future(served.serve())
        while not (home / SOCKET).exists():
            await asyncio.sleep(0.01)
        _, writer = await asyncio.open_unix_connection(SOCKET, limit=1)
        for message in (wire.hello("test"), {"type": "follow", "run": "run-1", "have": 0}):
            writer.write(wire.encode(message))
        await writer.drain()
        while not served.clients:
            await asyncio.sleep(0.01)
        while served.clients:
            await asyncio.sleep(0.01)
        other, its_writer = await asyncio.open_unix_connection(SOCKET)  # the agent goes on
        assert json.loads(await other.readline())["type"] == "hello"
        its_writer.close()
        serving.cancel()

    asyncio.run(asyncio.wait_for(follow_and_read_nothing(), 120))
    assert "a client's link broke" in capsys.readouterr().err


def test_a_follower_whose_link_falls_silent_keeps_no_run_on_the_board(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "PING_S", 0.3)
    descriptor = os.open(os.environ["EDGESPARSE_LOCK"], os.O_RDONLY | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # so that the runs wait, and no record wants to be sent
    for name in SPEC.objects():
        (home / "objects" / name).touch()

    async def follow(run: str, *, answers: bool) -> None:
        reader, writer = await asyncio.open_unix_connection(SOCKET)
        spec = replace(SPEC, run=run, linger_s=1.0).to_message()
        for message in (
            wire.hello("test"),
            {"type": "submit", "spec": spec},
            {"type": "follow", "run": run, "have": 0},
        ):
            writer.write(wire.encode(message))
        while line := await reader.readline():
            if answers and json.loads(line)["type"] == "ping":
                writer.write(wire.encode({"type": "pong"}))

    async def follow_both() -> list[tuple[str, int]]:
        served = Daemon(BoardStore(home), "0" * 64, ["false"], None)
        serving = asyncio.ensure_future(served.serve())
        while not (home / SOCKET).exists():
            await asyncio.sleep(0.01)
        there = asyncio.ensure_future(follow("run-there", answers=True))
        await follow("run-silent", answers=False)  # is hung up on
        while not served.queue.ended("run-silent"):
            await asyncio.sleep(0.01)
        line = [(each["run"], each["followers"]) for each in served.queue.status()["queue"]]
        served._ending.set()
        await asyncio.gather(serving, there)
        return line

    assert asyncio.run(asyncio.wait_for(follow_both(), 60)) == [("run-there", 1)]
    os.close(descriptor)
    end = last_record(home / "runs" / "run-silent" / "journal.jsonl") or {}
    assert (end["status"], end["reason"].partition(" while")[0]) == (
        "cancelled",
        "cancelled because nobody had followed it for 1 s",
    )
