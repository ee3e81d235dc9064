"""What the gate says of outputs that it can only compare in part, or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgesparse import sparsify
from edgesparse.convert import Bundle
from edgesparse.explain.forewarning import forewarnings
from edgesparse.report.tables import bundle_table
from edgesparse.sparsify import checking, make_recipe
from tests.sparsify import files


def printed(bundle: Bundle) -> str:
    """As the command prints it, on one line for each variant."""
    told = io.StringIO()
    Console(width=400, file=told).print(bundle_table(bundle))
    return told.getvalue()


def pruned(tmp_path: Path, *spoiled: int) -> Bundle:
    """`files.network`, of whose ten outputs some are NaN."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        bias = model.buffers[graph.tensors[graph.operators[-1].inputs[2]].buffer]
        values = np.frombuffer(np.asarray(bias.data, np.uint8).tobytes(), np.float32).copy()
        values[list(spoiled)] = np.nan
        bias.data = values.view(np.uint8)

    (tmp_path / "model.tflite").write_bytes(files.network(change=change))
    return sparsify(tmp_path / "model.tflite", make_recipe("16x1", 0.8), tmp_path / "out")


def test_the_gate_compares_beside_nan_and_says_so(tmp_path: Path) -> None:
    bundle = pruned(tmp_path, 3)
    assert all(row.ok for row in bundle.manifest.variants[1].host_parity)
    (warning,) = forewarnings(bundle)
    assert warning.startswith("block-16x1-80 gives NaN in 10% of its golden outputs")


def test_a_gate_that_could_compare_nothing_says_so(tmp_path: Path) -> None:
    bundle = pruned(tmp_path, *range(10))
    assert not any(row.ok for row in bundle.manifest.variants[1].host_parity)
    (nowhere,) = forewarnings(bundle)
    assert nowhere.startswith("block-16x1-80 gave its golden outputs under no runtime and backend here")
    assert nowhere.endswith("nothing to compare: none of the golden values is finite")
    count = len(bundle.manifest.variants[1].host_parity)
    assert f"0 of {count} runtimes and backends" in printed(bundle)


def test_the_table_counts_what_ran_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "CHECKING_BYTES", 60_000_000)
    bundle = pruned(tmp_path)
    variant = bundle.manifest.variants[1]
    own = sum(row.file == variant.file.path for row in variant.host_parity)
    assert 0 < own < len(variant.host_parity)
    assert f"{own} of {own} runtimes and backends, XNNPACK by its twin" in printed(bundle)
