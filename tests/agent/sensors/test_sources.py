"""Every source, on the files of the boards that have it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgesparse.agent.sensors import Source, battery, find_sources, hwmon, iio, ina3221, meter, nvml, pmic, rapl
from edgesparse.agent.sensors.source import BOARD_INPUT, ENERGY, GPU, POWER, RAIL, SOC, WALL
from edgesparse.agent.sensors.told import main_channels
from tests.agent.sensors import trees
from tests.waiting import wait_until


def only(found: Any) -> Source:
    (source,) = found
    return source  # type: ignore[no-any-return]


def readings(source: Source) -> dict[str, Any]:
    return dict(zip((channel.name for channel in source.channels), source.read(), strict=True))


def told(source: Source) -> list[str]:
    """The channels whose sum is the board's energy."""
    described = {"source": source.name, "simulated": False, "channels": [each.to_message() for each in source.channels]}
    return [channel["name"] for _, channel in main_channels([described])]


def test_a_board_without_sensors_has_none(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []


def test_jetson_with_a_total(tmp_path: Path) -> None:
    trees.jetson_orin_nano(tmp_path)
    source = only(find_sources(tmp_path))
    assert {channel.name: (channel.scope, channel.total) for channel in source.channels} == {
        "VDD_IN": (BOARD_INPUT, True), "VDD_CPU_GPU_CV": (RAIL, False), "VDD_SOC": (RAIL, False),
    }  # fmt: skip
    assert readings(source)["VDD_IN"] == pytest.approx(4.976 * 1.320)
    assert source.channels[0].declared_s == pytest.approx(0.002)
    assert source.channels[0].resolution == pytest.approx(4.976 * 40e-6 / 0.005), "a step of 40 uV over 5 mOhm"


def test_jetson_without_a_total(tmp_path: Path) -> None:
    trees.agx_orin(tmp_path)
    source = only(ina3221.find(tmp_path))
    found = readings(source)
    assert list(found) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"], "neither NC nor sums"
    assert found["VDD_CPU_CV"] == pytest.approx(-0.152), "a current may be below zero"
    assert not any(channel.total for channel in source.channels)
    assert told(source) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], "the memory's is part of the last one"
    assert [channel.declared_s for channel in source.channels] == [0.002, 0.002, 0.002, 0.01], "each monitor's own"


def test_a_rail_whose_feeding_one_is_not_measured_counts(tmp_path: Path) -> None:
    trees.ina3221(tmp_path, "1-0041", 3, {"NC": ("0", "0"), "VDDQ_VDD2_1V8AO": ("4968", "256")})
    assert told(only(ina3221.find(tmp_path))) == ["VDDQ_VDD2_1V8AO"]


def test_an_ina3221_whose_device_tree_gives_no_labels(tmp_path: Path) -> None:
    """The driver then has no files of labels. One channel alone is told of; several are not added."""
    monitor = trees.ina3221(tmp_path, "1-0040", 4, {"a": ("5000", "300"), "b": ("3300", "100")})
    (monitor / "in1_label").unlink()
    (monitor / "in2_label").unlink()
    source = only(ina3221.find(tmp_path))
    assert readings(source) == {"1-0040 ch1": 1.5, "1-0040 ch2": pytest.approx(0.33)}
    assert [channel.scope for channel in source.channels] == [RAIL, RAIL]
    assert told(source) == []
    (monitor / "in2_enable").write_text("0\n")
    assert told(only(ina3221.find(tmp_path))) == ["1-0040 ch1"]


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

    def refuse(path: Path, *args: Any, **options: Any) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "open", refuse)
        found = source.read()
    assert found == ["only root may read it"] * 3


