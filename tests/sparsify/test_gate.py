"""What the gate says of outputs that it can only compare in part, or not at all."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgesparse import sparsify
from edgesparse.agent.worker import load_arrays, load_rounding
from edgesparse.convert import Bundle
from edgesparse.convert.bundle import HostParity
from edgesparse.convert.parity import Check
from edgesparse.convert.workers import Workers
from edgesparse.errors import ParityError
from edgesparse.explain.forewarning import forewarnings
from edgesparse.report.tables import bundle_table
from edgesparse.sparsify import checking, make_recipe
from edgesparse.sparsify.writing import write_original, write_pruned
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


@pytest.mark.parametrize(("times", "passes"), [(2, True), (4, False)])
def test_what_roundings_add_to_an_int8_file_as_it_came_they_may_add_to_fewer_weights(
    times: int, passes: bool, tmp_path: Path
) -> None:
    """Golden outputs stand for another machine's: of the file as it came so many steps away, and of the pruned one,
    whose outputs are smaller, `times` as many."""
    model, recipe = tmp_path / "model.tflite", make_recipe("unstructured", 0.8)
    model.write_bytes(files.int8_network())
    directory = tmp_path / "bundle"
    directory.mkdir()
    original = write_original(model, directory)
    checking.draw_inputs(model, directory, original, None)
    written = write_pruned(model, original, recipe, directory)
    variants = checking.describe_variants(directory, recipe, original, written)
    with Workers() as workers:
        counts = [
            workers.submit(checking.run_reference(workers, directory, name, file, original)).result()
            for name, file in (("dense", original.file), (recipe.name, written.twin))
        ]
    checking.keep_samples(directory, variants, min(counts))
    paths = [str(directory / variant.golden) for variant in variants]
    ((dense,), (zeroed,)) = (load_arrays(path) for path in paths)
    steps = int(0.07 * dense.std() * np.sqrt(3))  # of a uniform distribution, 0.07 of the outputs' own
    assert steps > 1 and zeroed.std() < dense.std()
    for path, outputs, most in ((paths[0], dense, steps), (paths[1], zeroed, times * steps)):
        away = np.random.default_rng(0).integers(-most, most, outputs.shape, endpoint=True)
        np.savez(path, **{"0": np.clip(outputs + away, -128, 127).astype(np.int8)})
    with Workers() as workers:
        check = partial(checking.check, workers, directory, variants, written, say=lambda text: None)
        if not passes:
            with pytest.raises(ParityError, match="does not give the golden outputs"):
                check(keep_going=False)
            return
        rows = check(keep_going=False)
    assert all(row.ok and "rounds otherwise than XNNPACK on the host" in row.note for row in rows)
    assert load_rounding(paths[1]) >= 2 * steps  # for the board
    assert len(load_arrays(paths[1])) == 1


def test_the_file_as_it_came_is_tried_wherever_the_pruned_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where runtimes make so much of the indices that XNNPACK gets the twin: the file as it came has none."""
    asked: list[list[Check]] = []

    def check_all(directory: Path, inputs: str, checks: list[Check], *more: Any, **how: Any) -> list[HostParity]:
        asked.append(checks)
        failed = HostParity(
            file=checks[0].file, runtime="tflite-runtime", version="0", backend="xnnpack", ok=False,
            max_abs_error=None, tolerance=None, reason="it differs",
        )  # fmt: skip
        return [failed] if len(asked) == 1 else []

    model, recipe = tmp_path / "model.tflite", make_recipe("unstructured", 0.8)
    model.write_bytes(files.network())
    (directory := tmp_path / "bundle").mkdir()
    original = write_original(model, directory)
    written = replace(write_pruned(model, original, recipe, directory), indices=10_000_000)
    variants = checking.describe_variants(directory, recipe, original, written)
    monkeypatch.setattr(checking, "CHECKING_BYTES", files.ONLY_FOR_THE_TWIN + 5_000_000)
    monkeypatch.setattr(checking, "check_all", check_all)
    with Workers() as workers, pytest.raises(ParityError, match="it differs"):
        checking.check(workers, directory, variants, written, keep_going=False, say=lambda text: None)
    pruned, as_it_came = ({backend for check in checks for _, backend in check.pairs()} for checks in asked)
    assert len(asked[0]) == 2 and pruned == as_it_came == {"builtin", "xnnpack", "csr"}


def test_the_table_counts_what_ran_the_file_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "CHECKING_BYTES", files.ONLY_FOR_THE_TWIN)
    bundle = pruned(tmp_path)
    variant = bundle.manifest.variants[1]
    own = sum(row.file == variant.file.path for row in variant.host_parity)
    assert 0 < own < len(variant.host_parity)
    assert f"{own} of {own} runtimes and backends, XNNPACK by its twin" in printed(bundle)
