"""Benchmark networks as files: their zeros, their graphs, and outputs that a parity check can rely on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.agent.backends import load_runtime, make_interpreter
from edgesparse.convert.flatbuffer import FlatModel, Operator, read_model
from edgesparse.convert.layers import kernel_operators
from edgesparse.errors import UsageError
from edgesparse.networks import Spec, build, parse_network, parse_variant, write
from edgesparse.patterns import NM, Block, conforms
from tests.networks.conftest import Build

CASES = [
    ("mlp-48", "block-16x1-80"),
    ("mlp-48", "2-of-4"),
    ("mobilenetv2-32", "block-16x1-80"),
    ("resnet18-32", "unstructured-50"),
]


def pruned(flat: FlatModel) -> list[Operator]:
    """The operators that are to be pruned: no depthwise convolution, and not the first convolution."""
    operators = [op for op in kernel_operators(flat) if op.name != "DEPTHWISE_CONV_2D"]
    return operators[1:] if operators[0].name == "CONV_2D" else operators


def outputs(file: Path, backend: str, count: int = 2) -> Any:
    runtime, _ = load_runtime("ai-edge-litert")
    interpreter = make_interpreter(runtime, backend, str(file), 1)
    interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in np.random.default_rng(5).standard_normal((count, *entry["shape"]), np.float32):
        interpreter.set_tensor(entry["index"], sample)
        interpreter.invoke()
        found.append(interpreter.get_tensor(exit_["index"])[0])
    return np.stack(found)


@pytest.mark.parametrize(("network", "variant"), CASES)
def test_every_pruned_layer_has_the_pattern_and_exactly_its_density(built: Build, network: str, variant: str) -> None:
    flat, zeros = read_model(built(network, variant, "zeros")), parse_variant(variant)
    assert zeros.pattern is not None
    for op in pruned(flat):
        weights = flat.weights(op.inputs[1])
        assert conforms(weights, zeros.pattern)
        if isinstance(zeros.pattern, NM):
            assert np.count_nonzero(weights) == weights.size // 2
        else:
            rows = zeros.pattern.rows if isinstance(zeros.pattern, Block) else 1
            blocks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
            kept = sum(int(block.any(axis=0).sum()) for block in blocks)
            count = sum(block[0].size for block in blocks)
            assert kept == count - round((zeros.sparsity or 0) * count)


@pytest.mark.parametrize(("network", "variant"), CASES[2:])
def test_the_first_convolution_and_depthwise_ones_are_dense(built: Build, network: str, variant: str) -> None:
    flat = read_model(built(network, variant, "zeros"))
    left = [op for op in kernel_operators(flat) if op not in pruned(flat)]
    assert left
    assert all((flat.weights(op.inputs[1]) != 0).all() for op in left)


@pytest.mark.parametrize(("network", "variant"), CASES)
def test_both_encodings_hold_the_same_weights(built: Build, network: str, variant: str) -> None:
    zeros, sparse = (read_model(built(network, variant, encoding)) for encoding in ("zeros", "sparse"))
    assert all(zeros.encoding(op.inputs[1]) == "dense" for op in kernel_operators(zeros))
    assert all(sparse.encoding(op.inputs[1]) != "dense" for op in pruned(sparse))
    assert Counter(op.name for op in sparse.operators)["DENSIFY"] == len(pruned(sparse))
    for one, other in zip(kernel_operators(zeros), kernel_operators(sparse), strict=True):
        assert np.array_equal(zeros.weights(one.inputs[1]), sparse.weights(other.inputs[1]))


@pytest.mark.parametrize(("network", "variant"), CASES)
def test_outputs_are_well_scaled_and_correct_kernels_agree(built: Build, network: str, variant: str) -> None:
    file = built(network, variant, "zeros")
    expected, found = outputs(file, "builtin"), outputs(file, "xnnpack")
    assert np.isfinite(expected).all()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    # They say something about the input, and no class drowns the others.
    assert np.abs(expected[0] - expected[1]).max() > 0.05 * np.abs(expected).max()
    assert np.count_nonzero(np.abs(expected[0]) > 1e-3 * np.abs(expected).max()) > expected[0].size // 10


def test_the_stock_graph_is_the_stock_graph(built: Build) -> None:
    flat = read_model(built("mobilenetv2-32", "block-16x1-80", "zeros"))
    counts = Counter(op.name for op in flat.operators)
    assert (counts["CONV_2D"], counts["DEPTHWISE_CONV_2D"], counts["ADD"]) == (35, 17, 10)
    stem = next(op for op in flat.operators if op.name == "CONV_2D")
    assert (stem.options["stride_h"], stem.options["padding"]) == (2, "SAME")


def test_resnet18_has_its_layers(built: Build) -> None:
    flat = read_model(built("resnet18-32", "unstructured-50", "zeros"))
    sizes = Counter(flat.weights(op.inputs[1]).shape[1] for op in flat.operators if op.name == "CONV_2D")
    assert sizes == {7: 1, 3: 16, 1: 3}


@pytest.mark.parametrize("family", ["mobilenetv1", "mobilenetv2"])
def test_a_conforming_network_runs_sparse_under_xnnpack_and_the_stock_one_does_not(family: str, tmp_path: Path) -> None:
    from edgesparse import explain
    from edgesparse.boards.inventory import type_of

    def sparse_operators(network: str) -> int:
        file = tmp_path / f"{network}.tflite"
        write(network, file, "block 16x1", 0.8)
        explanation = explain(file, type_of("raspberrypi5"), backends=["xnnpack"])
        return explanation.summaries["xnnpack"].sparse_operators

    # At 32 pixels the last feature map is a single one, and the converter takes the pooling of V1 out.
    size = 64 if family == "mobilenetv1" else 32
    assert sparse_operators(f"{family}-{size}") == 0
    assert sparse_operators(f"{family}-{size}-conforming") > 10


def test_the_same_seed_gives_the_same_weights_and_another_one_others(built: Build) -> None:
    from edgesparse.networks.building import build_files

    network, zeros = parse_network("mlp-48"), parse_variant("2-of-4")
    kept = built("mlp-48", "2-of-4", "zeros").read_bytes()
    assert build_files(Spec(network, zeros))["zeros"] == kept
    other = build_files(Spec(network, zeros, seed=1))["zeros"]
    one, two = read_model(kept), read_model(other)
    first, second = (each.weights(kernel_operators(each)[0].inputs[1]) for each in (one, two))
    assert not np.array_equal(first != 0, second != 0)


def test_float16_weights_are_half_the_size_and_close(built: Build) -> None:
    spec = Spec(parse_network("mlp-48"), parse_variant("block-16x1-80"), weights="float16")
    half, full = build(spec, "zeros"), built("mlp-48", "block-16x1-80", "zeros")
    flat = read_model(half)
    assert {flat.weights(op.inputs[1]).dtype for op in kernel_operators(flat)} == {np.dtype(np.float16)}
    expected = outputs(full, "builtin")
    assert np.abs(outputs(half, "builtin") - expected).max() < 5e-3 * np.abs(expected).max()
    sparse = read_model(build(spec, "sparse"))
    assert {sparse.encoding(op.inputs[1]) for op in kernel_operators(sparse)} == {"csr"}


def test_a_built_model_comes_from_the_cache_without_tensorflow(built: Build) -> None:
    file = built("mlp-48", "2-of-4", "sparse")
    code = (
        "import sys; from edgesparse.networks import *;"
        "print(build(Spec(parse_network('mlp-48'), parse_variant('2-of-4')), 'sparse'));"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(file), "False"]
    assert not list(file.parent.glob("*.partial"))


def test_what_another_version_left_in_the_cache_goes(built: Build) -> None:
    spec = Spec(parse_network("mlp-24"), parse_variant("2-of-4"))
    place = built("mlp-48", "2-of-4", "zeros").parent
    stale, other = place / f"{spec}.zeros-0123.tflite", place / f"{spec}.seed-1.zeros-0123.tflite"
    stale.touch()
    other.touch()
    file = build(spec, "zeros")
    assert file.exists()
    assert other.exists()
    assert not stale.exists()


def test_a_dense_network_has_no_sparse_file() -> None:
    with pytest.raises(UsageError, match="no zeros"):
        build(Spec(parse_network("mlp-48")), "sparse")
    with pytest.raises(UsageError, match="no encoding"):
        build(Spec(parse_network("mlp-48")), "packed")


def test_write_takes_the_sparse_encoding_where_there_are_zeros(built: Build, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model.tflite"
    assert str(write("mlp-48", out, "2:4")) == "mlp-48.2-of-4"
    assert out.read_bytes() == built("mlp-48", "2-of-4", "sparse").read_bytes()
    with pytest.raises(UsageError, match="float8"):
        write("mlp-48", out, weights="float8")