def test_hwmon_in_general(tmp_path: Path) -> None:
    trees.carrier_with_ina226(tmp_path)
    found = {source.name: source for source in hwmon.find(tmp_path)}
    assert set(found) == {"hwmon amd_energy", "hwmon amdgpu", "hwmon ina226"}, "no thermal chip, no INA3221"
    assert readings(found["hwmon ina226"]) == {"ina226 power1": 0.33, "ina226 power1 (hwmon5)": 1.275}
    assert {each.place: each.declared_s for each in found["hwmon ina226"].channels} == {"hwmon2": 0.004, "hwmon5": None}
    assert told(found["hwmon ina226"]) == [], "nothing tells whether one of them is behind the other"
    assert told(found["hwmon amdgpu"]) == ["PPT"]
    assert {each.resolution for source in found.values() for each in source.channels} == {0.0}, "a file's unit is none"
    assert [(each.name, each.scope) for each in found["hwmon amdgpu"].channels] == [("PPT", GPU)]
    energy = found["hwmon amd_energy"].channels[0]
    assert (energy.name, energy.scope, energy.counts) == ("Esocket0", SOC, ENERGY)
    assert found["hwmon amd_energy"].read() == [48.0]


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("xe", {"energy1": "card", "energy2": "pkg"}, ["card"]),
        ("amd_energy", {"energy1": "Ecore000", "energy2": "Ecore001", "energy3": "Esocket0"}, ["Esocket0"]),
        ("amd_energy", {"energy1": "Ecore0", "energy2": "Esocket0", "energy3": "Esocket1"}, ["Esocket0", "Esocket1"]),
        ("tps", {"power1": "pin", "power2": "pout1", "power3": "pout2"}, ["pin"]),
        ("macsmc_hwmon", {"power1": "AC Input Power", "power2": "Total System Power"}, ["Total System Power"]),
        ("odd", {"power1": "subtotal", "power2": "pinned"}, ["subtotal", "pinned"]),
    ],
)
def test_what_holds_the_rest_of_its_chip_is_used_alone(
    tmp_path: Path, name: str, labels: dict[str, str], expected: list[str]
) -> None:
    files = {f"{channel}_{end}": text for channel, label in labels.items() for end, text in
             (("input", "1000000"), ("label", label))}  # fmt: skip
    trees.hwmon(tmp_path, 0, "1-0040", name=name, **files)
    assert told(only(hwmon.find(tmp_path))) == expected


def test_the_total_of_a_power_supply_is_used_alone(tmp_path: Path) -> None:
    trees.supply_of_a_pc(tmp_path)
    source = only(hwmon.find(tmp_path))
    assert told(source) == ["power total"] and readings(source)["power total"] == 100.0
    assert sum(channel.total for channel in source.channels) == 1


def test_two_gpus_are_added_without_what_is_inside(tmp_path: Path) -> None:
    for number, device in enumerate(("0000:03:00.0", "0000:04:00.0")):
        files = {"energy1_label": "card", "energy1_input": "9", "energy2_label": "pkg", "energy2_input": "5"}
        trees.hwmon(tmp_path, number, device, name="xe", **files)
    source = only(hwmon.find(tmp_path))
    assert told(source) == ["card", "card (0000:04:00.0)"]
    assert not any(channel.total for channel in source.channels)


@pytest.mark.parametrize("labels", [("VIN", "VDD_CPU"), ("vdd_in", ""), ("VIN", "")])
def test_of_two_monitors_one_behind_the_other_the_first_is_used_alone(tmp_path: Path, labels: tuple[str, str]) -> None:
    """A device tree labels the chip, and so what its only channel measures."""
    for number, (label, watts) in enumerate(zip(labels, ("5000000", "2000000"), strict=True)):
        trees.hwmon(tmp_path, number, f"1-004{number}", name="ina226", label=label, power1_input=watts)
    source = only(hwmon.find(tmp_path))
    assert told(source) == [labels[0]] and readings(source)[labels[0]] == 5.0
    assert source.channels[0].scope == BOARD_INPUT


def test_a_number_that_another_chip_takes_is_not_read_under_the_old_name(tmp_path: Path) -> None:
    """Whether or not anybody read it in between; and where it comes back elsewhere it is found."""
    at = tmp_path / "sys/class/hwmon/hwmon5"
    trees.hwmon(tmp_path, 5, "1-0040", name="ina226", power1_input="1000000")
    source = only(hwmon.find(tmp_path))
    assert source.read() == [1.0]
    shutil.rmtree(at.resolve())
    at.unlink()
    trees.hwmon(tmp_path, 5, "0000:03:00.0", name="amdgpu", power1_input="99000000")
    assert [source.read() for _ in range(3)] == [["it has gone"]] * 3
    trees.hwmon(tmp_path, 6, "1-0040", name="ina226", power1_input="2000000")
    source.read()
    assert source.read() == [2.0]


def test_a_copied_tree_in_which_another_chip_takes_the_number(tmp_path: Path) -> None:
    """Without links there is no device's own path: once it has been seen to go, it is gone until its name is back."""
    chip = "sys/class/hwmon/hwmon5"
    trees.write(tmp_path, {f"{chip}/name": "ina226", f"{chip}/power1_input": "1000000"})
    source = only(hwmon.find(tmp_path))
    shutil.rmtree(tmp_path / chip)
    assert source.read() == ["it has gone"]
    trees.write(tmp_path, {f"{chip}/name": "amdgpu", f"{chip}/power1_input": "99000000"})
    assert [source.read() for _ in range(2)] == [["it has gone"]] * 2


