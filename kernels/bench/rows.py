"""One row of a comparison: one model, its cells held against a reference, then timed together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from edgesparse.errors import MeasurementError
from kernels.bench.cells import Array, Cell, Recipe, TfliteCell, summary
from kernels.bench.interleave import Timing, interleave, speedup

BASELINE = "xnnpack"
REFERENCE = "builtin"

# Two correct float32 implementations of these networks lie 1e-7 to 5e-6 apart, relative to the largest output.
TOLERANCE = 1e-5
PARITY_SAMPLES = 2

Row = dict[str, Any]
MakeCell = Callable[[], Cell]


@dataclass(frozen=True)
class Job:
    """What to compare.

    Attributes:
        model: network and zeros, as a heading.
        reference: what every output is held against.
        cells: by name, how to make each; the ratio is to `baseline`.
        keep_samples: put every round's milliseconds into the row.
    """

    model: str
    reference: Recipe
    cells: Mapping[str, MakeCell]
    timing: Timing = field(default_factory=Timing)
    baseline: str = BASELINE
    tolerance: float = TOLERANCE
    seed: int = 1
    keep_samples: bool = False


def measure(job: Job) -> Row:
    """Make every cell, hold its outputs against the reference's, time those that pass, in turns.

    Returns:
        `{model, baseline, cells}`: for each cell `status` ("ok", "refused" by the runtime, "parity" failed), what it
        costs to load, how far its outputs are off, and where it was timed its median and its ratio to the baseline.
    """
    samples, expected = _reference(job)
    found: dict[str, Row] = {}
    cells: dict[str, Cell] = {}
    for name, make in job.cells.items():
        try:
            cell = make()
        except MeasurementError as error:
            found[name] = {"status": "refused", "reason": str(error)}
            continue
        found[name] = _check(cell, samples, expected, job.tolerance)
        if found[name]["status"] == "ok":
            cells[name] = cell
    taken = interleave({name: cell.invoke for name, cell in cells.items()}, job.timing) if cells else {}
    for name, taken_ms in taken.items():
        found[name].update(_statistics(taken_ms, taken.get(job.baseline), job.keep_samples))
    for row in found.values():
        _add_measured_saving(row, found.get(job.baseline, {}))
    return {"model": job.model, "baseline": job.baseline, "cells": found}


def passed(row: Row) -> bool:
    """Whether every cell was accepted by its runtime and gave the reference's outputs."""
    return all(cell["status"] == "ok" for cell in row["cells"].values())


def relative_error(output: Array, expected: Array) -> float:
    """The largest difference, as a share of the largest expected value; infinite for another shape or a NaN."""
    if output.shape != expected.shape or not np.isfinite(output).all():
        return float("inf")
    size = np.abs(expected.astype(np.float64)).max() or 1.0
    return float(np.abs(output.astype(np.float64) - expected).max() / size)


def _reference(job: Job) -> tuple[list[Array], list[Array]]:
    """Random inputs, and what the reference makes of them."""
    cell = TfliteCell(job.reference)
    samples = cell.samples(PARITY_SAMPLES, job.seed)
    return samples, [cell.run(sample) for sample in samples]


def _check(cell: Cell, samples: list[Array], expected: list[Array], tolerance: float) -> Row:
    error = max(relative_error(cell.run(sample), output) for sample, output in zip(samples, expected, strict=True))
    row: Row = {
        "status": "ok" if error <= tolerance else "parity",
        "max_relative_error": error,
        "load_ms": cell.load_ms,
    }
    if row["status"] != "ok":
        row["reason"] = f"outputs are {error:.1e} of the largest one off, {tolerance:.0e} is allowed; not timed"
    report = getattr(cell, "report", None)
    return {**row, "delegate": summary(report)} if report else row


def _statistics(taken_ms: list[float], baseline_ms: list[float] | None, keep_samples: bool) -> Row:
    row: Row = {"rounds": len(taken_ms), "median_ms": median(taken_ms), "fastest_ms": min(taken_ms)}
    if baseline_ms is not None:
        ratio = speedup(baseline_ms, taken_ms)
        row["speedup"], row["speedup_interval"] = ratio.value, ratio.interval
        # What the disturbed rounds of a busy machine leave alone; no statistic to report, but one to tune by.
        row["fastest_speedup"] = min(baseline_ms) / min(taken_ms)
    return {**row, "samples_ms": taken_ms} if keep_samples else row


def _add_measured_saving(row: Row, baseline: Row) -> None:
    """Beside what the delegate's cost model expected of the operators that it claimed."""
    if "delegate" in row and "median_ms" in row and "median_ms" in baseline:
        row["delegate"]["measured_saving_ms"] = baseline["median_ms"] - row["median_ms"]
