"""The table of `make bench-arm`, from rows as a run gives them; no emulator is started here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernels.bench import arm
from kernels.bench.arm_bundle import INPUTS, make_bundle
from kernels.bench.files import run_program


def cell(instructions: float | None, share: float | None, status: str = "ok") -> dict[str, Any]:
    return {"status": status, "reason": "crash, signal 11", "instructions": instructions, "of_xnnpack_dense": share}


def row(model: str, variant: str, xnnpack: float | None, csr: float | None) -> dict[str, Any]:
    cells = {name: cell(value, value / 120.6e6 if value else None, "ok" if value else "failed")
             for name, value in (("xnnpack", xnnpack), ("csr", csr))}  # fmt: skip
    target = arm.TARGETS.get((model, variant))
    return {"model": model, "variant": variant, "xnnpack_dense_instructions": 120.6e6, "cells": cells, "target": target}


@pytest.mark.parametrize(
    ("model", "variant", "xnnpack", "csr", "verdict"),
    [
        ("mobilenetv2-224", "block-16x1-80", 120.6e6, 50e6, "at most 0.45: yes"),
        ("mobilenetv2-224", "block-16x1-80", 120.6e6, 60e6, "at most 0.45: NO"),
        ("mobilenetv2-224", "unstructured-80", 120.6e6, 70e6, "at most 0.65: yes"),
        ("mobilenetv2-224", "dense", 120.6e6, 125e6, "within 1 % of XNNPACK: NO"),
        ("mobilenetv2-224-conforming", "unstructured-80", 67.7e6, 67.8e6, "no more than XNNPACK sparse: yes"),
        ("mobilenetv2-224-conforming", "unstructured-80", 67.7e6, 90e6, "no more than XNNPACK sparse: NO"),
        ("mobilenetv1-224", "2-of-4", 202.5e6, 150e6, ""),
    ],
)
def test_targets_are_held_against_what_was_counted(
    model: str, variant: str, xnnpack: float, csr: float, verdict: str
) -> None:
    line = arm.table([row(model, variant, xnnpack, csr)])[-1]
    assert line.endswith(verdict or f"{csr / 120.6e6:.3f}")
    assert "120.6" in line and f"{csr / 120.6e6:.3f}" in line


def test_a_failed_cell_says_why_and_reaches_no_target() -> None:
    line = arm.table([row("mobilenetv2-224", "block-16x1-80", 120.6e6, None)])[-1]
    assert "failed" in line and "signal 11" in line and "yes" not in line


def test_the_heading_says_that_it_is_no_latency() -> None:
    text = "\n".join(arm.table([]))
    assert "instructions" in text and "not latency" in text and " ms" not in text


def test_a_network_becomes_a_bundle_like_any_other(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "mlp-32", ["unstructured-80", "2-of-4"])
    assert [variant.name for variant in bundle.manifest.variants] == ["dense", "unstructured-80", "2-of-4"]
    dense, sparse, _ = bundle.manifest.variants
    assert dense.twin is None and sparse.twin is not None
    assert dense.density == 1 and sparse.density == pytest.approx(0.2, abs=0.03)
    import numpy as np

    with np.load(bundle.file(bundle.manifest.inputs)) as inputs:
        assert len(inputs["0"]) == INPUTS


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_program(interrupted) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
