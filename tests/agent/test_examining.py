"""What the doctor finds on boards that are not fit, and on one that is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from edgesparse.agent import conditions
from edgesparse.agent.conditions import LiveConditions, read_conditions
from edgesparse.agent.examining import examine
from tests.agent.sensors import trees
from tests.agent.sensors.trees import write


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the load is watched does not matter here."""
    monkeypatch.setattr(read_conditions, "__defaults__", (Path("/"), 0.01))


JETSON = "NV Power Mode: 15W\n2\n"


def found(root: Path, said: str = "") -> dict[str, dict[str, Any]]:
    def ask(command: Sequence[str]) -> str:
        return said if command[0] == "nvpmodel" else ""

    return {each["what"]: each for each in examine(root, ask)}


def test_a_board_that_is_not_fit(tmp_path: Path) -> None:
    trees.tablet(tmp_path)
    write(tmp_path, {
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=15W >",
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
    assert "sudo reboot" in findings["throttling"]["cure"] and "watch cat /sys" in findings["temperature"]["cure"]
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


def test_live_conditions_leave_the_agents_own_work_out(tmp_path: Path) -> None:
    write(tmp_path, {"proc/pressure/memory": "some avg10=1.50 avg60=0.10 avg300=0.00 total=1"})
    live = LiveConditions(tmp_path)
    total = sum(range(3_000_000))
    found = live.read()
    assert total and found["other_cpu_percent"] >= 0
    assert found["memory_pressure_percent"] == 1.5


def test_a_jetson_whose_program_does_not_answer(tmp_path: Path) -> None:
    """What nvpmodel has written tells the mode, and its configuration which one is the fastest."""
    conf = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    write(tmp_path, {"var/lib/nvpmodel/status": "pmode:0000", "etc/nvpmodel.conf": conf})
    finding = found(tmp_path)["power mode"]
    assert (finding["found"], finding["fine"]) == ("15W", False)
    assert finding["cure"] == "sudo nvpmodel -m 2 && sudo jetson_clocks"
    write(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002 fmode:quiet"})
    assert found(tmp_path)["power mode"]["fine"] is True
    write(tmp_path, {"var/lib/nvpmodel/status": "pmode:0007"})
    assert found(tmp_path)["power mode"]["found"] == "mode 7"


@pytest.mark.parametrize(("mode", "number"), [("MODE_20W_6CORE", 8), ("MODE_15W_2CORE", 0)])
def test_a_jetson_whose_modes_do_not_say_which_is_the_fastest(tmp_path: Path, mode: str, number: int) -> None:
    """A Xavier NX has no MAXN, and its mode 0 has four cores off: nothing is called slow, and none is switched off."""
    modes = {0: "MODE_15W_2CORE", 1: "MODE_15W_4CORE", 2: "MODE_15W_6CORE", 8: "MODE_20W_6CORE"}
    conf = "\n".join(f"< POWER_MODEL ID={each} NAME={name} >" for each, name in modes.items())
    write(tmp_path, {"etc/nvpmodel.conf": conf})
    finding = found(tmp_path, f"NV Power Mode: {mode}\n{number}\n")["power mode"]
    assert (finding["found"], finding["fine"]) == (mode, None)
    assert "nvpmodel -p --verbose" in finding["cure"] and "-m" not in finding["cure"].split()


def test_a_raspberry_pi_that_does_not_answer_its_user(tmp_path: Path) -> None:
    """Whose user is not in the group video: no throttling that is told is no proof of none."""
    trees.raspberry_pi_5(tmp_path)
    findings = found(tmp_path)
    for what in ("throttling", "power sensors"):
        assert findings[what]["fine"] is None and "says nothing" in findings[what]["found"]
        assert findings[what]["cure"].startswith("sudo usermod -aG video $USER")
    assert {each["what"]: each for each in examine(tmp_path, lambda command: "throttled=0x0")}["throttling"]["fine"]
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "0"})
    assert found(tmp_path)["throttling"]["fine"] is True, "the kernel tells it to everybody"
    write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"})
    assert found(tmp_path)["power sensors"]["cure"] == "", "it has none"


def test_cores_that_may_not_run_as_fast_as_they_can(tmp_path: Path) -> None:
    for core, most in ((0, "1200000"), (1, "1900000"), (2, "garbage")):
        at = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(tmp_path, {f"{at}/scaling_max_freq": most, f"{at}/cpuinfo_max_freq": "1900000"})
    finding = found(tmp_path)["clock limit"]
    assert (finding["found"], finding["fine"]) == ("cpu0 at 1200 of 1900 MHz", False)
    assert "scaling_max_freq" in finding["cure"]
    write(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1900000"})
    assert found(tmp_path)["clock limit"]["fine"] is True


def test_memory_that_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"proc/pressure/memory": "some avg10=12.50 avg60=0.10 avg300=0.00 total=1"})
    finding = found(tmp_path)["memory pressure"]
    assert (finding["found"], finding["fine"]) == ("waited for in 12.5 % of the last 10 s", False)