def test_battery(tmp_path: Path) -> None:
    trees.tablet(tmp_path)
    source = only(battery.find(tmp_path))
    assert readings(source) == {"BAT0": pytest.approx(3.8)}, "a port's contract measures nothing"
    assert (source.channels[0].scope, source.channels[0].counts) == (BOARD_INPUT, POWER)
    trees.tablet(tmp_path, status="Charging")
    assert source.read() == ["the battery is not what feeds the board: Charging"]


@pytest.mark.parametrize(
    ("supply", "type_", "online", "scope"),
    [("AC", "Mains", "1", "System"), ("ucsi-source-psy-1", "USB", "1", ""), ("tcpm", "USB_PD", "2", "")],
)
def test_a_battery_that_runs_down_beside_a_weak_charger_is_refused_by_name(
    tmp_path: Path, supply: str, type_: str, online: str, scope: str
) -> None:
    trees.tablet(tmp_path)
    source = only(battery.find(tmp_path))
    at = f"sys/class/power_supply/{supply}"
    trees.write(tmp_path, {f"{at}/type": type_, f"{at}/online": online, f"{at}/scope": scope})
    assert source.read() == [f"the battery is not all that feeds the board: {supply} is online"]
    trees.write(tmp_path, {f"{at}/online": "0"})
    assert source.read() == [pytest.approx(3.8)]
    trees.write(tmp_path, {f"{at}/online": "1", f"{at}/scope": "Device"})
    assert source.read() == [pytest.approx(3.8)], "the charger of a mouse feeds no board"


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


def lines_of(source: meter.Meter) -> list[tuple[int, Any]]:
    """All that it says, stamped, until its command has ended."""
    lines: list[tuple[int, Any]] = []
    deadline = time.monotonic() + 60
    while not (lines and "has ended" in str(lines[-1][1])):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        lines += [(stamp, reading) for stamp, (reading,) in source.take()]
    source.close()
    return lines


def test_a_meter_with_a_clock_of_its_own(tmp_path: Path) -> None:
    """Its clock started elsewhere, and its lines come late by up to 40 ms; they are laid where they belong."""
    script = tmp_path / "meter.py"
    script.write_text(
        "import time\nprint('seconds,watts', flush=True)\n"
        "for n in range(20):\n"
        "    taken = time.monotonic()\n"
        "    time.sleep(0.01 * (n % 5))\n"
        "    print(f'{taken - 5000:.6f},{taken}', flush=True)\n"
        "    time.sleep(0.01)\n"
    )
    source = meter.Meter(f"{sys.executable} {script}")
    assert source.channels[0].scope == WALL
    *values, (_, end) = lines_of(source)
    assert end == "the meter's command has ended with exit status 0"
    assert len(values) == 20, "the heading is no reading"
    late_s = [stamp / 1e9 - taken for stamp, taken in values]
    assert min(late_s) > -1e-3, "never before it was taken"
    assert sorted(late_s)[10] < 0.02, "though half of the lines came later than that"


def test_a_meter_whose_lines_are_garbage_now_and_then(tmp_path: Path) -> None:
    script = tmp_path / "meter.py"
    script.write_bytes(
        b"import sys\nout = sys.stdout.buffer\n"
        b'out.write(b\'Time [ms],Voltage,"Power (mW)"\\n1000,5.0,2500\\n\\xff\\xfe\\x00,,\\n1010,5.0,-20\\n'
        b"1020,5.0\\n')\n"
        b"out.write(b'9' * 10000 + b'\\n1030,5.0,2600')\nsys.exit(3)\n"
    )
    source = meter.Meter(f"{sys.executable} {script}")
    wait_until(lambda: bool(source._ended))  # taken in parts, its later lines might come with a lesser delay
    *found, (_, end) = lines_of(source)
    readings_ = [reading for _, reading in found]
    assert [reading for reading in readings_ if not isinstance(reading, str)] == [2.5, -0.02, 2.6]
    assert all("expected the columns of the heading" in each for each in readings_ if isinstance(each, str))
    stamps = [stamp for stamp, reading in found if not isinstance(reading, str)]
    assert [later - stamps[0] for later in stamps] == [0, 10_000_000, 30_000_000]
    assert end.endswith("exit status 3")


