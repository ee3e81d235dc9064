"""Power read beside the workers, from a board that has a sensor and one that has none; the sensor here is made up, and
says so. And variants held against themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgesparse import bench
from edgesparse.agent.sensors.simulated import VARIABLE
from edgesparse.boards.inventory import Board, resolve
from edgesparse.convert import Bundle
from edgesparse.errors import MeasurementError
from edgesparse.report import export
from edgesparse.store import Run, find_noise_floor
from tests.e2e.conftest import bundle

__all__ = ["bundle"]

IDLE_W, BUSY_W = 2.0, 5.0


@pytest.fixture
def board() -> Iterator[Board]:
    """This machine, with an agent of this test alone."""
    yield resolve("local")
    subprocess.run(
        [sys.executable, "-m", "edgesparse.cli", "agent", "stop", "--force"], capture_output=True, check=False
    )


def measure(bundle: Bundle, board: Board, **options: Any) -> Run:
    return bench(bundle, board, backends=["builtin"], variants=["dense"], rounds=(6, 6), samples=30, **options)


def test_energy_of_a_board_with_a_sensor(bundle: Bundle, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{IDLE_W},{BUSY_W},100")
    comparison = measure(bundle, board).comparison()
    found = comparison.variants[0].backends[0].energy
    assert (found.status, found.scope, found.simulated) == ("measured", "board-input", True), found
    assert found.update_hz == pytest.approx(100, rel=0.8), "as often as a busy machine lets it be seen"
    assert found.update_hz is not None and found.readings_hz is not None
    assert 0 < found.readings_hz <= found.update_hz * 1.01
    assert found.idle_w == pytest.approx(IDLE_W, rel=0.1)
    assert found.power_w == pytest.approx(BUSY_W, rel=0.1)
    assert found.mj is not None and found.gross_mj is not None and found.interval_mj is not None
    assert found.mj / found.gross_mj == pytest.approx((BUSY_W - IDLE_W) / BUSY_W, rel=0.2)
    assert found.interval_mj[0] < found.mj < found.interval_mj[1]
    document = export.to_json(comparison)
    (sensor,) = document["sensors"]
    assert (sensor["source"], sensor["scope"], sensor["unit"]) == ("simulated", "board-input", "W")
    assert len(sensor["t_ns"]) == len(sensor["values"]) > 100 and sensor["t_ns"] == sorted(sensor["t_ns"])
    assert "simulated" in export.to_markdown(comparison) and "SIMULATED" in export.to_markdown(comparison)
    assert len(document["conditions_during"]) >= 3


def test_a_sensor_too_slow_for_a_launch_is_refused_by_name(
    bundle: Bundle, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "2,5,100")
    monkeypatch.setattr("edgesparse.energy.FEWEST_READINGS", 10**9)
    found = measure(bundle, board).comparison().variants[0].backends[0].energy
    assert (found.status, found.mj) == ("refused", None)
    assert "too short for simulated" in found.reason


def test_a_board_without_a_sensor_says_so(bundle: Bundle, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgesparse.agent.sensors import find_sources

    monkeypatch.delenv(VARIABLE, raising=False)
    if find_sources(Path("/")):
        pytest.skip("this machine has power sensors")
    comparison = measure(bundle, board).comparison()
    row = comparison.variants[0].backends[0]
    assert (row.energy.status, row.energy.mj, export.energy(row)) == ("no sensor", None, "no sensor")
    assert comparison.sensors == []
    assert measure(bundle, board, energy=False).comparison().variants[0].backends[0].energy.status == "off"


def test_an_external_meter(bundle: Bundle, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    monkeypatch.delenv(VARIABLE, raising=False)
    script = tmp_path / "meter.py"
    script.write_text("import time\nwhile True:\n    print(f'{time.time()},7.5', flush=True)\n    time.sleep(0.02)\n")
    metered = dataclasses.replace(board, meter=f"{shutil.which('python3')} {script}")
    comparison = measure(bundle, metered).comparison()
    found = comparison.variants[0].backends[0].energy
    assert (found.status, found.source, found.scope) == ("measured", "meter", "wall"), found
    assert found.power_w == pytest.approx(7.5) and found.mj == pytest.approx(0, abs=1e-6)
    missing = dataclasses.replace(board, meter="/no/such/meter")
    refused = measure(bundle, missing).comparison().variants[0].backends[0].energy
    assert refused.status == "no sensor" and "/no/such/meter" in refused.reason


def test_variants_held_against_themselves(bundle: Bundle, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for _ in range(2):  # by chance alone, up to one run in twenty finds a difference
        run = bench(bundle, board, backends=["builtin"], rounds=(6, 6), samples=20, aa=True)
        comparison = run.comparison()
        if export.aa_verdict(comparison).startswith("A/A: no difference"):
            break
    assert export.aa_verdict(comparison).startswith("A/A: no difference"), export.aa_verdict(comparison)
    assert [variant.name for variant in comparison.variants] == ["dense", *(f"dense-again-{n}" for n in (2, 3, 4))]
    ratios = [variant.backends[0].ratio_to_dense for variant in comparison.variants]
    assert ratios[0] is None and all(ratio and ratio.launches == 6 for ratio in ratios[1:])
    assert comparison.noise_floor is not None and comparison.noise_floor.run == run.id
    assert max(abs(1 - (ratio.value or 0)) for ratio in ratios[1:] if ratio) <= comparison.noise_floor.share + 1e-9
    assert find_noise_floor(run.record.board) == comparison.noise_floor
    later = measure(bundle, board).comparison()
    assert later.noise_floor == comparison.noise_floor
    assert any(run.id in line for line in export.footnotes(later))


def test_a_sustained_launch(bundle: Bundle, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{IDLE_W},{BUSY_W},100")
    run = bench(bundle, board, backends=["builtin"], variants=["block-4x1"], sustained_s=10)
    comparison = run.comparison()
    assert comparison.stopped is not None and comparison.stopped["reason"] == "sustained"
    assert [each["type"] for each in run.record.records()].count("cooled_down") == 1, "before the second cell"
    for variant in comparison.variants:
        found = variant.backends[0].sustained
        assert found is not None and found.seconds == pytest.approx(10, abs=2.5)
        assert len(found.moments) >= 7 and found.moments[0].t_s == 0
        assert found.first_w == pytest.approx(BUSY_W, rel=0.1)
        assert all(each.power_w is not None for each in found.moments[1:-1])
        assert variant.backends[0].count == len(variant.backends[0].samples_ms) > 100
    assert "first 10 s" in export.to_markdown(comparison)


def test_cores_and_governors_that_there_are_not(bundle: Bundle, board: Board) -> None:
    with pytest.raises(MeasurementError, match=r"expected cores out of .*, found 4000"):
        measure(bundle, board, cpus="4000")
    run = measure(bundle, board, cpus="0")
    launches = [each for each in run.record.records() if each["type"] == "launch"]
    assert {str(each["cpus"]) for each in launches} == {"[0]"}
