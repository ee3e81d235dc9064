"""The daemon as its clients see it: a real process, a real socket, real workers."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgesparse import wire
from edgesparse.agent.journal import read_from
from edgesparse.agent.order import launch_order
from edgesparse.zipapp import agent_zipapp
from tests.agent.conftest import Agent
from tests.tiny import npz
from tests.waiting import wait_until


def test_a_run_from_check_to_last_sample(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client)
    records = client.records(spec.run)
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    kinds = Counter(record["type"] for record in records)
    assert kinds.pop("conditions_during") >= 1
    assert kinds == {
        "run": 1,
        "sensors_found": 1,
        "conditions": 2,
        "check": 4,
        "launch": 8,
        "samples": 8,
        "stopped": 1,
        "finished": 1,
    }
    for record in records:
        if record["type"] == "check":
            assert record["status"] == "ok"
            assert record["parity"]["samples"] == 4
        if record["type"] == "samples":
            assert len(record["latency_ns"]) == 10
            assert min(record["latency_ns"]) > 0
    paths = {record["cell"]: record["path"] for record in records if record["type"] == "check"}
    assert paths["dense/xnnpack/1"]["requested"] == "dense"
    assert paths["sparse/xnnpack/1"]["requested"] == "sparse"
    on_board = [record for _, record in read_from(agent.home / "runs" / spec.run / "journal.jsonl", 0)]
    assert on_board == records


def test_rounds_are_interleaved_and_every_launch_is_a_process_of_its_own(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client)
    launches = [record for record in client.records(spec.run) if record["type"] == "launch"]
    rounds = range(spec.max_rounds)
    order = [[launch["cell"] for launch in launches if launch["round"] == number] for number in rounds]
    assert order == [launch_order([cell.id for cell in spec.cells], spec.run, number) for number in rounds]
    assert len({launch["pid"] for launch in launches}) == len(launches)


def test_a_worker_that_is_killed_costs_one_cell(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client)
    agent.worker().send_signal(signal.SIGSEGV)
    records = client.records(spec.run)
    failed = [record for record in records if record["type"] == "check" and record["status"] == "failed"]
    assert [(record["kind"], record["reason"]) for record in failed] == [("crash", "the worker was killed by SIGSEGV")]
    assert len({record["cell"] for record in records if record["type"] == "samples"}) == 3
    assert records[-1]["status"] == "finished"


def test_a_worker_that_hangs_costs_one_cell(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client, deadline_s=12.0)
    agent.worker().suspend()
    records = client.records(spec.run)
    failed = [record for record in records if record["type"] in ("check", "cell_failed") and record.get("kind")]
    assert [record["kind"] for record in failed] == ["hang"]
    assert "within 12 s" in failed[0]["reason"]
    assert records[-1]["status"] == "finished"


def test_wrong_outputs_are_never_timed(agent: Agent) -> None:
    golden = np.zeros((4, 1, 10), np.float32)
    wrong = agent.keep(npz(golden))
    client = agent.connect()
    spec = agent.spec()
    files = {**spec.files, "sparse": wire.Files(**{**vars(spec.files["sparse"]), "golden": wrong})}
    spec = agent.submit(client, files=files)
    records = client.records(spec.run)
    failed = {record["cell"] for record in records if record["type"] == "check" and record["kind"] == "parity"}
    assert failed == {"sparse/builtin/1", "sparse/xnnpack/1"}
    assert not failed & {record["cell"] for record in records if record["type"] in ("launch", "samples")}


def test_a_model_that_the_runtime_refuses_is_a_failed_cell(agent: Agent) -> None:
    broken = agent.keep(b"no model" * 10)
    client = agent.connect()
    spec = agent.spec()
    files = {name: wire.Files(**{**vars(each), "model": broken}) for name, each in spec.files.items()}
    spec = agent.submit(client, files=files)
    messages = list(client.follow(spec.run))
    checks = [m["record"] for m in messages if m["type"] == "record" and m["record"]["type"] == "check"]
    assert [check["kind"] for check in checks] == ["error"] * 4
    assert all(check["reason"] for check in checks)
    assert messages[-1] == {"type": "end", "run": spec.run, "status": "failed", "reason": "no cell passed its check"}


def test_a_cut_link_costs_no_sample(agent: Agent) -> None:
    first = agent.connect()
    spec = agent.submit(first)
    seen = []
    for message in first.follow(spec.run):
        if message["type"] == "record":
            seen.append(message["record"])
        if len(seen) == 8:
            break
    first.close()
    time.sleep(1)
    seen += agent.connect().records(spec.run, have=seen[-1]["seq"])
    assert [record["seq"] for record in seen] == list(range(1, len(seen) + 1))
    assert seen[-1]["type"] == "finished"
    assert sum(len(record["latency_ns"]) for record in seen if record["type"] == "samples") == 80


def test_one_measurement_at_a_time_the_others_wait_in_line(agent: Agent) -> None:
    one, two = agent.connect(), agent.connect()
    first = agent.submit(one, owner="ada@lab")
    second = agent.spec(owner="bob@lab", max_rounds=0)
    accepted = two.ask({"type": "submit", "spec": second.to_message()})
    assert (accepted["type"], accepted["run"], accepted["place"]) == ("accepted", second.run, 1)
    assert 0 < accepted["wait_s"] < 60
    status = agent.connect().ask({"type": "status"})
    assert [(entry["owner"], entry["place"]) for entry in status["queue"]] == [("ada@lab", 0), ("bob@lab", 1)]
    assert status["state"] == "measuring"
    messages = list(two.follow(second.run))
    assert [message["place"] for message in messages if message["type"] == "place"][:2] == [1, 0]
    last_of_first = one.records(first.run)[-1]
    first_of_second = next(message["record"] for message in messages if message["type"] == "record")
    assert first_of_second["t_ns"] > last_of_first["t_ns"]


def test_cancelling_frees_the_board_at_once(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client, max_rounds=1000, min_rounds=1000)
    worker = agent.worker()
    started = time.monotonic()
    assert client.ask({"type": "cancel", "run": spec.run})["was_in_line"] is True
    assert time.monotonic() - started < 60
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert client.ask({"type": "status"})["state"] == "idle"
    records = client.records(spec.run)
    assert records[-1]["status"] == "cancelled"


def test_a_passed_check_is_not_made_again(agent: Agent) -> None:
    client = agent.connect()
    first, second = agent.submit(client, max_rounds=0), agent.spec(max_rounds=0)
    cached = [record["cached"] for record in client.records(first.run) if record["type"] == "check"]
    client.ask({"type": "submit", "spec": second.to_message()})
    again = [record for record in client.records(second.run) if record["type"] == "check"]
    assert cached == [False] * 4
    assert [(record["cached"], record["status"]) for record in again] == [(True, "ok")] * 4


def test_submitting_the_same_run_twice_measures_once(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client, max_rounds=0)
    client.ask({"type": "submit", "spec": spec.to_message()})
    assert Counter(record["type"] for record in client.records(spec.run))["run"] == 1


def test_a_run_whose_every_cell_fails_in_the_rounds_says_so(agent: Agent) -> None:
    client = agent.connect()
    checked = agent.submit(client, max_rounds=0)
    client.records(checked.run)
    spec = agent.spec(cells=agent.spec().cells[:1])
    client.ask({"type": "submit", "spec": spec.to_message()})
    agent.worker().kill()  # the check is known already: this is the first launch
    end = client.records(spec.run)[-1]
    assert (end["status"], end["reason"]) == ("failed", "every cell failed in the rounds")


def test_a_killed_agent_says_so_of_the_run_it_left(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client, max_rounds=1000, min_rounds=1000)
    agent.worker()
    os.kill(agent.pid, signal.SIGKILL)
    assert agent.start()["state"] == "started"
    messages = list(agent.connect().follow(spec.run))
    assert messages[-1]["status"] == "failed"
    assert "stopped or the board restarted" in messages[-1]["reason"]


def test_a_worker_that_computes_ends_with_its_agent(agent: Agent) -> None:
    """It does not see the end of its pipe before it has done what it was told."""
    client = agent.connect()
    spec = agent.submit(client, launch_s=600, samples=1_000_000)
    messages = client.follow(spec.run)
    launch = next(m["record"] for m in messages if m["type"] == "record" and m["record"]["type"] == "launch")
    worker = psutil.Process(launch["pid"])
    os.kill(client.hello["pid"], signal.SIGKILL)
    assert psutil.wait_procs([worker], timeout=60)[1] == []


def test_only_the_user_may_open_the_socket_and_the_store(agent: Agent) -> None:
    assert stat.S_IMODE((agent.home / "agent.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((agent.home / "runs").stat().st_mode) == 0o700


def test_no_port_is_opened(agent: Agent) -> None:
    agent.submit(agent.connect(), max_rounds=1000, min_rounds=1000)
    of_a_worker: list[list[str]] = []

    def look() -> bool:
        with contextlib.suppress(OSError):  # that one has just ended
            of_a_worker.append(inet_sockets(agent.worker()))
        return bool(of_a_worker)

    wait_until(look)
    assert (inet_sockets(psutil.Process(agent.pid)), of_a_worker) == ([], [[]])
    with socket.create_server(("127.0.0.1", 0)):  # what would be seen
        assert len(inet_sockets(psutil.Process())) >= 1
    agent.connect().ask({"type": "stop", "force": True})


def inet_sockets(process: psutil.Process) -> list[str]:
    """Its descriptors that are sockets of the internet's protocols."""
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path(f"/proc/{process.pid}/net/{table}")
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        inodes |= {f"socket:[{line.split()[9]}]" for line in lines}
    links = []
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(str(descriptor.readlink()))
    return [link for link in links if link in inodes]


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\n",
        b"GET / HTTP/1.1\n",
        b"{}\n",
        b"[" * 50_000 + b"\n",
        b'{"type":"hello","protocol":99}\n',
        b'{"type":"status"}\n',
    ],
)
def test_whoever_does_not_say_hello_is_told_and_hung_up_on(agent: Agent, line: bytes) -> None:
    stranger = agent.connect(greet=False)
    stranger.say_raw(line)
    assert stranger.read()["type"] == "error"
    assert stranger.read() == {}
    assert agent.connect().ask({"type": "status"})["state"] == "idle"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "reboot"},
        {"type": "submit", "spec": {}},
        {"type": "follow", "run": "../../x", "have": 0},
        {"type": "follow", "run": "nobody", "have": 0},
        {"type": "follow", "run": "nobody", "have": -1},
        {"type": "cancel"},
        {"type": "logs", "lines": "all"},
    ],
)
def test_a_message_that_makes_no_sense_is_refused_and_the_agent_goes_on(agent: Agent, message: wire.Message) -> None:
    client = agent.connect()
    assert client.ask(message)["type"] == "error"
    assert client.read() == {}
    assert agent.connect().ask({"type": "status"})["state"] == "idle"


