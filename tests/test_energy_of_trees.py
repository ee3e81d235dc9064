"""Energy read from captured trees whose files change as the boards' would, against integrals computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesparse import energy
from edgesparse.agent.sensors import Source, battery, hwmon, iio, ina3221, meter, pmic, rapl
from edgesparse.agent.sensors.source import ENERGY, Channel, Reading
from edgesparse.agent.sensors.told import main_channels
from tests.agent.sensors import trees
from tests.test_energy import LOADS, START_NS, stamps

# Sets what the board takes, in watts, and what it has taken since its start, in joules.
SetTo = Callable[[float, float], None]
Board = Callable[[Path], tuple[Source, SetTo]]

RANGE_J = 23.0


def orin_nano(root: Path) -> tuple[Source, SetTo]:
    """5 V, and a current in milliamperes; the CPU's rail gives back a little."""
    monitor = trees.jetson_orin_nano(root)
    (monitor / "in1_input").write_text("5000\n")
    (monitor / "curr2_input").write_text("-8\n")
    return next(ina3221.find(root)), lambda watts, joules: put(monitor / "curr1_input", watts / 5 * 1e3)


def agx_orin(root: Path) -> tuple[Source, SetTo]:
    """No total: what one rail takes, as the only one that is connected."""
    rails = {"NC": ("0", "0"), "VDD_GPU_SOC": ("19000", "168"), "VIN_NC": ("0", "0")}
    monitor = trees.ina3221(root, "1-0040", 4, rails)
    return next(ina3221.find(root)), lambda watts, joules: put(monitor / "curr2_input", watts / 19 * 1e3)


def nano(root: Path) -> tuple[Source, SetTo]:
    trees.jetson_nano(root)
    device = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    return next(iio.find(root)), lambda watts, joules: put(device / "in_power0_input", watts * 1e3)


def ina226(root: Path) -> tuple[Source, SetTo]:
    chip = root / "sys/class/hwmon/hwmon5"
    trees.write(root, {"sys/class/hwmon/hwmon5/name": "ina226", "sys/class/hwmon/hwmon5/power1_input": "0"})
    return next(hwmon.find(root)), lambda watts, joules: put(chip / "power1_input", watts * 1e6)


def x86(root: Path) -> tuple[Source, SetTo]:
    """A package whose counter wraps every 23 J."""
    trees.x86_server(root)
    zone = root / "sys/class/powercap/intel-rapl:0"
    put(zone / "max_energy_range_uj", RANGE_J * 1e6)
    return next(rapl.find(root)), lambda watts, joules: put(zone / "energy_uj", (joules + 20) % RANGE_J * 1e6)


def tablet(root: Path) -> tuple[Source, SetTo]:
    trees.tablet(root)
    supply = root / "sys/class/power_supply/BAT0"
    return next(battery.find(root)), lambda watts, joules: put(supply / "current_now", -watts / 7.6 * 1e6)


def pi5(root: Path) -> tuple[Source, SetTo]:
    """Half on one rail, half on another, with lines between them that are of none."""
    trees.raspberry_pi_5(root)
    amperes = [1.0]

    def ask() -> str:
        return (
            f" 3V3_SYS_A current(1)={amperes[0] / 3.3 / 2:.8f}A\nodd line\n"
            f" VDD_CORE_A current(7)={amperes[0] / 2:.8f}A\nVDD_CORE_V volt(15)=1.00000000V\n"
            " 3V3_SYS_V volt(9)=3.30000000V\n EXT5V_V volt(24)=5.1V\nX_A current(3)=A\n"
        )

    def set_to(watts: float, joules: float) -> None:
        amperes[0] = watts

    return next(pmic.find(root, ask)), set_to


def put(path: Path, value: float) -> None:
    path.write_text(f"{round(value)}\n")


BOARDS: dict[str, Board] = {
    each.__name__: each for each in (orin_nano, agx_orin, nano, ina226, x86, tablet, pi5)
}  # fmt: skip


def main_channel(source: Source) -> tuple[int, Channel]:
    """The channel that energy is told of, by its place among the readings."""
    described = {"source": source.name, "simulated": False, "channels": [each.to_message() for each in source.channels]}
    ((_, chosen),) = main_channels([described])
    place = [channel.name for channel in source.channels].index(chosen["name"])
    return place, source.channels[place]


@pytest.mark.parametrize("hertz", [10, 100, 1000])
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("board", BOARDS)
def test_energy_of_a_captured_tree_is_within_one_percent(tmp_path: Path, board: str, load: str, hertz: int) -> None:
    watts, expected = LOADS[load]
    times = 10 if hertz == 1000 else 1  # as fast: a second instead of ten, or it would take one
    source, set_to = BOARDS[board](tmp_path)
    place, channel = main_channel(source)
    seconds = stamps(hertz / times) / times
    fine = np.linspace(seconds[0], seconds[-1], 200_001)
    powers = watts(fine * times)
    so_far = np.concatenate([[0], np.cumsum((powers[1:] + powers[:-1]) / 2 * np.diff(fine))])
    readings: list[Reading] = []
    for second, power, joules in zip(
        seconds, np.interp(seconds, fine, powers), np.interp(seconds, fine, so_far), strict=True
    ):
        assert -2 < second < 12
        set_to(float(power), float(joules))
        readings.append(source.read()[place])
    assert all(isinstance(reading, float) for reading in readings)
    trace = energy.Trace(
        START_NS + np.round(seconds * 1e9).astype(np.int64), np.array(readings, float), channel.counts == ENERGY,
        channel.resolution, 1 / hertz, channel.wraps_at,
    )  # fmt: skip
    found = energy.joules(trace, (START_NS, START_NS + 10 * 10**9 // times))
    assert found is not None
    assert found.joules == pytest.approx(expected / times, rel=0.01)


@pytest.mark.parametrize("hertz", [10, 100, 1000])
@pytest.mark.parametrize("load", LOADS)
def test_energy_of_a_meters_lines_is_within_one_percent(load: str, hertz: int) -> None:
    """By a clock of its own, between lines that are none."""
    watts, expected = LOADS[load]
    seconds = stamps(hertz)
    lines = [f"{second + 5000:.6f},{power:.4f}" for second, power in zip(seconds, watts(seconds), strict=True)]
    read = [meter.parse(each) for line in lines for each in (line, "##")]
    good = [(at, reading) for at, reading in read if at is not None and not isinstance(reading, str)]
    assert len(good) == len(seconds) and len(read) == 2 * len(seconds)
    stamps_ns, values = zip(*good, strict=True)
    trace = energy.Trace(np.array(stamps_ns, np.int64), np.array(values, float), update_s=1 / hertz)
    found = energy.joules(trace, (5000 * 10**9, 5010 * 10**9))
    assert found is not None
    assert found.joules == pytest.approx(expected, rel=0.01)
