"""An emulated board's clock is never shown as latency: not on the terminal, not in JSON, CSV or Markdown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgesparse import console as talking
from edgesparse.live import RunView
from edgesparse.quantity import NO_LATENCY, millions, quantity_of
from edgesparse.report.export import to_csv, to_json, to_markdown
from edgesparse.report.summary import Comparison, summarise
from edgesparse.report.terminal import render
from edgesparse.store import RunRecord
from tests.report.runs import fill, make_run


def run_of(directory: Path, *, emulated: bool = True, counting: bool = False) -> RunRecord:
    """A run whose board is emulated, with samples as every board's agent sends them."""
    record = fill(make_run(directory, emulated=emulated), rounds=3)
    about = json.loads((record.path / "run.json").read_text())
    about["board"]["counts_instructions"] = counting
    (record.path / "run.json").write_text(json.dumps(about))
    return RunRecord(record.path)


def everything_shown(comparison: Comparison) -> str:
    console = Console(width=160, file=io.StringIO(), highlight=False)
    console.print(render(comparison))
    narrow = Console(width=80, file=console.file, highlight=False)
    narrow.print(render(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + to_markdown(comparison) + to_csv(comparison) + json.dumps(to_json(comparison))


def raw_ms(record: RunRecord) -> list[float]:
    """What the board's clock showed, were it believed."""
    return [ns / 1e6 for each in record.records() if each["type"] == "samples" for ns in each["latency_ns"]]


@pytest.mark.parametrize("counting", [False, True])
def test_no_number_is_a_latency(tmp_path: Path, counting: bool) -> None:
    document = to_json(summarise(run_of(tmp_path, counting=counting)))
    for variant in document["variants"]:
        for row in variant["backends"]:
            assert row["status"] == "ok" and row["launches"] == 3 and row["count"] == 210
            times = {key: value for key, value in row.items() if key.endswith("_ms")}
            assert len(times) == 9 and all(value in (None, []) for value in times.values()), times
            assert row["ratio_to_dense"] is None


def test_without_counting_nothing_that_was_measured_is_shown(tmp_path: Path) -> None:
    record = run_of(tmp_path)
    comparison = summarise(record)
    text = everything_shown(comparison)
    assert comparison.measured == "nothing"
    assert text.count(NO_LATENCY) == 3 * 8, "wide, narrow, Markdown"
    for value in raw_ms(record):
        assert str(value) not in text
        assert value < 3 or f"{value:.3f}" not in text  # smaller ones may look like an accuracy
    assert "sparse" in text and "ok" in text, "paths and parity are shown all the same"
    assert any("no latency" in warning for warning in comparison.warnings)


def test_in_counting_mode_instructions_are_shown_under_that_name(tmp_path: Path) -> None:
    record = run_of(tmp_path, counting=True)
    comparison = summarise(record)
    assert comparison.measured == "instructions"
    dense, sparse = (comparison.variants[number].backends[1] for number in (0, 2))
    assert dense.instructions is not None and sparse.instructions is not None
    launches = [min(each["latency_ns"]) for each in record.records()
                if each["type"] == "samples" and each["cell"] == "block-4x1-80/xnnpack/1"]  # fmt: skip
    assert sparse.instructions.launches == launches
    assert sparse.instructions.per_inference == sorted(launches)[1]
    assert (sparse.instructions.lowest, sparse.instructions.highest) == (min(launches), max(launches))
    assert dense.instructions.of_dense is None and dense.instructions.per_inference is not None
    assert sparse.instructions.per_inference is not None
    expected = sparse.instructions.per_inference / dense.instructions.per_inference
    assert sparse.instructions.of_dense == pytest.approx(expected)
    text = everything_shown(comparison)
    assert "instructions (M)" in text and "instructions (millions)" in text and f"{expected:.3f}" in text
    assert "median ms" not in text and "x dense" not in text and NO_LATENCY not in text


def test_csv_names_what_was_measured(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(summarise(run_of(tmp_path, counting=True))))))
    assert {row["measured"] for row in rows} == {"instructions"}
    assert {row["emulated"] for row in rows} == {"True"}
    assert all(row["median_ms"] == row["init_ms"] == "" and float(row["instructions"]) > 0 for row in rows)


def test_a_failed_cell_claims_no_instructions(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path, emulated=True), rounds=3, crashes=("block-4x1-80/xnnpack/1", 2))
    about = json.loads((record.path / "run.json").read_text())
    about["board"]["counts_instructions"] = True
    (record.path / "run.json").write_text(json.dumps(about))
    row = summarise(RunRecord(record.path)).variants[2].backends[1]
    assert row.kind == "crash" and row.instructions is not None
    assert row.instructions.per_inference is None and row.instructions.of_dense is None
    assert len(row.instructions.launches) == 2, "what was counted before is kept"


def test_packing_is_not_timed_either(tmp_path: Path) -> None:
    record = run_of(tmp_path)
    lines = (record.path / "journal.jsonl").read_text().splitlines()
    for number, line in enumerate(lines):
        each = json.loads(line)
        if each["type"] == "check":
            lines[number] = json.dumps({**each, "delegate": {"packing_ms": 12.5, "nodes": []}})
    (record.path / "journal.jsonl").write_text("\n".join([*lines, ""]))
    assert "12.5" not in json.dumps(to_json(summarise(RunRecord(record.path))))


def test_a_board_that_is_not_emulated_has_a_latency(tmp_path: Path) -> None:
    comparison = summarise(run_of(tmp_path, emulated=False))
    row = comparison.variants[0].backends[0]
    assert comparison.measured == "latency" and row.median_ms is not None and row.instructions is None


@pytest.mark.parametrize(
    ("board", "measured"),
    [
        ({}, "latency"),
        ({"emulated": False, "counts_instructions": True}, "latency"),
        ({"emulated": True}, "nothing"),
        ({"emulated": True, "counts_instructions": True}, "instructions"),
    ],
)
def test_what_a_board_measures(board: dict[str, Any], measured: str) -> None:
    assert quantity_of(board) == measured


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (120_612_345, "120.6"), (67_723_000, "67.72"), (2_888_000, "2.888"), (950, "0.00095")],
)
def test_millions(count: float | None, text: str) -> None:
    assert millions(count) == text


@pytest.mark.parametrize(
    ("quantity", "shown", "hidden"),
    [
        ("latency", "ms: a 3.500", "inst"),
        ("instructions", "million instructions: a 3", "ms"),
        ("nothing", ": a", "3.5"),
    ],
)
def test_progress_shows_no_latency_either(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, quantity: Any, shown: str, hidden: str
) -> None:
    monkeypatch.setattr(talking, "talk", Console(stderr=True, highlight=False))
    view = RunView("x")
    view.quantity = quantity
    for record in (
        {"type": "samples", "cell": "a", "round": 0, "latency_ns": [3_000_000, 3_500_000, 4_000_000]},
        {"type": "stopped", "reason": "rounds", "detail": ""},
    ):
        view({"type": "record", "record": record})
    said = capsys.readouterr().err
    assert shown in said and hidden not in said
