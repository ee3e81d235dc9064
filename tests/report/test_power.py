"""What a run's readings say of its cells, on records whose power is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesparse.report.power import PowerOfRun
from edgesparse.report.summary import summarise
from tests.report.runs import fill, make_run

Floats = NDArray[np.float64]

SECOND = 1_000_000_000
IDLE_W, BUSY_W = 2.0, 5.0
# Idle, eight launches of two seconds with one of rest behind each, idle; 100 inferences in a launch.
BEFORE, AFTER = (0, 4), (30, 34)
LAUNCHES = [(5 + 3 * number, 7 + 3 * number) for number in range(8)]


def window(begin_s: float, end_s: float) -> tuple[int, int]:
    return round(begin_s * SECOND), round(end_s * SECOND)


WINDOWS = [(window(*launch), 100) for launch in LAUNCHES]


def watts_at(seconds: Floats) -> Floats:
    busy = np.zeros(len(seconds), bool)
    for begin_s, end_s in LAUNCHES:
        busy |= (seconds >= begin_s) & (seconds < end_s)
    return np.asarray(np.where(busy, BUSY_W, IDLE_W), float)


def source(name: str, *channels: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"scope": "board-input", "counts": "power", "resolution": 1e-3, "wraps_at": None, "total": True}
    rate = {"update_s": 0.05, "period_s": 0.05, "rate_seen": True, "cost_s": 1e-4}
    return {"source": name, "simulated": False, "channels": [{**usual, **each} for each in channels], **rate, **more}


def readings(name: str, period_s: float, **channels: Any) -> dict[str, Any]:
    """A record of every channel's values: a function of seconds, or what is wrong with it all the time."""
    seconds = np.arange(-1, 36, period_s)
    stamps = [round(second * SECOND) for second in seconds]
    values: dict[str, list[float | None]] = {}
    errors: list[list[Any]] = []
    for channel, told in channels.items():
        if isinstance(told, str):
            values[channel] = [None] * len(stamps)
            errors += [[stamp, channel, told] for stamp in stamps]
        else:
            values[channel] = [None if np.isnan(value) else float(value) for value in told(seconds)]
    return {"type": "sensors", "source": name, "t_ns": stamps, "values": values, "errors": errors}


def noisy(seconds: Floats) -> Floats:
    return np.asarray(watts_at(seconds) + 0.002 * np.sin(1e3 * seconds), float)


def idle(when: str, span: tuple[int, int]) -> dict[str, Any]:
    return {"type": "idle", "when": when, "window_ns": list(window(*span))}


IDLE = [idle("before", BEFORE), idle("after", AFTER)]


def power(sources: list[dict[str, Any]], *records: dict[str, Any], **found: Any) -> PowerOfRun:
    first = {"type": "sensors_found", "sources": sources, "energy": True, "reason": "", **found}
    return PowerOfRun([first, *(records if "idle" in {each["type"] for each in records} else (*records, *IDLE))])


def test_energy_above_idle() -> None:
    found = power([source("ina3221", {"name": "VDD_IN"})], readings("ina3221", 0.05, VDD_IN=noisy)).of(WINDOWS)
    assert (found.status, found.source, found.channels, found.scope) == (
        "measured", "ina3221", ["VDD_IN"], "board-input",
    )  # fmt: skip
    assert found.mj == pytest.approx(60, rel=0.03) and found.gross_mj == pytest.approx(100, rel=0.03)
    assert found.interval_mj is not None and found.interval_mj[0] < 60 < found.interval_mj[1]
    assert (found.left_out, len(found.launches_mj)) == (0, 8)


def test_no_sensor_is_said_and_nothing_is_guessed() -> None:
    found = power([]).of(WINDOWS)
    assert (found.status, found.mj, found.power_w) == ("no sensor", None, None)
    assert power([], reason="a meter that does not start").of(WINDOWS).reason == "a meter that does not start"
    assert power([], energy=False).of(WINDOWS).status == "off"


def test_launches_too_short_for_what_is_read_are_refused_by_name() -> None:
    """Renewed often and read seldom, as what costs much to read is; or the other way round."""
    often = source("pmic", {"name": "PMIC outputs", "scope": "soc"})
    found = power([often], readings("pmic", 0.5, **{"PMIC outputs": noisy})).of(WINDOWS)
    assert found.status == "refused" and found.mj is None
    assert found.reason == "launches of 2 s are too short for pmic, which gives 2 readings a second"
    assert found.readings_hz == pytest.approx(2) and found.update_hz == pytest.approx(20)
    slow = source("ina3221", {"name": "VDD_IN"}, update_s=0.5)
    found = power([slow], readings("ina3221", 0.05, VDD_IN=noisy)).of(WINDOWS)
    assert found.reason == "launches of 2 s are too short for ina3221, which gives 2 readings a second"


