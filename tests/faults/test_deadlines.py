"""A board so slow that every deadline passes: each says in one sentence what did not come, and the board is usable when
it is quicker again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgesparse.bench import attach
from edgesparse.boards import reach
from edgesparse.boards.agent_link import AgentLink
from edgesparse.boards.facts import BoardFacts, Interpreter, probe
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.runtimes import list_runtimes
from edgesparse.boards.session import BoardSession
from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.transport import Unreachable, missing
from edgesparse.boards.wheels import fetch_wheels
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError
from edgesparse.store import RunRecord
from tests.faults.boards import assert_usable, loopback, measure
from tests.faults.conftest import Tell, samples
from tests.faults.test_agents import Lost, processes
from tests.sshd import Sshd
from tests.wheelhouse import add_wheel, use_index


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


def test_a_server_that_takes_connections_and_says_nothing(board: Board, sshd: Sshd) -> None:
    assert sshd.process is not None
    with stopped([psutil.Process(sshd.process.pid)]), pytest.raises(Unreachable, match="says nothing for 2 s"):
        SshTransport(board, connect_timeout_s=2)


def test_a_command_that_takes_too_long(board: Board) -> None:
    transport = reach(board)
    with pytest.raises(BoardError, match=r"sleep did not end within 1 s on loop"):
        transport.run(["sleep", "1000"], timeout_s=1)
    transport.close()


def test_an_agent_that_does_not_answer(
    bundle: Bundle, board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_usable(bundle, board)
    with (
        monkeypatch.context() as patch,
        stopped(processes(sshd, "daemon")),
        BoardSession(board, reach) as session,
        pytest.raises(BoardError, match=r"The agent on loop said nothing for 2 s"),
    ):
        patch.setattr("edgesparse.boards.agent_link.ANSWER_S", 2.0)
        session.link()


def test_an_agent_that_falls_silent_in_a_run(
    bundle: Bundle, board: Board, sshd: Sshd, lost_on: Lost, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    """It neither answers nor ends, and nothing can be started beside it: the store is its own. That is said, with what
    to do; and when it goes on, nothing is lost."""
    assert_usable(bundle, board)
    held: list[psutil.Process] = []

    def hold(message: Any) -> None:
        if message["type"] == "record" and message["record"]["seq"] == 12:
            held.extend(processes(sshd, "daemon"))
            for process in held:
                process.suspend()

    with monkeypatch.context() as patch, pytest.raises(BoardError) as caught:
        patch.setattr("edgesparse.boards.agent_link.RECORD_S", 2.0)
        patch.setattr("edgesparse.boards.agent_link.ANSWER_S", 60.0)
        measure(bundle, board, on_message=hold)
    assert "does not answer within 30 s; if it stays so, end it there: kill -9" in caught.value.message
    for process in held:
        process.resume()
    run = attach(RunRecord.last().id)
    assert samples(run.record.records()) == 6 * 6 * 15
    assert_usable(bundle, board)
    missed = lost_on(run.record)
    tell("board too slow for its deadlines", "server, commands, agent and workers stopped (SIGSTOP) beyond them",
         "each says what did not come and for how long; usable when it is quicker again", missed)  # fmt: skip


def test_a_board_that_stops_in_the_middle_of_a_push(
    board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgesparse.boards.putting.FINISH_S", 2.0)
    local = tmp_path / "file"
    local.write_bytes(bytes(1000))
    transport = SshTransport(board, keepalive_s=60, dead_link_s=60)

    def slow(count: int) -> None:
        sshd.freeze()

    with pytest.raises(BoardError, match=r"said nothing for 2 s while files were put"):
        transport.put([(local, f"{transport.home}/objects/file")], slow)
    sshd.cut()
    transport.close()
    there = sshd.board_home / "objects" / "file"
    assert not there.exists() or there.read_bytes() == bytes(1000)  # whole or not at all


def test_a_login_that_is_never_answered(board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    sshd.known_hosts.write_text("")
    monkeypatch.setattr("edgesparse.boards.ssh_connect.AUTH_S", 5.0)

    def held_up(question: str) -> bool:  # asked between the handshake and the login
        return sshd.freeze() > 0

    with pytest.raises(Unreachable, match=r"said nothing for 5 s while .* was to be logged in"):
        SshTransport(board, confirm=held_up, connect_timeout_s=5)  # so that it is not tried again
    sshd.cut()
    sshd.know_host()
    assert reach(board).run(["echo", "back"], timeout_s=60).stdout == b"back\n"


@pytest.mark.parametrize(
    ("deadline", "ask", "says"),
    [
        ("ssh._COMMAND_S", lambda transport, board: transport.home, "sh did not end within 1 s"),
        ("transport._MISSING_S", lambda transport, board: missing(transport, ["/x"]), "sh did not end within 1 s"),
        ("facts.PROBE_S", probe, "sh did not end within 1 s"),
        ("runtimes.LIST_S", lambda transport, board: list_runtimes(transport), "sh did not end within 1 s"),
        (
            "putting.READY_S",
            lambda transport, board: transport.put([(Path(__file__), "/nowhere/file")], print),
            "said nothing for 1 s while files were put",
        ),
        (
            "agent_link.ANSWER_S",
            lambda transport, board: AgentLink(transport.open(["true"]), board.name),
            "The agent on loop said nothing for 1 s",
        ),
    ],
)
def test_a_board_on_which_nothing_that_is_started_gets_on(
    make_sshd: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch, deadline: str, ask: Any, says: str
) -> None:
    server = make_sshd("ForceCommand exec sleep 1000")
    server.know_host()
    board = loopback(server)
    monkeypatch.setattr(f"edgesparse.boards.{deadline}", 1.0)
    transport = reach(board)
    if not deadline.startswith("ssh."):
        monkeypatch.setattr(SshTransport, "home", "/nowhere")
    with pytest.raises(BoardError, match=says):
        ask(transport, board)
    transport.close()


def make_hang(python: Path, words: str) -> None:
    """Have a Python of a virtual environment never get on where these words are in its command line."""
    (site_packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    line = f"import sys, time; {words!r} in ' '.join(sys.orig_argv) and time.sleep(1000)"
    (site_packages / "hangs.pth").write_text(line + "\n")


def let_go(python: Path) -> None:
    """Have it get on again."""
    next(python.parent.parent.glob("lib/python3*/site-packages/hangs.pth")).unlink()


def under(python: Path) -> list[psutil.Process]:
    """What runs under it."""
    return [each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [""])[0] == str(python)]


def end_all(python: Path) -> None:
    """End what runs under it, as a cut of the power ends what hangs on a board."""
    for process in under(python):
        process.kill()
        psutil.wait_procs([process])


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python that lacks everything, and an index that has it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    cpython = f"cp3{sys.version_info.minor}"
    for name in ("ai_edge_litert-2.3.0", "numpy-2.2.6", "psutil-7.0.0"):
        add_wheel(tmp_path / "index", f"{name}-{cpython}-{cpython}-manylinux_2_17_x86_64")
    use_index(tmp_path / "index", monkeypatch)
    return tmp_path / "bare" / "bin" / "python"


@pytest.mark.parametrize(
    ("deadline", "hangs_at"),
    [
        ("facts.PROBE_S", "importlib.util"),
        ("provision.IMPORT_S", "importlib.import_module"),
        ("session.CONTROL_S", ".pyz start"),
    ],
)
def test_a_python_that_never_ends(
    board: Board, bare: Path, monkeypatch: pytest.MonkeyPatch, deadline: str, hangs_at: str
) -> None:
    (site_packages,) = bare.parent.parent.glob("lib/python3*/site-packages")
    (site_packages / "has_all.pth").write_text(f"{Path(np.__file__).parent.parent}\n")
    make_hang(bare, hangs_at)
    with monkeypatch.context() as patch, BoardSession(replace(board, python=str(bare)), reach) as session:
        patch.setattr(f"edgesparse.boards.{deadline}", 3.0)
        with pytest.raises(BoardError, match=r"did not end within 3 s on loop"):
            session.start_agent()
    let_go(bare)
    with BoardSession(replace(board, python=str(bare)), reach) as session:
        session.start_agent()


def test_unpacking_that_never_ends_leaves_no_half_runtime(
    board: Board, bare: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    its_own = replace(board, python=str(bare))
    runtimes = sshd.board_home / "runtimes"
    make_hang(bare, "-c \nimport importlib")  # when all is unpacked, and not yet under its name
    with (
        monkeypatch.context() as patch,
        BoardSession(its_own, reach) as session,
        pytest.raises(BoardError, match=r"did not end within 5 s on loop"),
    ):
        patch.setattr("edgesparse.boards.unpacking.UNPACK_S", 5.0)
        _ = session.runtime
    let_go(bare)
    assert [path.name[:6] for path in runtimes.iterdir() if path.is_dir()] == [".part-"]
    end_all(bare)
    with BoardSession(its_own, reach) as session:
        (directory,) = session.runtime.pythonpath
    assert [path.name for path in runtimes.iterdir()] == [Path(directory).name]


def test_a_pip_that_never_ends(board: Board, bare: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheels come over the link then; where they cannot, that is said."""
    subprocess.run([bare, "-m", "ensurepip"], check=True, capture_output=True)
    make_hang(bare, " -m pip ")
    its_own = replace(board, python=str(bare))
    monkeypatch.setattr("edgesparse.boards.fetching.FETCH_S", 3.0)
    said: list[str] = []
    with BoardSession(its_own, reach, said.append) as session:
        (directory,) = session.runtime.pythonpath
    assert [line.split()[0] for line in said if "ai_edge_litert" in line] == ["loop", "putting"]
    assert under(bare) == [], "so nothing comes later"
    shutil.rmtree(directory)
    shutil.rmtree(Path(os.environ["HOME"]) / ".cache")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with (
        BoardSession(its_own, reach) as session,
        pytest.raises(BoardError, match=r"could not be fetched: .* fetch them either: pip did not end within 3 s"),
    ):
        _ = session.runtime
    assert list((sshd.board_home / "runtimes").iterdir()) == []


def test_an_index_that_never_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgesparse.boards.wheels.DOWNLOAD_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/simple")
        found = BoardFacts("x86_64", "6.1", "box", "glibc 2.36", "", "", None, None, [])
        with pytest.raises(BoardError, match="were not fetched within 3 s"):
            fetch_wheels(["psutil"], found, Interpreter("python3", (3, 11, 2)), resolve("local"), print, tmp_path)


def test_a_board_that_stays_away(board: Board, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("edgesparse.boards.session.RECONNECT_S", 3.0)
    with BoardSession(board, reach, said.append) as session:
        options = sshd.options
        sshd.stop()
        with pytest.raises(Unreachable, match="nothing listens on port"):
            session.push([(Path(__file__), "0" * 64)])
        assert any("reaching it again (attempt 1)" in text for text in said)
        sshd.start(*options)
