"""The figures of a run, for notebooks and for pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgesparse.errors import UsageError
from edgesparse.report.charts import FIGURES, Source, figure, panel
from edgesparse.report.charts.style import PAGE
from edgesparse.report.charts.tables import MOST_POINTS, TABLES, readings, samples
from edgesparse.report.html.packing import pack, unpack
from edgesparse.report.summary import Comparison, summarise
from tests.report.runs import fill, make_run

BACKENDS = ("builtin", "xnnpack", "csr")


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return summarise(fill(make_run(tmp_path, backends=BACKENDS), powered=True))


@pytest.fixture
def sustained(tmp_path: Path) -> Comparison:
    run = make_run(tmp_path, backends=("csr",), sustained_s=20)
    return summarise(fill(run, powered=True, sustained_slices=20))


@pytest.fixture
def emulated(tmp_path: Path) -> Comparison:
    return summarise(fill(make_run(tmp_path, emulated=True, counts_instructions=True)))


def test_every_figure_is_drawn_of_a_run_that_has_it(
    comparison: Comparison, sustained: Comparison, emulated: Comparison
) -> None:
    for name in FIGURES:
        of = {"sustained": sustained, "instructions": emulated}.get(name, comparison)
        found = figure([of], name).to_dict()
        assert "vega-lite" in found["$schema"] and FIGURES[name] in json.dumps(found["title"]), name


def test_an_emulated_board_has_no_figure_of_latency(emulated: Comparison) -> None:
    for name in ("speedup", "distributions", "rounds", "accuracy", "energy"):
        with pytest.raises(UsageError, match=f"nothing for the figure {name}") as found:
            figure([emulated], name)
        assert "instructions" in (found.value.hint or "")


def test_an_unknown_figure_is_refused_with_those_that_there_are(comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="no figure 'speed'") as found:
        figure([comparison], "speed")
    assert "speedup, instructions, distributions" in (found.value.hint or "")


def test_several_runs_are_one_under_the_other_each_on_axes_of_its_own(
    comparison: Comparison, emulated: Comparison
) -> None:
    found = figure([comparison, emulated, comparison], "speedup").to_dict()
    assert len(found["vconcat"]) == 2, "the emulated one has no speed-up"
    names = [each["name"] for each in found["params"]]
    assert len(names) == len(set(names)) == 2, "a legend singles out in its own chart"


def test_a_figure_can_be_saved(comparison: Comparison, tmp_path: Path) -> None:
    figure([comparison], "speedup").save(str(tmp_path / "speedup.svg"))
    drawn = (tmp_path / "speedup.svg").read_text()
    assert "block-4x1-80" in drawn and "1.5x" in drawn


def test_a_page_s_charts_name_their_tables_and_hold_no_rows(comparison: Comparison) -> None:
    for name in FIGURES:
        chart = panel(Source(comparison, PAGE, inline=False), name)
        if chart is not None:
            found = chart.to_dict()
            assert found["data"]["name"] in TABLES and "datasets" not in found
            assert len(json.dumps(found)) < 15_000, "the rows are in the page once"


def test_all_samples_are_there_and_packed_without_a_loss_that_shows(comparison: Comparison) -> None:
    rows = samples(comparison)
    assert len(rows) == 4 * 3 * 6 * 70
    packed = pack(comparison)
    assert len(packed["bytes"]) < 2 * len(rows)
    for cell, found in zip(packed["cells"], unpack(packed), strict=True):
        expected = [row["latency_ms"] for row in rows if [row["variant"], row["series"]] == cell[:2]]
        np.testing.assert_allclose(found, np.sort(expected), rtol=3e-5)


def test_equal_latencies_can_be_packed() -> None:
    from edgesparse.report.html.packing import encode

    low, high, differences = encode([2.5] * 9)
    assert [low, high] == pytest.approx([2.5, 2.5]) and differences.sum() == 0


def test_a_clock_that_did_not_move_can_be_packed() -> None:
    from edgesparse.report.html.packing import encode

    low, high, differences = encode([0.0, 1.0])
    assert [low, high] == pytest.approx([1e-6, 1.0]) and differences.sum() == 65535


def test_power_over_time_keeps_extremes_and_means(comparison: Comparison) -> None:
    rows = readings(comparison)
    assert 100 < len(rows) <= MOST_POINTS
    raw = [value for value in comparison.sensors[0].values if value is not None]
    assert max(row["high"] for row in rows) == max(raw) and min(row["low"] for row in rows) == min(raw)
    assert sum(row["readings"] for row in rows) == len(raw)
    mean = sum(row["power_w"] * row["readings"] for row in rows) / len(raw)
    assert mean == pytest.approx(np.mean(raw), rel=1e-4)
