"""What the doctor finds on boards that are not fit, and on one that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgesparse.agent.conditions import LiveConditions, raspberry_pi_flags
from edgesparse.agent.examining import examine
from tests.agent.sensors import trees
from tests.agent.sensors.trees import write

JETSON = "NV Power Mode: 15W\n2\n"


def found(root: Path, said: str = "") -> dict[str, dict[str, Any]]:
    def ask(command: Sequence[str]) -> str:
        return said if command[0] == "nvpmodel" else ""

    return {each["what"]: each for each in examine(root, ask)}


def test_a_board_that_is_not_fit(tmp_path: Path) -> None:
    trees.tablet(tmp_path)
    write(tmp_path, {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "sys/devices/system/cpu/cpufreq/boost": "1",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "81200",
    })  # fmt: skip
    findings = found(tmp_path, JETSON)
    spoiled = {what: each["found"] for what, each in findings.items() if each["fine"] is False}
    assert spoiled["governor"] == "ondemand"
    assert spoiled["turbo"] == "on"
    assert spoiled["power mode"] == "15W"
    assert spoiled["throttling"].startswith("under-voltage now, throttled now, under-voltage since boot")
    assert spoiled["temperature"] == "81 °C (cpu-thermal)"
    assert spoiled["battery"] == "Discharging"
    assert all(findings[what]["why"] and findings[what]["cure"] for what in spoiled)
    assert "sudo nvpmodel -m 0" in findings["power mode"]["cure"]


def test_a_board_that_is_fit(tmp_path: Path) -> None:
    trees.jetson_orin_nano(tmp_path)
    write(tmp_path, {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "1",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "41000",
    })  # fmt: skip
    findings = found(tmp_path, "NV Power Mode: MAXN_SUPER\n0\n")
    for what in ("governor", "turbo", "power mode", "throttling", "temperature", "power sensors"):
        assert findings[what]["fine"] is True, findings[what]
        assert not findings[what]["cure"]


def test_sensors_that_cannot_be_read_are_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.x86_server(tmp_path)
    finding = found(tmp_path)["power sensors"]
    assert finding["fine"] is False and "chmod a+r" in finding["cure"]
    assert found(tmp_path / "none")["power sensors"] == {
        "what": "power sensors", "found": "none", "fine": None, "why": "", "cure": "",
    }  # fmt: skip


def test_flags_of_the_raspberry_pi() -> None:
    assert raspberry_pi_flags(0) == []
    assert raspberry_pi_flags(0x50000) == ["under-voltage since boot", "throttled since boot"]
    assert raspberry_pi_flags(0x80008) == ["soft temperature limit now", "soft temperature limit since boot"]


def test_live_conditions_leave_the_agents_own_work_out(tmp_path: Path) -> None:
    write(tmp_path, {"proc/pressure/memory": "some avg10=1.50 avg60=0.10 avg300=0.00 total=1"})
    live = LiveConditions(tmp_path)
    total = sum(range(3_000_000))
    found = live.read()
    assert total and found["other_cpu_percent"] >= 0
    assert found["memory_pressure_percent"] == 1.5