def test_a_rate_that_watching_did_not_show_shows_in_the_run() -> None:
    """A battery renewed every 6 s, of which nobody knew, read ten times a second."""
    unseen = source("battery", {"name": "BAT0"}, update_s=0.1, rate_seen=False)
    record = readings("battery", 0.1, BAT0=lambda seconds: watts_at(seconds // 6 * 6) + seconds // 6 * 0.01)
    found = power([unseen], record).of(WINDOWS)
    assert found.reason == "launches of 2 s are too short for battery, which gives 0.167 readings a second"
    quick = readings("battery", 0.1, BAT0=noisy)
    assert power([unseen], quick).of(WINDOWS).status == "measured"


def test_a_sensor_that_reads_the_same_all_the_time_claims_nothing() -> None:
    unseen = source("hwmon odd", {"name": "odd"}, update_s=0.1, rate_seen=False)
    record = readings("hwmon odd", 0.1, odd=lambda seconds: 0 * seconds + 3.0)
    found = power([unseen], record).of(WINDOWS)
    assert (found.status, found.mj) == ("refused", None) and "read the same all the time" in found.reason
    meter = source("meter", {"name": "meter", "scope": "wall"}, rate_seen=False, stamped=True)
    steady = readings("meter", 0.1, meter=lambda seconds: 0 * seconds + 3.0)
    assert power([meter], steady).of(WINDOWS).mj == pytest.approx(0, abs=1e-9), "each of its lines is a reading"


def test_a_slow_channel_is_not_told_as_fast_as_the_one_beside_it() -> None:
    """Two seconds hold two of its readings, though they hold four hundred of the other's."""
    rails = [{"name": name, "scope": "rail", "total": False, "update_s": update_s, "rate_seen": True}
             for name, update_s in (("slow", 1.0), ("fast", 0.005))]  # fmt: skip
    record = readings("x", 0.05, slow=noisy, fast=noisy)
    found = power([source("x", *rails, update_s=0.005)], record).of(WINDOWS)
    assert found.reason == "launches of 2 s are too short for x, which gives 1 readings a second"
    assert (found.update_hz, found.readings_hz) == (1.0, 1.0)
    assert power([source("x", rails[1], update_s=0.005)], record).of(WINDOWS).status == "measured"


def test_a_rail_at_rest_beside_one_that_is_seen_to_change_is_told() -> None:
    """A rail of nothing; alone it would claim nothing."""
    rails = [
        {"name": name, "scope": "rail", "total": False, "rate_seen": seen} for name, seen in (("A", True), ("B", False))
    ]
    record = readings("x", 0.05, A=noisy, B=lambda seconds: 0 * seconds)
    assert power([source("x", *rails)], record).of(WINDOWS).mj == pytest.approx(60, rel=0.03)
    assert power([source("x", rails[1], rate_seen=False)], record).of(WINDOWS).status == "refused"


def test_rails_of_which_nothing_tells_what_feeds_what_are_refused_by_name() -> None:
    rails = [{"name": name, "scope": "rail", "total": False, "nameless": True} for name in ("A", "B")]
    record = readings("hwmon ina226", 0.05, A=noisy, B=noisy)
    found = power([source("hwmon ina226", *rails)], record).of(WINDOWS)
    assert (found.status, found.mj) == ("refused", None)
    assert found.reason == "nothing tells which of A and B feeds which: A has no label in the device tree"
    assert power([source("hwmon ina226", rails[0])], record).of(WINDOWS).status == "measured"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"resolution": 0.0}, 0.025),
        ({"resolution": 2.0, "resolution_seen": True}, 0.025),
        ({"resolution": 0.01, "resolution_seen": True}, 0.01),
        ({"resolution": 0.5, "resolution_seen": False}, 0.5),
        ({"resolution": 0.5}, 0.5),
        ({"resolution": 0.0, "counts": "energy"}, 0.0),
    ],
)
def test_the_runs_own_values_tell_a_step_that_nobody_declares(told: dict[str, Any], expected: float) -> None:
    record = readings("hwmon ina226", 0.05, A=lambda seconds: np.round(seconds) * 0.025)
    (sensor,) = power([source("hwmon ina226", {"name": "A", **told})], record).sensors
    assert sensor.resolution == pytest.approx(expected)