def test_a_meters_clock_that_runs_slow_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one in a thousand: what its lines were late by two minutes ago says nothing of now."""
    source = meter.Meter("true")
    lines_of(source)
    for second in range(600):
        source._lines.append((second * 10**9, round(second * 0.999e9), 1.0))
        (stamp_ns, _), end = source.take()
        assert "has ended" in str(end[1]), "and says so whenever it is asked"
    assert stamp_ns == pytest.approx(599e9, abs=0.07e9)


@pytest.mark.parametrize("together", [True, False])
def test_a_meter_whose_clock_begins_again_is_stamped_rightly_at_once(together: bool) -> None:
    """It was started anew after 5 s, or its microseconds wrapped; also where lines of both parts are taken together."""
    source = meter.Meter("true")
    lines_of(source)
    stamps: list[int] = []
    for arrived_ns in range(0, 10**10, 10**8):
        meter_ns = arrived_ns + (10**15 if arrived_ns < 5 * 10**9 else -5 * 10**9)
        source._lines.append((arrived_ns, meter_ns, 1.0))
        if arrived_ns == 99 * 10**8 or not together:
            *read, _ = source.take()
            stamps += [stamp for stamp, _ in read]
    assert stamps == list(range(0, 10**10, 10**8))


@pytest.mark.parametrize("together", [True, False])
def test_a_damaged_time_costs_no_other_line_its_own(together: bool) -> None:
    """One line of a hundred says that it is the year 33658."""
    source = meter.Meter("true")
    lines_of(source)
    stamps: list[int] = []
    for number in range(100):
        arrived_ns = number * 10**8
        meter_ns = 10**21 if number == 50 else arrived_ns + 10**15
        source._lines.append((arrived_ns, meter_ns, 1.0))
        if number == 99 or not together:
            *read, _ = source.take()
            stamps += [stamp for stamp, _ in read]
    assert stamps == list(range(0, 10**10, 10**8))


def test_a_meters_command_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        meter.Meter("/no/such/meter")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("time,watts", meter.Columns(2, 0, 1)),
        ("Timestamp_ms, power_mw", meter.Columns(2, 0, 1, 1e6, 1e-3)),
        ("power [W],current [A],t_us", meter.Columns(3, 2, 0, 1e3, 1.0)),
        ("watts", meter.Columns(1, None, 0)),
        ("seconds,amperes", None),
        ("1.5,2.5", None),
        ("Warming up", None),
        ("", None),
    ],
)
def test_headings(line: str, expected: meter.Columns | None) -> None:
    assert meter.heading(line) == expected


def test_two_of_one_name_are_told_apart_by_their_place_also_when_one_is_unplugged(tmp_path: Path) -> None:
    """Two INA226 with the same label: the one that stays never gets the other's name, and numbers move meanwhile."""
    for number, address, watts in ((3, "1-0041", "2000000"), (7, "1-0040", "1000000")):
        chip = f"sys/class/hwmon/hwmon{number}"
        trees.write(tmp_path, {f"{chip}/name": "ina226", f"{chip}/power1_input": watts, f"{chip}/power1_label": "VIN"})
        (tmp_path / chip / "device").symlink_to(f"../../../{address}")
    source = only(hwmon.find(tmp_path))
    assert readings(source) == {"VIN": 1.0, "VIN (1-0041)": 2.0}
    hwmons = tmp_path / "sys/class/hwmon"
    (hwmons / "hwmon7").rename(tmp_path / "gone")
    (hwmons / "hwmon3").rename(hwmons / "hwmon1")
    assert source.read() == ["it has gone"] * 2
    assert source.read() == ["it has gone", 2.0]
    (tmp_path / "gone").rename(hwmons / "hwmon0")
    source.read()
    assert source.read() == [1.0, 2.0]


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENXIO])
def test_a_device_that_is_gone_behind_its_file_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    trees.jetson_orin_nano(tmp_path)
    source = only(ina3221.find(tmp_path))

    def refuse(*args: Any) -> bytes:
        raise OSError(number, "No such device")

    with monkeypatch.context() as unplugged:
        unplugged.setattr(os, "read", refuse)
        found = source.read()
    assert found == ["it has gone"] * 3
    assert all(isinstance(each, float) for each in source.read())


@pytest.mark.parametrize("content", ["", "\0\0", "1e3", "0x10", "9" * 4000, "12 34", "\N{DEGREE SIGN}", "nan"])
def test_a_file_with_anything_else_than_a_number(tmp_path: Path, content: str) -> None:
    monitor = trees.jetson_orin_nano(tmp_path)
    source = only(ina3221.find(tmp_path))
    (monitor / "curr1_input").write_text(content)
    found = source.read()
    assert str(found[0]).startswith("no number: ") and isinstance(found[1], float)


