"""The governor is set, and put back whatever happens."""

from __future__ import annotations

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
