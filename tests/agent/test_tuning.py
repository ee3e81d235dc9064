"""The governor is set, and put back whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgesparse.agent.tuning import Tuning
from tests.agent.sensors.trees import write

GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {GOVERNOR.format(0): "schedutil", GOVERNOR.format(1): "ondemand"})
    (tmp_path / "home").mkdir()
    return tmp_path


def governors(root: Path) -> list[str]:
    return [(root / GOVERNOR.format(cpu)).read_text().strip() for cpu in (0, 1)]


def test_set_and_put_back(root: Path) -> None:
    tuning = Tuning(root / "home", root)
    assert list(tuning.apply().values()) == ["schedutil", "ondemand"]
    assert governors(root) == ["performance"] * 2
    assert tuning.restore() is True
    assert governors(root) == ["schedutil", "ondemand"]
    assert tuning.restore() is False


def test_an_agent_that_was_killed_in_between_is_put_right_by_the_next(root: Path) -> None:
    Tuning(root / "home", root).apply()
    assert Tuning(root / "home", root).restore() is True
    assert governors(root) == ["schedutil", "ondemand"]


def test_tuning_twice_does_not_take_what_it_set_for_what_was_there(root: Path) -> None:
    Tuning(root / "home", root).apply()
    Tuning(root / "home", root).apply()
    Tuning(root / "home", root).restore()
    assert governors(root) == ["schedutil", "ondemand"]


def test_one_core_that_refuses_leaves_all_as_they_were(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text = Path.write_text

    def refuse(path: Path, content: str, *args: object) -> int:
        if "cpu1/" in str(path) and content == "performance":
            raise PermissionError(13, "Permission denied")
        return write_text(path, content)

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setenv("PATH", str(root))  # no sudo
    with pytest.raises(OSError, match="needs root"):
        Tuning(root / "home", root).apply()
    assert governors(root) == ["schedutil", "ondemand"]
    assert Tuning(root / "home", root).restore() is False


def test_a_board_without_governors_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="lets nobody choose a governor"):
        Tuning(tmp_path, tmp_path).apply()


KILLED = """
import sys, time
from pathlib import Path
from edgesparse.agent.tuning import Tuning
root = Path(sys.argv[1])
tuning = Tuning(root / "home", root)
tuning.apply()
print("set", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_killed_leaves_the_governor_as_it_was(root: Path, by: signal.Signals) -> None:
    """Also without a next one: the guard sees the agent's end."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as agent:
        assert agent.stdout is not None and agent.stdout.readline() == b"set\n"
        assert governors(root) == ["performance"] * 2
        agent.send_signal(by)
    deadline = time.monotonic() + 30
    while (root / "home/tuned.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert governors(root) == ["schedutil", "ondemand"]


def test_a_core_that_is_off_when_the_agent_is_killed_is_put_right_by_the_next(root: Path) -> None:
    """The guard keeps for it what it cannot put back."""
    core, away = (root / GOVERNOR.format(0)).parent, root / "off"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as agent:
        assert agent.stdout is not None and agent.stdout.readline() == b"set\n"
        core.rename(away)
        agent.kill()
    kept = root / "home/tuned.json"
    deadline = time.monotonic() + 30
    while kept.exists() and len(json.loads(kept.read_text())) == 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (root / GOVERNOR.format(1)).read_text().strip() == "ondemand"
    assert json.loads(kept.read_text()) == {str(root / GOVERNOR.format(0)): "schedutil"}
    away.rename(core)
    assert Tuning(root / "home", root).restore() is True
    assert governors(root) == ["schedutil", "ondemand"]


def test_a_guard_has_nothing_to_do_once_it_is_put_back(root: Path) -> None:
    tuning = Tuning(root / "home", root)
    tuning.apply()
    guard = tuning._guard
    assert guard is not None and guard.poll() is None
    tuning.restore()
    assert guard.poll() == 0
    assert governors(root) == ["schedutil", "ondemand"]


def test_a_core_that_is_off_by_then_keeps_none_of_the_others_from_being_put_back(root: Path) -> None:
    tuning = Tuning(root / "home", root)
    tuning.apply()
    core = (root / GOVERNOR.format(0)).parent
    core.rename(root / "off")
    with pytest.raises(OSError, match="cpu0/cpufreq/scaling_governor is not schedutil again: No such file"):
        tuning.restore()
    assert (root / GOVERNOR.format(1)).read_text() == "ondemand"
    assert list(json.loads((root / "home/tuned.json").read_text()).values()) == ["schedutil"]
    (root / "off").rename(core)
    assert tuning.restore() is True
    assert governors(root) == ["schedutil", "ondemand"]


def test_what_could_not_be_put_back_is_not_forgotten_by_the_next_run(root: Path) -> None:
    (root / "home/tuned.json").write_text(json.dumps({str(root / GOVERNOR.format(0)): "powersave"}))
    (root / GOVERNOR.format(0)).rename(root / "away")
    tuning = Tuning(root / "home", root)
    with pytest.raises(OSError, match="cpu0"):
        tuning.restore()
    (root / "away").rename(root / GOVERNOR.format(0))
    Tuning(root / "home", root).apply()
    Tuning(root / "home", root).restore()
    assert governors(root) == ["powersave", "ondemand"]


def test_a_kernel_that_does_not_take_it_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: str, *args: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="does not take performance: Invalid argument"):
        Tuning(root / "home", root).apply()
