"""What the microbenchmark prints is checked before it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgesparse.errors import MeasurementError, UsageError
from kernels.bench import table
from kernels.bench.micro import PROGRAM, parse, run_micro

ROW = {"kernel": "es_f32_bsr_16x1_ukernel_12__avx512", "shape": [196, 512, 512], "density": 0.2, "real_gflops": 100.0,
       "dense_equivalent_gflops": 500.0, "peak_gflops": 125.0}  # fmt: skip


def script(tmp_path: Path, body: str) -> Path:
    program = tmp_path / "es_bench"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def test_a_list_of_rows_is_taken_as_it_is(tmp_path: Path) -> None:
    program = script(tmp_path, f"test \"$1\" = --json && echo '{json.dumps([ROW])}'")
    assert run_micro(program) == [ROW]


@pytest.mark.parametrize("text", ["", "GFLOP/s", "{}", "[1]", json.dumps([{**ROW, "kernel": "k"} | {"x": 1}])[:-9]])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MeasurementError):
        parse(text)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(MeasurementError, match="lacks peak_gflops"):
        parse(json.dumps([{key: value for key, value in ROW.items() if key != "peak_gflops"}]))


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="exit code 3 and said: no cycle counter"):
        run_micro(script(tmp_path, "echo no cycle counter >&2; exit 3"))
    with pytest.raises(UsageError, match="found nothing"):
        run_micro(tmp_path / "absent")


def test_the_real_program_reaches_no_more_than_the_peak() -> None:
    if not PROGRAM.is_file():
        pytest.skip(f"{PROGRAM.name} is not built: make -C kernels")
    rows = run_micro(arguments=["--rounds", "2", "--shape", "mobilenet_v1 14"])
    assert {row["shape"]["name"] for row in rows} == {"mobilenet_v1 14"}
    assert all(row["real_gflops"] > 0 for row in rows)
    # The peak is a measurement too, and a busy machine disturbs both. That of floats is none of int8.
    floats = [row for row in rows if row["kernel"].startswith("es_f32_")]
    assert 0 < len(floats) < len(rows)
    assert all(row["real_gflops"] <= 1.5 * row["peak_gflops"] for row in floats)
    assert all(row["peak_gflops"] is None for row in rows if row not in floats)


def test_the_table_shows_the_share_of_the_peak() -> None:
    lines = table.kernels([ROW])
    assert "80%" in lines[1]
    assert "196x512x512" in lines[1]
