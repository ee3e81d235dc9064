"""Every source, on the files of the boards that have it."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgesparse.agent.sensors import Source, battery, find_sources, hwmon, iio, ina3221, meter, nvml, pmic, rapl
from edgesparse.agent.sensors.source import BOARD_INPUT, ENERGY, GPU, POWER, RAIL, SOC, WALL
from tests.agent.sensors import trees


def only(found: Any) -> Source:
    (source,) = found
    return source  # type: ignore[no-any-return]


def readings(source: Source) -> dict[str, Any]:
    return dict(zip((channel.name for channel in source.channels), source.read(), strict=True))


def test_a_board_without_sensors_has_none(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []


def test_jetson_with_a_total(tmp_path: Path) -> None:
    trees.jetson_orin_nano(tmp_path)
    source = only(find_sources(tmp_path))
    assert {channel.name: (channel.scope, channel.total) for channel in source.channels} == {
        "VDD_IN": (BOARD_INPUT, True), "VDD_CPU_GPU_CV": (RAIL, False), "VDD_SOC": (RAIL, False),
    }  # fmt: skip
    assert readings(source)["VDD_IN"] == pytest.approx(4.976 * 1.320)
    assert source.declared_period_s == pytest.approx(0.002)
    assert source.channels[0].resolution == pytest.approx(4.976 * 40e-6 / 0.005), "a step of 40 uV over 5 mOhm"


def test_jetson_without_a_total(tmp_path: Path) -> None:
    trees.agx_orin(tmp_path)
    found = readings(only(ina3221.find(tmp_path)))
    assert list(found) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"], "neither NC nor sums"
    assert found["VDD_CPU_CV"] == pytest.approx(-0.152), "a current may be below zero"
    assert not any(channel.total for channel in only(ina3221.find(tmp_path)).channels)


def test_numbers_of_hwmon_move_between_boots(tmp_path: Path) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    before = readings(only(ina3221.find(tmp_path)))
    monitor.rename(monitor.with_name("hwmon7"))
    assert readings(only(ina3221.find(tmp_path))) == before


def test_a_monitor_that_is_unplugged_and_comes_back_under_another_number(tmp_path: Path) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    source = only(ina3221.find(tmp_path))
    before = source.read()
    monitor.rename(tmp_path / "gone")
    assert source.read() == ["it has gone"] * 3
    assert source.read() == ["it has gone"] * 3
    shutil.move(tmp_path / "gone", monitor.with_name("hwmon9"))
    assert source.read() == before


def test_a_reading_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    source = only(ina3221.find(tmp_path))
    (monitor / "curr2_input").write_text("garbage\n")
    (monitor / "in3_input").unlink()
    found = readings(source)
    assert isinstance(found["VDD_IN"], float)
    assert found["VDD_CPU_GPU_CV"] == "no number: 'garbage'"
    assert found["VDD_SOC"] == "it has gone"


def test_jetpack_4(tmp_path: Path) -> None:
    trees.jetson_nano(tmp_path)
    source = only(iio.find(tmp_path))
    assert readings(source) == {"POM_5V_IN": 2.58, "POM_5V_GPU": 0.04, "POM_5V_CPU": 0.73}
    assert [channel.total for channel in source.channels] == [True, False, False]


def test_raspberry_pi_5_pairs_by_name(tmp_path: Path) -> None:
    trees.raspberry_pi_5(tmp_path)
    source = only(pmic.find(tmp_path, lambda: trees.PI5))
    found = readings(source)
    core = 6.22421 * 0.861733
    assert found["VDD_CORE"] == pytest.approx(core)
    assert found[pmic.SUM] == pytest.approx(core + 0.05757768 * 3.703 + 0.0614817 * 3.313101)
    assert set(found) == {pmic.SUM, "VDD_CORE", "3V3_SYS", "3V7_WL_SW"}, "a voltage without a current is no power"
    assert (source.channels[0].scope, source.channels[0].total) == (SOC, True), "it is not what the board takes in"


def test_raspberry_pi_5_whose_firmware_stops_answering(tmp_path: Path) -> None:
    trees.raspberry_pi_5(tmp_path)
    answers = [trees.PI5, "", trees.PI5.replace("VDD_CORE_A", "VDD_XXXX_A"), "VCHI initialization failed"]
    source = only(pmic.find(tmp_path, lambda: answers.pop(0)))
    assert readings(source)[pmic.SUM].startswith("without 3V3_SYS")
    found = readings(source)
    assert found[pmic.SUM] == "without VDD_CORE"
    assert isinstance(found["3V3_SYS"], float)
    assert all(isinstance(each, str) for each in source.read())


def test_a_pi_without_the_chip_and_a_board_that_is_no_pi(tmp_path: Path) -> None:
    assert list(pmic.find(tmp_path, lambda: trees.PI5)) == []
    trees.raspberry_pi_5(tmp_path)
    assert list(pmic.find(tmp_path, lambda: "error=1 error_msg='Command not registered'")) == []


@pytest.mark.parametrize("packages", [1, 2])
def test_rapl(tmp_path: Path, packages: int) -> None:
    trees.x86_server(tmp_path, packages)
    source = only(rapl.find(tmp_path))
    package, core, dram = source.channels[:3]
    assert (package.scope, package.counts, package.total) == (SOC, ENERGY, packages == 1)
    assert package.wraps_at == pytest.approx(262143.328850)
    assert (core.scope, core.total) == (RAIL, False)
    found = readings(source)
    assert found["package-0"] == pytest.approx(262143.0)
    assert found[dram.name] == "no number: 'garbage'"
    assert len(found) == 3 * packages


def test_files_that_only_root_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.x86_server(tmp_path)
    source = only(rapl.find(tmp_path))

    def refuse(path: Path, *args: Any, **options: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert source.read() == ["only root may read it"] * 3


def test_hwmon_in_general(tmp_path: Path) -> None:
    trees.carrier_with_ina226(tmp_path)
    found = {source.name: source for source in hwmon.find(tmp_path)}
    assert set(found) == {"hwmon amd_energy", "hwmon amdgpu", "hwmon ina226"}, "no thermal chip, no INA3221"
    assert readings(found["hwmon ina226"]) == {"ina226 power1": 0.33, "ina226 power1 (hwmon5)": 1.275}
    assert found["hwmon ina226"].declared_period_s == pytest.approx(0.004)
    assert [(each.name, each.scope) for each in found["hwmon amdgpu"].channels] == [("PPT", GPU)]
    energy = found["hwmon amd_energy"].channels[0]
    assert (energy.name, energy.scope, energy.counts) == ("Esocket0", SOC, ENERGY)
    assert found["hwmon amd_energy"].read() == [48.0]


def test_battery(tmp_path: Path) -> None:
    trees.tablet(tmp_path)
    source = only(battery.find(tmp_path))
    assert readings(source) == {"BAT0": pytest.approx(3.8)}, "a port's contract measures nothing"
    assert (source.channels[0].scope, source.channels[0].counts) == (BOARD_INPUT, POWER)
    trees.tablet(tmp_path, status="Charging")
    assert source.read() == ["the battery is not what feeds the board: Charging"]


class Nvml:
    """Two GPUs, one of which counts energy."""

    class NVMLError(Exception): ...

    driver = True

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, device: int) -> bytes | str:
        return b"Tesla P100" if device == 0 else "NVIDIA H100"

    def nvmlDeviceGetTotalEnergyConsumption(self, device: int) -> int:
        if device == 0:
            raise self.NVMLError("Not Supported")
        return 123_456

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:
        return 31_500


def test_nvidia_gpus() -> None:
    source = only(nvml.find(Nvml()))
    assert readings(source) == {"GPU 0 Tesla P100": 31.5, "GPU 1 NVIDIA H100": 123.456}
    assert [channel.counts for channel in source.channels] == [POWER, ENERGY]
    Nvml.driver = False
    assert list(nvml.find(Nvml())) == []
    Nvml.driver = True


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3.5\n", (None, 3.5)),
        ("12.25,3.5\n", (12_250_000_000, 3.5)),
        (" -0.1 \n", (None, -0.1)),
        ("time,watts\n", (None, "expected watts or seconds,watts, found 'time,watts'")),
        ("1,2,3\n", (None, "expected watts or seconds,watts, found '1,2,3'")),
        ("nan\n", (None, "expected watts or seconds,watts, found 'nan'")),
        ("\n", (None, "expected watts or seconds,watts, found ''")),
    ],
)
def test_a_meters_lines(line: str, expected: tuple[int | None, float | str]) -> None:
    assert meter.parse(line) == expected


def test_a_meter_with_a_clock_of_its_own(tmp_path: Path) -> None:
    """Its clock started elsewhere, and its lines come late by up to 50 ms; they are laid where they belong."""
    script = tmp_path / "meter.py"
    script.write_text(
        "import time\nprint('seconds,watts', flush=True)\n"
        "for n in range(20):\n"
        "    taken = time.monotonic()\n"
        "    time.sleep(0.01 * (n % 5))\n"
        "    print(f'{taken - 5000:.6f},{n}', flush=True)\n"
        "    time.sleep(0.01)\n"
    )
    begin_ns = time.monotonic_ns()
    source = meter.Meter(f"{sys.executable} {script}")
    assert source.channels[0].scope == WALL
    lines: list[tuple[int, list[Any]]] = []
    while not lines or lines[-1][1] != ["the meter's command has ended"]:
        assert time.monotonic_ns() - begin_ns < 20e9
        lines += source.take()
        time.sleep(0.05 if lines else 0.5)
    source.close()
    assert lines[0][1] == ["expected watts or seconds,watts, found 'seconds,watts'"]
    values = [(stamp, reading[0]) for stamp, reading in lines[1:-1]]
    assert [value for _, value in values] == list(range(20))
    stamps = [stamp for stamp, _ in values]
    expected = [sum(0.01 * (k % 5) + 0.01 for k in range(n)) for n in range(20)]
    off = [(stamp - stamps[0]) / 1e9 - wanted for stamp, wanted in zip(stamps, expected, strict=True)]
    assert sorted(abs(each) for each in off)[10] < 0.02


def test_a_meters_command_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        meter.Meter("/no/such/meter")
