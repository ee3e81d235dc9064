"""The agent under a real systemd user manager: installed, killed, upgraded, removed."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgesparse.agent.control import Control
from edgesparse.agent.machine_lock import MachineLock
from edgesparse.agent.service import UNIT
from tests.agent.conftest import Agent
from tests.user_systemd import systemctl, user_systemd
from tests.waiting import wait_until

__all__ = ["user_systemd"]  # a fixture


@pytest.fixture
def installed(agent: Agent, user_systemd: Path) -> Agent:
    """An agent that was started, and then made a service."""
    state = control(agent, "install")
    assert state["state"] == "started", state
    assert state["service"]
    assert state["sandboxed"]
    return agent


def control(agent: Agent, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(agent.zipapp), *arguments, "--home", str(agent.home)]
    done = subprocess.run(command, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def unit_file(home: Path) -> Path:
    return home / ".config/systemd/user" / UNIT


def wait_for_another(agent: Agent, pid: int, within_s: float = 120) -> int:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = int(systemctl("show", "-P", "MainPID", UNIT))
        if found not in (0, pid) and agent.connect(greet=False).hello.get("pid") == found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no other agent within {within_s} s: {systemctl('status', UNIT)}")


def test_it_measures_in_its_sandbox(installed: Agent) -> None:
    assert systemctl("is-enabled", UNIT) == "enabled"
    assert int(systemctl("show", "-P", "MainPID", UNIT)) == installed.pid
    client = installed.connect()
    spec = installed.submit(client)
    records = client.records(spec.run)
    assert records[-1]["status"] == "finished"
    assert {record["status"] for record in records if record["type"] == "check"} == {"ok"}
    assert client.ask({"type": "status"})["service"] is True


def test_it_is_restarted_when_it_is_killed_and_not_when_it_is_stopped(installed: Agent) -> None:
    client = installed.connect()
    spec = installed.submit(client, max_rounds=1000, min_rounds=1000)
    worker, pid = installed.worker(), installed.pid
    os.kill(pid, signal.SIGKILL)
    assert wait_for_another(installed, pid) == installed.pid
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE  # its whole group goes with it
    end = installed.connect().records(spec.run)[-1]
    assert (end["type"], end["status"]) == ("finished", "failed")
    installed.connect().ask({"type": "stop", "force": False})
    wait_until(lambda: systemctl("is-active", UNIT) == "inactive")
    time.sleep(2)  # twice the time after which it would be restarted
    assert systemctl("is-active", UNIT) == "inactive"


def test_starting_another_agent_changes_the_unit_and_keeps_it_a_service(installed: Agent) -> None:
    pid = installed.pid
    assert control(installed, "start")["state"] == "running"
    assert installed.start(pythonpath="/another/runtime")["state"] == "started"
    assert installed.pid != pid
    assert int(systemctl("show", "-P", "MainPID", UNIT)) == installed.pid
    assert "PYTHONPATH=/another/runtime" in systemctl("show", "-P", "Environment", UNIT)


def test_a_run_that_is_on_is_not_ended_by_any_of_it(installed: Agent) -> None:
    client = installed.connect()
    spec = installed.submit(client, max_rounds=1000, min_rounds=1000, owner="ada@lab")
    for command in ("install", "uninstall"):
        state = control(installed, command)
        assert state["state"] == "busy"
        assert f"{spec.run} of ada@lab" in state["message"]
    assert client.ask({"type": "status"})["state"] == "measuring"
    client.ask({"type": "cancel", "run": spec.run})


def test_an_upgrade_removes_the_programs_of_others(installed: Agent) -> None:
    other = installed.home / "agent" / f"{'0' * 64}.pyz"
    other.write_bytes(b"an older agent")
    assert control(installed, "upgrade")["removed"] == 1
    assert [path.name for path in other.parent.iterdir()] == [installed.zipapp.name]


def test_uninstalling_leaves_what_it_names(installed: Agent, user_systemd: Path) -> None:
    pid = installed.pid
    state = control(installed, "uninstall")
    assert not psutil.pid_exists(pid)
    assert not unit_file(user_systemd).exists()
    assert systemctl("is-enabled", UNIT) == ""
    stays = [path for path in state["left"] if path.startswith(str(installed.home))]
    assert stays == sorted(str(path) for path in installed.home.iterdir())
    assert state["left"][str(installed.home / "objects")] == sum(
        path.stat().st_size for path in (installed.home / "objects").iterdir()
    )
    assert set(state["removed"]) >= {str(unit_file(user_systemd)), str(installed.home / "agent")}


def test_purging_leaves_nothing(installed: Agent, user_systemd: Path) -> None:
    state = control(installed, "uninstall", "--purge")
    assert state["left"] == {}
    assert not installed.home.exists()
    assert [path for path in user_systemd.rglob("*") if path.is_file()] == []


def test_what_stays_elsewhere_is_named(
    installed: Agent, user_systemd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the user's services start at boot, and the lock that another user's agent has."""
    user, lock = getpass.getuser(), Path(os.environ["EDGESPARSE_LOCK"])
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / user).touch()
    monkeypatch.setattr("edgesparse.agent.service._LINGERING", tmp_path / "linger")
    monkeypatch.chdir(tmp_path)
    other = MachineLock(lock)
    assert other.acquire()
    state = Control(installed.home, str(installed.zipapp)).uninstall(purge=True)
    assert (state["state"], state["left"]) == ("removed", {str(tmp_path / "linger" / user): 0, str(lock): 0})
    assert not installed.home.exists()
    other.release()
    assert other.remove()
    assert not lock.exists()


