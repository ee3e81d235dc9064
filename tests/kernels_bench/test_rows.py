"""A row: parity first, then times, with real interpreters on a tiny model."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from kernels.bench.cells import Array, Recipe, TfliteCell, summary
from kernels.bench.files import ModelFiles
from kernels.bench.rows import BASELINE, Job, MakeCell, measure, passed, relative_error
from tests.kernels_bench.conftest import QUICK


class OffByABit(TfliteCell):
    """The same model with outputs a thousandth off."""

    def run(self, sample: Array) -> Array:
        return super().run(sample) * 1.001


def test_a_cell_that_is_off_is_marked_and_not_timed(files: ModelFiles) -> None:
    recipe = Recipe(files.zeros, "xnnpack")
    cells: dict[str, MakeCell] = {BASELINE: partial(TfliteCell, recipe), "off": partial(OffByABit, recipe)}
    row = measure(Job("tiny", Recipe(files.zeros, "builtin"), cells, QUICK))
    assert row["cells"][BASELINE]["status"] == "ok"
    assert row["cells"][BASELINE]["rounds"] == 8
    off = row["cells"]["off"]
    assert off["status"] == "parity"
    assert off["max_relative_error"] == pytest.approx(1e-3, rel=0.05)
    assert "median_ms" not in off
    assert not passed(row)


# The runtime's own destructor trips over what its constructor could not load.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cell_that_a_runtime_refuses_says_why_and_the_others_are_timed(files: ModelFiles) -> None:
    cells = {
        BASELINE: partial(TfliteCell, Recipe(files.zeros, "xnnpack")),
        "csr": partial(TfliteCell, Recipe(files.zeros, "csr", delegate=files.zeros)),
    }
    row = measure(Job("tiny", Recipe(files.zeros, "builtin"), cells, QUICK))
    assert row["cells"]["csr"]["status"] == "refused"
    assert "zeros.tflite does not load under csr" in row["cells"]["csr"]["reason"]
    assert row["cells"][BASELINE]["median_ms"] > 0


def test_samples_are_kept_where_they_are_asked_for(files: ModelFiles) -> None:
    cells = {BASELINE: partial(TfliteCell, Recipe(files.sparse or files.zeros, "xnnpack"))}
    job = Job("tiny", Recipe(files.zeros, "builtin"), cells, QUICK, keep_samples=True)
    cell = measure(job)["cells"][BASELINE]
    assert len(cell["samples_ms"]) == cell["rounds"] == 8
    assert cell["speedup"] == 1.0
    assert cell["fastest_ms"] == min(cell["samples_ms"])


def test_relative_error() -> None:
    expected = np.array([1.0, -4.0], np.float32)
    assert relative_error(np.array([1.0, -4.0], np.float32), expected) == 0
    assert relative_error(np.array([1.4, -4.0], np.float32), expected) == pytest.approx(0.1)
    assert relative_error(np.array([np.nan, -4.0], np.float32), expected) == float("inf")
    assert relative_error(np.array([1.0], np.float32), expected) == float("inf")


def test_summary_of_a_report() -> None:
    nodes: list[dict[str, Any]] = [
        {"claimed": True, "neighbour": False, "kernel": "k1", "dense_us": 3000.0, "sparse_us": 1000.0},
        {"claimed": True, "neighbour": False, "kernel": "k1", "dense_us": 500.0, "sparse_us": 700.0},
        {"claimed": True, "neighbour": True, "kernel": "depthwise", "dense_us": None, "sparse_us": None},
        {"claimed": False, "neighbour": False, "kernel": None, "dense_us": 9.0, "sparse_us": 90.0},
    ]
    found = summary({"isa": "avx2", "packing_ms": 1.5, "packed_bytes": 10, "nodes": nodes})
    assert (found["claimed"], found["considered"], found["neighbours"], found["kernels"]) == (2, 3, 1, {"k1": 2})
    assert found["predicted_saving_ms"] == pytest.approx(1.8)
    nodes[0]["dense_us"] = None
    assert summary({"nodes": nodes})["predicted_saving_ms"] is None