def test_a_battery_on_its_charger_spoils_nothing(tmp_path: Path) -> None:
    trees.tablet(tmp_path, "Charging")
    assert found(tmp_path)["power sensors"]["fine"] is None
    assert found(tmp_path)["battery"]["fine"] is True


def test_what_is_told_before_during_and_after_is_the_same(tmp_path: Path) -> None:
    for core, (name, now) in enumerate((("schedutil", "1800000"), ("schedutil", "408000"), ("performance", "?"))):
        at = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(tmp_path, {f"{at}/scaling_governor": name, f"{at}/scaling_cur_freq": now})
    write(tmp_path, {
        "var/lib/nvpmodel/status": "pmode:0002", "sys/class/devfreq/17000000.gpu/cur_freq": "624750000",
        "sys/class/devfreq/odd/cur_freq": "?", "proc/pressure/memory": "some avg10=0.00 total=0",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "48500",
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal", "sys/class/thermal/thermal_zone1/temp": "-256000",
        "sys/class/thermal/thermal_zone2/type": "odd", "sys/class/thermal/thermal_zone2/temp": "",
    })  # fmt: skip
    before, during = read_conditions("before", tmp_path, 0.0), LiveConditions(tmp_path).read()
    assert during.keys() == before.keys() - {"when", "load_1m"}
    for found_ in (before, during):
        assert found_["governor"] == "performance, schedutil"
        assert found_["power_mode"] == "mode 2"
        assert found_["frequency_mhz"] == [1800.0, 408.0]
        assert found_["device_mhz"] == {"17000000.gpu": 624.8}
        assert found_["temperature_c"]["cpu-thermal"] == 48.5
        assert (found_["throttled"], found_["memory_pressure_percent"]) == ([], 0.0)


class Machine:
    """One and a half cores are busy: a quarter with the agent, a quarter with its worker, one with somebody else."""

    WORKER = 4711

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.ended_s, self.workers = 1000.0, 0.0, {self.WORKER}
        monkeypatch.setattr(conditions, "time", SimpleNamespace(monotonic=lambda: self.now_s, sleep=self.sleep))
        monkeypatch.setattr(conditions, "os", SimpleNamespace(times=self.own, getloadavg=os.getloadavg))
        monkeypatch.setattr(conditions, "WORKERS", self.workers)
        monkeypatch.setattr(psutil, "cpu_times", self.all)
        monkeypatch.setattr(psutil, "Process", self.process)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def all(self, percpu: bool = False) -> Any:
        idle = SimpleNamespace(user=1.4 * self.now_s, system=0.1 * self.now_s, idle=2.5 * self.now_s)
        return type("times", (tuple,), vars(idle))(vars(idle).values())

    def own(self) -> os.times_result:
        return os.times_result((0.25 * self.now_s, 0.0, self.ended_s, 0.0, self.now_s))

    def process(self, pid: int | None = None) -> Any:
        if pid != self.WORKER:
            raise psutil.NoSuchProcess(pid or 0)
        return SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=0.25 * self.now_s, system=0.0))


def test_the_load_of_others_is_of_one_core_before_and_during(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch)
    before, live = read_conditions("before", tmp_path), LiveConditions(tmp_path)
    machine.sleep(1.0)
    assert (before["other_cpu_percent"], live.read()["other_cpu_percent"]) == (100.0, 100.0)


def test_a_worker_that_is_ending_is_not_taken_for_somebody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch)
    live = LiveConditions(tmp_path)
    machine.sleep(1.0)
    machine.workers.clear()
    assert live.read()["other_cpu_percent"] is None, "its time is neither its own nor that of those that have ended"
    machine.ended_s = 0.25 * machine.now_s
    machine.sleep(1.0)
    assert live.read()["other_cpu_percent"] == pytest.approx(112.5), "for a second without it others took its quarter"


def test_an_x86_without_cpufreq_says_its_clock_itself(tmp_path: Path) -> None:
    write(tmp_path, {"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2445.434\nprocessor\t: 1\ncpu MHz\t\t: 800.000"})
    assert LiveConditions(tmp_path).read()["frequency_mhz"] == [2445.4, 800.0]
