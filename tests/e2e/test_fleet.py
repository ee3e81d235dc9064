"""Many boards at once: real SSH servers, one of which is not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgesparse.boards.inventory import Board, find_boards
from edgesparse.convert import Bundle
from edgesparse.errors import UsageError
from edgesparse.fleet import on_each
from edgesparse.store import RunRecord
from tests.faults.boards import loopback
from tests.interrupting import hear_ctrl_c
from tests.sshd import Sshd, free_port
from tests.waiting import wait_until


@pytest.fixture
def boards(make_sshd: Callable[..., Sshd]) -> list[Sshd]:
    """Two boards of the inventory with tags, and one where nothing listens."""
    servers = [make_sshd(), make_sshd()]
    for number, server in enumerate(servers):
        server.know_host()
        loopback(server, f"board{number}")
    inventory = Path(os.environ["EDGESPARSE_CONFIG"])
    text = inventory.read_text().replace("threads = [1]", 'threads = [1]\ntags = ["lab"]')
    gone = f'[boards.gone]\ntype = "raspberrypi5"\nhost = "127.0.0.1:{free_port()}"\ntags = ["lab", "shelf"]\n'
    inventory.write_text(text + gone)
    return servers


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgesparse.cli", *arguments], capture_output=True, text=True, check=False
    )


def names(selection: str) -> list[str]:
    return [board.name for board in find_boards(selection)]


def test_what_a_selection_means(boards: list[Sshd]) -> None:
    assert names("board1,board0") == ["board1", "board0"]
    assert names("tag:lab") == ["board0", "board1", "gone"]
    assert names("type:x86-64") == ["board0", "board1"]
    assert names(" gone , tag:lab,type:raspberrypi5") == ["gone", "board0", "board1"]
    for selection, says in (
        ("", "Expected boards"),
        (",", "Expected boards"),
        ("nobody", "no board 'nobody'"),
        ("tag:attic", "has the tag 'attic'"),
        ("type:jetson-nano", "has the type 'jetson-nano'"),
        ("type:toaster", "no board type 'toaster'"),
    ):
        with pytest.raises(UsageError, match=says):
            find_boards(selection)


def test_one_that_fails_costs_its_own_row(boards: list[Sshd], bundle: Bundle) -> None:
    done = cli("deploy", str(bundle.path), "--boards", "tag:lab", "--backend", "xnnpack", "--json")
    assert done.returncode == 4, done.stderr
    rows = {row["board"]: row for row in json.loads(done.stdout)["boards"]}
    assert [rows[name]["status"] for name in ("board0", "board1", "gone")] == ["ok", "ok", "failed"]
    assert "nothing listens on port" in rows["gone"]["reason"]
    assert all(each["deployment"]["files"]["moved_bytes"] for each in (rows["board0"], rows["board1"]))
    assert "gone: failed" in done.stderr and "board0: done" in done.stderr

    table = cli("bench", str(bundle.path), "--boards", "board0,board1", "--backend", "xnnpack", "--rounds", "1")
    assert table.returncode == 0, table.stderr
    assert [line.split()[0] for line in table.stdout.splitlines() if line.startswith("board")] == [
        "board",
        "board0",
        "board1",
    ]
    assert table.stdout.count("xnnpack") == 2
    found = json.loads(
        cli("bench", str(bundle.path), "--boards", "tag:lab", "--backend", "xnnpack", "--rounds", "1", "--json").stdout
    )
    runs = [row["comparison"]["run"] for row in found["boards"] if row["comparison"]]
    assert len(set(runs)) == 2
    assert all(RunRecord.load(run).finished for run in runs)
    table = cli("deploy", str(bundle.path), "--boards", "gone,board0", "--backend", "xnnpack")
    assert table.returncode == 4
    assert "x gone: " in table.stdout


def test_an_emulated_board_that_is_off_costs_its_own_row(boards: list[Sshd], bundle: Bundle) -> None:
    assert names("board0,virt-aarch64") == ["board0", "virt-aarch64"]
    done = cli("deploy", str(bundle.path), "--boards", "virt-aarch64,board0", "--backend", "xnnpack", "--json")
    assert done.returncode == 4, done.stderr
    off, on = json.loads(done.stdout)["boards"]
    assert (off["board"], off["status"], on["board"], on["status"]) == ("virt-aarch64", "failed", "board0", "ok")
    assert "The emulated board virt-aarch64 is not running" in off["reason"]


def test_ctrl_c_frees_every_board(boards: list[Sshd], bundle: Bundle) -> None:
    command = [sys.executable, "-m", "edgesparse.cli", "bench", str(bundle.path), "--boards", "board0,board1"]
    host = subprocess.Popen(
        [*command, "--rounds", "500"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c
    )
    runs = Path(os.environ["EDGESPARSE_DATA"]) / "runs"
    wait_until(lambda: sum(path.stat().st_size > 10_000 for path in runs.glob("*/journal.jsonl")) == 2, 120)
    host.send_signal(signal.SIGINT)
    out, err = host.communicate(timeout=240)
    assert host.returncode == 130
    assert (out, b"Traceback" in err) == (b"", False), err.decode()
    for name in ("board0", "board1"):
        state = json.loads(cli("agent", "status", "--board", name, "--json").stdout)["state"]
        assert state == "idle", err.decode()
    last = [RunRecord.load(path.parent).records()[-1] for path in runs.glob("*/run.json")]
    assert [(each["type"], each["status"]) for each in last] == [("finished", "cancelled")] * 2


def test_they_run_at_the_same_time_and_come_back_in_order() -> None:
    from edgesparse.boards.inventory import resolve

    local = resolve("local")

    def do(board: Board) -> float:
        time.sleep(1)
        if board is local:
            return time.monotonic()
        raise ValueError("unexpected")

    started = time.monotonic()
    outcomes = on_each([local] * 20, do)
    assert time.monotonic() - started < 15
    assert all(outcome.result and outcome.error is None for outcome in outcomes)
