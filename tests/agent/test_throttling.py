"""What holds clocks down, on the boards that say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgesparse.agent.throttling import Throttling, raspberry_pi_flags, run
from tests.agent.sensors import trees
from tests.agent.sensors.trees import write


def silent(command: Sequence[str]) -> str:
    return ""


def test_flags_of_the_raspberry_pi() -> None:
    assert raspberry_pi_flags(0) == []
    assert raspberry_pi_flags(0x50000) == ["under-voltage since boot", "throttled since boot"]
    assert raspberry_pi_flags(0x80008) == ["soft temperature limit now", "soft temperature limit since boot"]


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        (
            "throttled=0x50005\n",
            ["under-voltage now", "throttled now", "under-voltage since boot", "throttled since boot"],
        ),
        ("throttled=0x0\n", []),
        ("", []),
        ("VCHI initialization failed\n", []),
    ],
)
def test_a_raspberry_pi_is_asked_where_its_kernel_has_no_file(tmp_path: Path, said: str, flags: list[str]) -> None:
    asked: list[Sequence[str]] = []

    def ask(command: Sequence[str]) -> str:
        asked.append(command)
        return said

    trees.raspberry_pi_5(tmp_path)
    assert Throttling(tmp_path, ask).flags() == flags
    assert asked == [["vcgencmd", "get_throttled"]]
    write(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "4"})
    assert Throttling(tmp_path, ask).flags() == ["throttled now"]
    assert len(asked) == 1


def test_counts_are_since_boot_and_what_grows_is_now(tmp_path: Path) -> None:
    """x86 cores that got too hot, and a Jetson's over-current guard."""
    core, guard = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "sys/class/hwmon/hwmon2"
    write(tmp_path, {core: "7", f"{guard}/name": "soctherm_oc", f"{guard}/oc3_event_cnt": "0"})
    throttling = Throttling(tmp_path, silent)
    assert throttling.flags() == ["cpu0 throttled 7 times"]
    write(tmp_path, {core: "9", f"{guard}/oc3_event_cnt": "1"})
    since_boot = ["cpu0 throttled 9 times", "over-current oc3 throttled 1 times"]
    assert throttling.flags() == ["cpu0 throttled now", "over-current oc3 throttled now", *since_boot]
    assert throttling.flags() == since_boot
    write(tmp_path, {core: "garbage"})
    assert throttling.flags() == ["over-current oc3 throttled 1 times"]


def test_cooling_by_slowing_down_is_a_flag_and_a_fan_is_none(tmp_path: Path) -> None:
    devices = {"cpufreq-cpu0": "2", "pwm-fan": "3", "Processor": "0", "intel_powerclamp": "-1", "devfreq-gpu": ""}
    for number, (kind, state) in enumerate(devices.items()):
        at = f"sys/class/thermal/cooling_device{number}"
        write(tmp_path, {f"{at}/type": kind, f"{at}/cur_state": state})
    assert Throttling(tmp_path, silent).flags() == ["slowed down by cpufreq-cpu0 now"]


def test_a_jetson_whose_clocks_fall_below_those_that_were_set(tmp_path: Path) -> None:
    at = "sys/devices/system/cpu/cpu0/cpufreq"
    write(tmp_path, {f"{at}/scaling_min_freq": "1510400", f"{at}/scaling_cur_freq": "1509000"})
    throttling = Throttling(tmp_path, silent)
    assert throttling.flags() == []
    write(tmp_path, {f"{at}/scaling_cur_freq": "729600"})
    assert throttling.flags() == ["cpu0 below its lowest clock now"]


def test_a_command_that_there_is_not_says_nothing() -> None:
    assert run(["/no/such/command"]) == ""
    assert run(["echo", "said"]) == "said\n"