def test_a_unit_is_removed_where_systemd_is_no_more(
    installed: Agent, user_systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = installed.pid
    wanted = unit_file(user_systemd).parent / "default.target.wants" / UNIT
    assert wanted.is_symlink()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        state = control(installed, "uninstall", "--purge")
    assert str(unit_file(user_systemd)) in state["removed"]
    assert not wanted.is_symlink() and not unit_file(user_systemd).exists()
    wait_until(lambda: not psutil.pid_exists(pid))  # until its parent has seen it end


def test_what_is_not_the_agents_stays_also_with_purge(agent: Agent) -> None:
    (agent.home / "notes.txt").write_text("mine")
    state = control(agent, "uninstall", "--purge")
    assert state["left"] == {str(agent.home / "notes.txt"): 4}
    assert not Path(os.environ["EDGESPARSE_LOCK"]).exists()


def test_another_stores_service_is_not_taken(installed: Agent, tmp_path: Path) -> None:
    other = Agent(tmp_path / "another", {})
    state = control(other, "install")
    assert state["state"] == "failed"
    assert str(installed.home) in state["message"]
    assert installed.connect().ask({"type": "status"})["service"] is True


def test_without_systemd_it_is_started_all_the_same(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    state = control(agent, "install")
    assert (state["state"], state["service"]) == ("running", False)


def test_systemd_finds_it_safe_enough(installed: Agent, user_systemd: Path, tmp_path: Path) -> None:
    copy = tmp_path / UNIT
    shutil.copy(unit_file(user_systemd), copy)
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(copy)], capture_output=True, text=True, check=True
    ).stdout
    exposure = re.search(r"exposure level .*: ([\d.]+) (\w+)", said)
    assert exposure is not None, said
    assert exposure[2] in ("OK", "SAFE", "PERFECT"), said
    assert float(exposure[1]) < 5


def test_odd_paths_are_quoted(tmp_path: Path, user_systemd: Path, tiny_files: dict[str, bytes]) -> None:
    odd = Agent(tmp_path / 'a 100% $HOME "odd" one', tiny_files)
    try:
        assert control(odd, "install")["state"] == "started"
        assert control(odd, "install")["state"] == "started"
    finally:
        assert control(odd, "uninstall")["state"] == "removed"
        odd.kill()
