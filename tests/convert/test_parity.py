"""The host's parity gate: what passes, what is refused, and a file that takes a runtime down with it."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.convert import golden, parity
from edgesparse.convert.flatbuffer import FILE_IDENTIFIER, read_model, schema
from edgesparse.convert.parity import Check, Lean, check_all, checked_backends, installed_runtimes, refuse_failed
from edgesparse.convert.room import Needs, Room
from edgesparse.convert.workers import Workers
from edgesparse.errors import ParityError
from tests.convert.models import Export, build, random_mask

CHECKS = [Check("u", "sparse.tflite", "golden.npz"), Check("u", "dense.tflite", "golden.npz")]


def npz(*arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{str(number): array for number, array in enumerate(arrays)})
    return buffer.getvalue()


@pytest.fixture
def directory(unstructured: Export, tmp_path: Path) -> Path:
    (tmp_path / "dense.tflite").write_bytes(unstructured.dense)
    (tmp_path / "sparse.tflite").write_bytes(unstructured.sparse)
    samples = golden.sample_inputs(read_model(tmp_path / "dense.tflite"), None)
    (tmp_path / "inputs.npz").write_bytes(npz(*samples))
    (tmp_path / "golden.npz").write_bytes(npz(*golden.golden_outputs(tmp_path / "dense.tflite", samples)))
    return tmp_path


def test_every_file_runs_under_every_runtime_and_backend(directory: Path) -> None:
    said: list[str] = []
    rows = check_all(directory, "inputs.npz", CHECKS, said.append)
    assert {(row.file, row.runtime, row.backend) for row in rows} == {
        (check.file, runtime, backend)
        for check in CHECKS
        for runtime in installed_runtimes()
        for backend in checked_backends()
    }
    assert checked_backends() == ["builtin", "xnnpack", "csr"]
    assert len(rows) == len({(row.file, row.runtime, row.backend) for row in rows})
    assert [row.reason for row in rows if not row.ok] == []
    assert all(row.version not in ("", "unknown") for row in rows)
    assert said
    refuse_failed(rows, CHECKS)


def test_the_runtimes_of_this_environment_are_found() -> None:
    assert {"ai-edge-litert", "tensorflow"} <= set(installed_runtimes())


def test_a_corrupted_golden_output_is_refused(directory: Path) -> None:
    with np.load(directory / "golden.npz") as archive:
        outputs = archive["0"].copy()
    outputs[3, 0, 5] += 0.01 * np.abs(outputs).max()
    (directory / "golden.npz").write_bytes(npz(outputs))
    rows = check_all(directory, "inputs.npz", CHECKS)
    assert not any(row.ok for row in rows)
    says = r"Variant u: sparse\.tflite .* backend builtin: output 0 is off by"
    with pytest.raises(ParityError, match=says) as caught:
        refuse_failed(rows, CHECKS)
    assert f"{len(rows) - 1} more of {len(rows)}" in caught.value.message
    assert caught.value.exit_code == 5


def test_a_wrong_sparse_file_is_refused(directory: Path) -> None:
    from edgesparse.convert.keras import Exporter

    other = Exporter(build(random_mask(0.2), seed=9))
    (directory / "sparse.tflite").write_bytes(other.sparse(other.dense()))
    rows = check_all(directory, "inputs.npz", CHECKS)
    assert {row.file for row in rows if not row.ok} == {"sparse.tflite"}
    assert {row.file for row in rows if row.ok} == {"dense.tflite"}


def test_a_file_that_a_runtime_refuses_is_a_failed_row(directory: Path) -> None:
    (directory / "sparse.tflite").write_bytes(b"\x10\0\0\0TFL3")
    rows = check_all(directory, "inputs.npz", CHECKS)
    failed = [row for row in rows if not row.ok]
    assert {row.file for row in failed} == {"sparse.tflite"}
    assert len(failed) == len(rows) / 2
    assert all(row.reason.startswith("error: ") for row in failed)


def crashing(sparse: bytes) -> bytes:
    """The same file with indices far outside of their tensors: DENSIFY writes where it may not."""
    import flatbuffers

    model = schema().ModelT.InitFromPackedBuf(sparse, 0)
    for tensor in model.subgraphs[0].tensors:
        if tensor.sparsity is not None:
            level = tensor.sparsity.dimMetadata[-1]
            level.arrayIndicesType = schema().SparseIndexVector.Int32Vector
            wide = schema().Int32VectorT()
            wide.values = np.full(len(level.arrayIndices.values), 1 << 29, np.int32)
            level.arrayIndices = wide
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


@pytest.mark.parametrize("lean", [None, "floats", "quantised"])
def test_a_file_that_kills_a_runtime_is_a_failed_row(directory: Path, unstructured: Export, lean: Any) -> None:
    """A lean check is a child's of the worker, which dies of the same."""
    (directory / "sparse.tflite").write_bytes(crashing(unstructured.sparse))
    lean = lean and Lean(lean, Needs(0, 0))
    checks = [replace(check, lean=lean) for check in [CHECKS[1], *CHECKS]]
    with Workers() as workers:
        work = parity._in_worker(workers, "ai-edge-litert", directory, "inputs.npz", checks, str(directory), Room(None))
        rows = workers.submit(work).result()
    dense = [row for row in rows if row.file == "dense.tflite"]
    killed = [row for row in rows if row.file == "sparse.tflite"]
    assert [row.ok for row in dense] == [True] * 2 * len(checked_backends())
    assert [row.backend for row in killed] == checked_backends()
    assert all(row.reason.startswith("crash: the worker was killed by SIG") for row in killed)
    assert all(row.version not in ("", "unknown") for row in killed)


@pytest.mark.parametrize("alone", [False, True])
def test_lean_checks_find_what_others_find(alone: bool, directory: Path) -> None:
    lean = [replace(check, lean=Lean("floats", Needs(0, 0), alone)) for check in CHECKS]
    found, others = (check_all(directory, "inputs.npz", checks) for checks in (lean, CHECKS))
    key = [(row.file, row.runtime, row.backend, row.ok) for row in others]
    assert [(row.file, row.runtime, row.backend, row.ok) for row in found] == key
    (directory / "sparse.tflite").write_bytes(b"\x10\0\0\0TFL3")
    refused = [row for row in check_all(directory, "inputs.npz", lean) if not row.ok]
    assert {row.file for row in refused} == {"sparse.tflite"}
    assert all(row.reason.startswith("error: ") for row in refused)


def test_the_gate_runs_inside_a_running_loop(directory: Path) -> None:
    async def notebook() -> list[Any]:
        return check_all(directory, "inputs.npz", CHECKS[:1])

    assert all(row.ok for row in asyncio.run(notebook()))
