"""`edgesparse watch` beside a run that goes on, by the real agent on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgesparse.convert import Bundle
from edgesparse.store import RunRecord
from tests.e2e.test_boards import cli, stop_local_agent
from tests.interrupting import hear_ctrl_c
from tests.waiting import wait_until

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Commands that go on beside the test, and end with it."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edgesparse.cli", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
            env={**os.environ, **environment},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    stop_local_agent()
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def going_on(bundle: Bundle, start: Start) -> Callable[..., Any]:
    """A run that has launched some cells."""

    def begin(rounds: int) -> tuple[subprocess.Popen[str], str]:
        host = start("bench", str(bundle.path), "--backend", "xnnpack", "--samples", "10", "--rounds", str(rounds))
        runs = Path(os.environ["EDGESPARSE_DATA"]) / "runs"
        wait_until(lambda: host.poll() is not None or any(b'"samples"' in each for each in journals(runs)), 120)
        assert host.poll() is None, host.communicate()
        return host, RunRecord.last().id

    return begin


def journals(runs: Path) -> Iterator[bytes]:
    for path in runs.glob("*/journal.jsonl"):
        yield path.read_bytes()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


def test_who_watches_sees_it_to_the_end_and_both_have_it_whole(going_on: Any, start: Start) -> None:
    host, run = going_on(rounds=12)
    watcher = start("watch", "--json")
    out, err = watcher.communicate(timeout=300)
    host_out, host_err = host.communicate(timeout=60)
    assert (watcher.returncode, host.returncode) == (0, 0), err + host_err
    document = json.loads(out)
    assert (document["run"], document["status"]) == (run, "finished")
    assert "stopped: " in err and "Traceback" not in err + host_err
    numbers = [record["seq"] for record in RunRecord.load(run).records()]
    assert numbers == list(range(1, len(numbers) + 1)), "two who collect it keep each record once"
    assert run in host_out
    after = cli("watch", run, "--json")
    assert json.loads(after.stdout) == document
    assert "reaching" not in after.stderr, "a run that has ended needs no board"


def test_leaving_leaves_the_run_alone(going_on: Any, start: Start) -> None:
    host, run = going_on(rounds=500)
    watcher = start("watch", run)
    said = read_until(watcher, "round ")
    watcher.send_signal(signal.SIGINT)
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 130
    assert out == "" and f"the run goes on: edgesparse watch {run}" in err and "Traceback" not in said + err
    queue = json.loads(cli("agent", "status", "--json").stdout)["queue"]
    assert [(entry["run"], entry["place"]) for entry in queue] == [(run, 0)]
    assert host.poll() is None
    host.send_signal(signal.SIGINT)
    host.communicate(timeout=60)
    assert host.returncode == 130


def test_another_host_sees_it_by_its_board(going_on: Any, start: Start, tmp_path: Path) -> None:
    """Another data directory is another host's store: there the run is not known, and nothing of it is kept."""
    host, run = going_on(rounds=12)
    other = tmp_path / "another host"
    watcher = start("watch", "--board", "local", "--json", EDGESPARSE_DATA=str(other))
    out, err = watcher.communicate(timeout=300)
    assert watcher.returncode == 0, err
    host.communicate(timeout=60)
    seen = json.loads(out)
    assert (seen["run"], seen["measured"], seen["ended"]) == (run, "latency", "finished")
    launches = [record for record in RunRecord.load(run).records() if record["type"] == "samples"]
    assert sum(len(cell["figures"]) for cell in seen["cells"].values()) == len(launches)
    assert f"edgesparse report {run}" in err
    assert not other.exists() or not list(other.rglob("run.json"))


def test_nothing_to_watch_says_so(start: Start, bundle: Bundle) -> None:
    nothing = cli("watch")
    assert nothing.returncode == 2 and "no run" in nothing.stderr
    no_agent = cli("watch", "--board", "local")
    assert no_agent.returncode == 4 and "No agent runs on local" in no_agent.stderr
    assert cli("deploy", str(bundle.path), "--backend", "xnnpack").returncode == 0
    idle = cli("watch", "--board", "local")
    assert idle.returncode == 4 and "No run is going on on local" in idle.stderr
    unknown = cli("watch", "20200101-000000-x-0000")
    assert unknown.returncode == 2 and "--board BOARD" in unknown.stderr
    shutil.rmtree(Path(os.environ["EDGESPARSE_DATA"]), ignore_errors=True)