def test_an_endless_line_is_refused_without_being_kept(agent: Agent) -> None:
    client = agent.connect()
    with contextlib.suppress(BrokenPipeError):  # the agent hangs up before it has read all of it
        client.say_raw(b"x" * (wire.MAX_LINE_BYTES * 4))
    messages = iter(client.read, {})
    assert [message["type"] for message in messages] in (["error"], [])
    assert psutil.Process(agent.pid).memory_info().rss < 60e6


def test_files_that_are_not_there_are_refused_before_the_run(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.spec()
    (agent.home / "objects" / agent.objects["sparse"]).unlink()
    answer = client.ask({"type": "submit", "spec": spec.to_message()})
    assert answer["type"] == "error"
    assert "1 files of the run are not on the board" in answer["message"]


def test_starting_twice_keeps_the_daemon_and_stop_ends_it(agent: Agent) -> None:
    pid = agent.pid
    assert agent.start() == {"state": "running", "pid": pid, "message": ""}
    assert agent.connect().ask({"type": "stop", "force": False})["type"] == "stopping"
    assert psutil.wait_procs([psutil.Process(pid)], timeout=60)[1] == []
    assert not (agent.home / "agent.sock").exists()


def test_control_stops_an_agent_and_waits_for_its_end(agent: Agent) -> None:
    client = agent.connect()
    agent.submit(client, max_rounds=1000, min_rounds=1000, owner="ada@lab")
    process = psutil.Process(client.hello["pid"])
    busy = agent.control("stop")
    assert (busy["state"], "ada@lab" in busy["message"]) == ("busy", True)
    assert agent.control("stop", "--force") == {"state": "stopped", "message": ""}
    with (agent.home / "agent.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while it still ends its runs
    assert psutil.wait_procs([process], timeout=60)[1] == []
    assert agent.control("stop") == {"state": "absent", "message": ""}


def test_a_busy_agent_is_neither_stopped_nor_replaced(agent: Agent) -> None:
    client = agent.connect()
    spec = agent.submit(client, max_rounds=1000, min_rounds=1000, owner="ada@lab")
    answer = agent.connect().ask({"type": "stop", "force": False})
    assert (answer["type"], answer["code"]) == ("error", "busy")
    assert "ada@lab" in answer["message"]
    other = agent.start(pythonpath="/another/runtime")
    assert other["state"] == "busy"
    assert spec.run in other["message"]
    assert agent.connect().ask({"type": "stop", "force": True})["type"] == "stopping"


def test_an_idle_agent_with_another_runtime_is_replaced(agent: Agent) -> None:
    pid = agent.pid
    assert agent.start(pythonpath="/another/runtime")["state"] == "started"
    assert agent.pid != pid


def test_an_idle_agent_ends_when_told_to(agent: Agent) -> None:
    first = psutil.Process(agent.pid)
    agent.connect().ask({"type": "stop", "force": False})
    assert psutil.wait_procs([first], timeout=60)[1] == []
    agent.start("--idle-exit", "1.5")
    process = psutil.Process(agent.pid)
    for client in agent.clients:
        client.close()
    assert psutil.wait_procs([process], timeout=60)[1] == []


def test_idling_costs_next_to_nothing(agent: Agent) -> None:
    process = psutil.Process(agent.pid)
    client = agent.connect()
    list(client.follow(agent.submit(client).run))

    def share() -> float:
        before, started = process.cpu_times(), time.monotonic()
        time.sleep(4)
        after = process.cpu_times()
        return (after.user + after.system - before.user - before.system) / (time.monotonic() - started)

    # The clock of a process ticks in 10 ms: one tick is all that could pass; what came before may add another.
    wait_until(lambda: share() <= 0.003)
    assert process.memory_info().rss < 40e6


def test_the_log_tells_of_the_start(agent: Agent) -> None:
    assert "listens on" in agent.connect().ask({"type": "logs", "lines": 5})["lines"][-1]


def test_the_agent_is_one_file_that_needs_nothing_of_the_host(agent: Agent, tmp_path: Path) -> None:
    heavy = ("tensorflow", "paramiko", "pandas", "typer", "numpy", "msgspec")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import edgesparse.agent.daemon as daemon; print(daemon.__file__);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(agent.zipapp)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert str(agent.zipapp) in out[0]
    assert out[1] == "[]"


def test_the_agent_is_written_in_python_3_9() -> None:
    with zipfile.ZipFile(io.BytesIO(agent_zipapp()[0])) as archive:
        for name in archive.namelist():
            ast.parse(archive.read(name), name, feature_version=(3, 9))