def test_an_orin_whose_tree_has_no_drivers_directory(tmp_path: Path) -> None:
    """Copied from /sys/class/hwmon alone: the chip's name and the link to its device tell."""
    monitor = trees.jetson_orin_nano(tmp_path / "there")
    at = tmp_path / "sys/class/hwmon/hwmon4"
    shutil.copytree(monitor, at)
    (at / "device").symlink_to("../../../1-0040")
    (source,) = find_sources(tmp_path)
    assert (source.name, source.channels[0].place) == ("ina3221", "1-0040")
    assert readings(source)["VDD_IN"] == pytest.approx(4.976 * 1.320)


def test_a_channel_that_is_switched_off_is_none(tmp_path: Path) -> None:
    rails = {"VDD_IN": ("4976", "1320"), "VDD_SOC": ("4968", "304")}
    trees.ina3221(tmp_path, "1-0040", 0, rails, in2_enable="0", in1_enable="1")
    assert list(readings(only(ina3221.find(tmp_path)))) == ["VDD_IN"]


def test_jetpack_4_without_the_files_of_power(tmp_path: Path) -> None:
    trees.jetson_nano(tmp_path)
    device = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    (device / "in_power0_input").unlink()
    (device / "in_current0_input").write_text("512\n")
    (device / "in_power1_input").unlink()
    source = only(iio.find(tmp_path))
    assert source.read() == [pytest.approx(5.04 * 0.512), "it has gone", 0.73]


def test_rapl_with_a_platform_domain(tmp_path: Path) -> None:
    """psys holds everything, the packages too: alone, and of another scope."""
    trees.x86_server(tmp_path, 2)
    trees.write(tmp_path, {f"sys/class/powercap/intel-rapl:2/{name}": content for name, content in (
        ("name", "psys"), ("energy_uj", "5000000"), ("max_energy_range_uj", "0"))})  # fmt: skip
    source = only(rapl.find(tmp_path))
    found = {channel.name: (channel.scope, channel.total, channel.wraps_at) for channel in source.channels}
    assert found["psys"] == (BOARD_INPUT, True, None)
    assert found["package-0"] == (SOC, False, 262143.32885)
    assert list(found) == ["package-0", "core", "dram", "package-1", "core (package-1)", "dram (package-1)", "psys"]


def test_two_batteries_one_of_which_waits_its_turn(tmp_path: Path) -> None:
    trees.tablet(tmp_path)
    other = {"type": "Battery", "status": "Not charging", "power_now": "0", "voltage_now": "12000000"}
    mouse = {"type": "Battery", "scope": "Device", "status": "Discharging", "power_now": "1000"}
    for name, files in (("BAT1", other), ("hidpp_battery_0", mouse)):
        trees.write(tmp_path, {f"sys/class/power_supply/{name}/{file}": text for file, text in files.items()})
    source = only(battery.find(tmp_path))
    assert readings(source) == {"BAT0": pytest.approx(3.8), "BAT1": 0.0}, "a mouse's battery feeds no board"
    assert not any(channel.total for channel in source.channels)
    trees.write(tmp_path, {"sys/class/power_supply/BAT1/status": "Charging"})
    assert [str(each)[:40] for each in source.read()] == ["the battery is not what feeds the board:"] * 2


def test_hwmon_of_a_chip_that_has_volts_and_amperes_alone(tmp_path: Path) -> None:
    """Of one number and one label they are one rail's; otherwise nothing says so."""
    chip = "sys/class/hwmon/hwmon0"
    files = {"name": "odd", "in1_input": "5000", "curr1_input": "200", "in2_input": "3300", "curr2_input": "100",
             "in2_label": "vout1", "curr2_label": "iin", "in3_input": "7", "curr4_input": "9",
             "powerX_input": "1", "power_input": "1", "energy1_max": "3"}  # fmt: skip
    trees.write(tmp_path, {f"{chip}/{name}": content for name, content in files.items()})
    assert readings(only(hwmon.find(tmp_path))) == {"odd curr1": 1.0}


def test_a_gpu_that_fell_off_the_bus_costs_the_other_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: Nvml, index: int) -> int:
        if index == 0:
            raise self.NVMLError("GPU is lost")
        return index

    monkeypatch.setattr(Nvml, "nvmlDeviceGetHandleByIndex", lost)
    assert readings(only(nvml.find(Nvml()))) == {"GPU 1 NVIDIA H100": 123.456}
    monkeypatch.setattr(Nvml, "nvmlDeviceGetHandleByIndex", lambda self, index: lost(self, 0))
    assert list(nvml.find(Nvml())) == []
