"""The worker's two steps, in this process: loading with its gate, and timing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgesparse.agent import backends, worker
from tests.convert.conftest import blocks
from tests.convert.models import Export
from tests.tiny import TinyFiles, npz

__all__ = ["blocks"]


def message(directory: Path, **files: bytes) -> dict[str, Any]:
    """A load message for files, written here."""
    paths = {}
    for name, data in files.items():
        paths[name] = str(directory / name)
        (directory / name).write_bytes(data)
    defaults = {"twin": None, "backend": "xnnpack", "threads": 1, "runtime": "ai-edge-litert"}
    return {"type": "load", **defaults, **paths}


@pytest.mark.parametrize("backend", ["builtin", "xnnpack"])
def test_a_block_sparse_dense_layer_is_found_to_run_sparse(blocks: Export, tmp_path: Path, backend: str) -> None:
    """Also where TFLite's sparse kernel gives the very bits of its dense one."""
    inputs = np.random.default_rng(0).random((4, 1, 12, 12, 1), np.float32)
    golden = np.stack([blocks.model(sample).numpy() for sample in inputs])
    load = message(tmp_path, model=blocks.sparse, twin=blocks.dense, inputs=npz(inputs), golden=npz(golden))
    _, _, loaded = worker.load({**load, "backend": backend})
    assert loaded["parity"]["ok"]
    assert loaded["path"]["taken"] == "sparse"
    assert "FULLY_CONNECTED" in loaded["path"]["evidence"]


def test_samples_are_as_many_as_asked_and_never_too_few(tiny_files: TinyFiles, tmp_path: Path) -> None:
    load = message(tmp_path, model=tiny_files["sparse"], inputs=tiny_files["inputs"], golden=tiny_files["golden"])
    model, _, loaded = worker.load(load)
    assert loaded["path"] is None
    assert loaded["init_ms"] > 0
    assert loaded["first_inference_ms"] > 0
    many = worker.measure(model, {"type": "measure", "samples": 33, "launch_s": 60, "warmup_s": 0.0})
    assert (len(many["latency_ns"]), len(many["warmup_ns"])) == (33, worker.MIN_WARMUP)
    few = worker.measure(model, {"type": "measure", "samples": 1000, "launch_s": 0.0, "warmup_s": 0.0})
    assert len(few["latency_ns"]) == worker.MIN_SAMPLES


def test_an_unknown_runtime_or_backend_is_named() -> None:
    with pytest.raises(backends.Unsupported, match="there are ai-edge-litert"):
        backends.load_runtime("onnxruntime")
    with pytest.raises(backends.Unsupported, match="there are builtin, xnnpack"):
        backends.make_interpreter(None, "cuda", "", 1)


def test_a_stray_print_does_not_break_the_stream() -> None:
    code = """
import os, sys
from edgesparse.agent import worker
def noisy(message):
    print("stray")
    os.write(1, b"stray too")
    raise RuntimeError("said so")
worker.load = noisy
sys.exit(worker.main())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], input=b'{"type":"load"}\n', capture_output=True, check=True, env=environment
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"type": "failed", "kind": "error", "reason": "RuntimeError: said so"}
    ]
    assert b"stray" in done.stderr


def test_nan_and_complex_outputs_tell_which_path_was_taken() -> None:
    model: Any = SimpleNamespace(reads_sparse=list)
    outputs = [np.array([np.nan, np.inf, 1], np.float32), np.array([1 + 2j], np.complex64)]
    assert worker._path_taken(model, outputs, [each.copy() for each in outputs])["taken"] == "dense"
    found = worker._path_taken(model, outputs, [outputs[0], np.array([1 + 2.5j], np.complex64)])
    assert (found["taken"], "5.0e-01 apart" in found["evidence"]) == ("sparse", True)