def test_a_meter_that_does_not_start_is_a_warning_where_another_sensor_stands_in(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path), powered=True)
    assert not any("meter" in text for text in summarise(record).warnings)
    found = next(each for each in record.records() if each["type"] == "sensors_found")
    record.append([{**found, "seq": record.last_seq + 1, "reason": "the meter's command does not start: no such file"}])
    assert any("the meter's command does not start" in text for text in summarise(record).warnings)


def test_a_battery_on_its_charger_leaves_the_word_to_the_processor() -> None:
    battery = source("battery", {"name": "BAT0"})
    package = {"name": "package-0", "scope": "soc", "counts": "energy", "wraps_at": 30.0}
    rapl = source("rapl", package, {"name": "core", "scope": "rail", "counts": "energy", "total": False})

    def count(seconds: Floats) -> Floats:
        fine = np.arange(-1, 37, 0.001)
        return np.asarray(np.interp(seconds, fine, np.cumsum(watts_at(fine)) * 0.001) % 30.0)

    charging = readings("battery", 0.1, BAT0="the battery is not what feeds the board: Charging")
    counted = readings("rapl", 0.05, **{"package-0": count, "core": "only root may read it"})
    found = power([battery, rapl], charging, counted).of(WINDOWS)
    assert (found.source, found.channels, found.scope) == ("rapl", ["package-0"], "soc")
    assert found.mj == pytest.approx(60, rel=0.03)
    refused = readings("rapl", 0.05, **{"package-0": "only root may read it", "core": "only root may read it"})
    found = power([battery, rapl], charging, refused).of(WINDOWS)
    assert (found.status, found.reason) == ("refused", "BAT0: the battery is not what feeds the board: Charging")
    found = power([rapl], refused).of(WINDOWS)
    assert (found.status, found.reason) == ("refused", "package-0: only root may read it"), "a part never stands in"


def test_a_counter_that_stands_still_leaves_the_word_to_another() -> None:
    psys = {"name": "psys", "counts": "energy"}
    package = {"name": "package-0", "scope": "soc", "counts": "energy"}
    record = readings(
        "rapl", 0.05, psys=lambda seconds: 0 * seconds, **{"package-0": lambda seconds: np.cumsum(watts_at(seconds))}
    )
    assert power([source("rapl", psys, package)], record).of(WINDOWS).channels == ["package-0"]


def test_readings_that_fail_cost_the_launches_around_them() -> None:
    def broken(seconds: Floats) -> Floats:
        return np.where((seconds > 8.5) & (seconds < 9.5), np.nan, noisy(seconds))

    rails = [{"name": name, "scope": "rail", "total": False} for name in ("A", "B")]
    found = power([source("ina3221", *rails)], readings("ina3221", 0.05, A=noisy, B=broken)).of(WINDOWS)
    assert (found.status, found.left_out, len(found.launches_mj)) == ("measured", 1, 7)
    assert found.channels == ["A", "B"] and found.mj == pytest.approx(120, rel=0.03)


@pytest.mark.parametrize("known", [[IDLE[0]], [IDLE[0], idle("after", (40, 44))]])
def test_without_idle_power_from_both_ends_nothing_is_claimed(known: list[dict[str, Any]]) -> None:
    """A run that was cancelled, and one whose sensor went silent at the end."""
    found = power([source("ina3221", {"name": "VDD_IN"})], readings("ina3221", 0.05, VDD_IN=noisy), *known).of(WINDOWS)
    assert (found.status, found.mj) == ("refused", None)
    assert "idle" in found.reason


def test_every_reading_is_kept_with_what_it_is() -> None:
    run = power([source("ina3221", {"name": "VDD_IN"})], readings("ina3221", 0.05, VDD_IN=noisy))
    (sensor,) = run.sensors
    assert (sensor.source, sensor.channel, sensor.scope, sensor.unit) == ("ina3221", "VDD_IN", "board-input", "W")
    assert len(sensor.t_ns) == len(sensor.values) == 740
    assert sensor.update_hz == pytest.approx(20) and sensor.read_hz == pytest.approx(20)
    assert run.watts(window(5.5, 6.5)) == pytest.approx(BUSY_W, rel=0.01)
    assert run.watts(window(50, 51)) is None


def test_a_governor_that_could_not_be_put_back_is_a_warning(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path))
    untuned = {"seq": record.last_seq + 1, "t_ns": 1, "type": "untuned", "reason": "cpu0 is not schedutil again"}
    assert not any("governor that --tune" in text for text in summarise(record).warnings)
    record.append([untuned])
    assert any("could not be put back: cpu0 is not schedutil again;" in text for text in summarise(record).warnings)
