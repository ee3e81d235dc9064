"""Lines and tables for people."""

from __future__ import annotations

from typing import Any

from kernels.bench import table


def cell(speedup: float, **more: Any) -> dict[str, Any]:
    return {"status": "ok", "median_ms": 10 / speedup, "fastest_ms": 9 / speedup, "speedup": speedup,
            "fastest_speedup": speedup, "speedup_interval": (speedup - 0.1, speedup + 0.1), **more}  # fmt: skip


def row(network: str, variant: str, csr: dict[str, Any]) -> dict[str, Any]:
    return {"model": f"{network}.{variant}", "baseline": "xnnpack", "cells": {"xnnpack": cell(1.0), "csr": csr}}


def test_a_line_says_speedup_interval_and_what_was_claimed() -> None:
    delegate = {
        "claimed": 3,
        "considered": 4,
        "packing_ms": 1.25,
        "predicted_saving_ms": 2.0,
        "measured_saving_ms": 2.5,
    }
    line = table.line(row("mlp-64", "2-of-4", cell(2.5, delegate=delegate)))
    assert "xnnpack 10.000 ms" in line
    assert "csr 2.50x [2.40, 2.60] 4.000 ms" in line
    assert "3/4 ops, saves 2.50, foretold 2.00 ms, packs 1.2 ms" in line


def test_a_line_says_what_is_wrong() -> None:
    assert "csr PARITY 3.0e-03" in table.line(row("m", "v", {"status": "parity", "max_relative_error": 3e-3}))
    assert "csr REFUSED: no such isa" in table.line(row("m", "v", {"status": "refused", "reason": "no such isa"}))


def test_speedups_have_networks_down_and_patterns_across() -> None:
    rows = [
        row("mobilenetv1-224", "unstructured-80", cell(1.8)),
        row("mobilenetv1-224", "block-16x1-80", cell(3.0)),
        row("mlp-4096", "unstructured-80", {"status": "parity", "max_relative_error": 1.0}),
    ]
    header, first, second = table.speedups(rows, "csr")
    assert header.split() == ["csr", "unstructured-80", "block-16x1-80"]
    assert first.split() == ["mobilenetv1-224", "1.80x", "3.00x"]
    assert second.split() == ["mlp-4096", "parity", "-"]


def test_launches_have_a_line_per_cell() -> None:
    found: dict[str, dict[str, Any]] = {
        "xnnpack": {"peak_mb": 90.0, "model_peak_mb": 40.0, "load_ms": 20.0, "first_ms": 9.0, "packing_ms": None},
        "csr": {"reason": "exit code 1: no library"},
    }
    lines = table.launches("mlp-64.dense", found)
    assert lines[1].split() == ["xnnpack", "90.0", "40.0", "20.0", "9.0", "-"]
    assert "no library" in lines[2]
