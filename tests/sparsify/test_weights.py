"""Which weights of a file are pruned, which are left and why, and what all of them together are."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgesparse import sparsify
from edgesparse.check import check
from edgesparse.convert.bundle import CAME_SPARSE
from edgesparse.convert.flatbuffer import schema, unpack
from edgesparse.convert.layers import overall_density
from edgesparse.errors import EdgesparseError, ParityError
from edgesparse.patterns import parse_pattern
from edgesparse.recipe import Recipe
from edgesparse.report.tables import bundle_table
from edgesparse.sparsify import make_recipe
from edgesparse.sparsify.weights import find_weights
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.sparsify import files

LAST = "left as the last layer: its outputs are the model's"
FILTERS = make_recipe("filter", 0.5, first_layer=True)


def reasons(data: bytes, recipe: Recipe) -> dict[tuple[int, ...], str]:
    """Why each weight is left, by its shape."""
    found = find_weights(unpack("it", data)[1], recipe, parse_pattern(recipe.pattern))
    return {weight.tensor.shape: weight.reason for weight in found}


def two_heads(change: files.Change | None = None) -> bytes:
    """conv (32 outputs), read by a head of 12 outputs behind a depthwise one, and by one of 20."""
    maker, graph = Maker("dense", False, twin=False), Graph(1, 8, 8, 16)
    trunk = graph.conv(graph.input, maker.weights(32, 1, 1, 16, density=1), activation="RELU")
    one = graph.conv(trunk, maker.weights(12, 1, 1, 32, density=1))
    one = graph.depthwise(one, maker.weights(1, 3, 3, 12, density=1), maker.bias(12))
    return files.finish(graph, one, graph.conv(trunk, maker.weights(20, 1, 1, 32, density=1)), change=change)


def test_filters_of_no_head_are_pruned() -> None:
    found = reasons(two_heads(), FILTERS)
    assert (found[32, 1, 1, 16], found[12, 1, 1, 32], found[20, 1, 1, 32]) == ("", LAST, LAST)


def test_filters_that_are_outputs_of_another_signature_are_left() -> None:
    """Its graph ends where the main one goes on, with the same weights."""

    def change(model: Any) -> None:
        other = copy.deepcopy(model.subgraphs[0])
        first, *_ = other.operators
        other.operators, other.outputs = [first], list(first.outputs)
        model.subgraphs.append(other)

    with pytest.raises(EdgesparseError, match="prunes no layer") as caught:
        reasons(two_heads(change), FILTERS)
    assert str(caught.value).count(LAST) == 1  # one reason, told once for three layers
    assert reasons(two_heads(change), make_recipe("2:4", first_layer=True))[32, 1, 1, 16] == ""


@pytest.mark.parametrize("half", [False, True])
def test_weights_that_are_an_output_are_left_unpacked_or_not(half: bool) -> None:
    maker, graph = Maker("dense", half, twin=False), Graph(1, 32)
    x = graph.fully_connected(graph.input, maker.weights(48, 32, density=1), half=half)
    read = graph.graph.operators[-1].inputs[1]
    data = graph.finish(graph.fully_connected(x, maker.weights(16, 48, density=1)), read)
    assert reasons(data, make_recipe("2:4")) == {(48, 32): "it is an output of the model", (16, 48): ""}


def four_bits(model: Any) -> None:
    """The last kernel's values become INT4, two in a byte."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[graph.operators[-1].inputs[1]]
    tensor.type, tensor.quantization = schema().TensorType.INT4, schema().QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [0.01], [0]
    count = int(np.prod(tensor.shape)) // 2
    model.buffers[tensor.buffer].data = np.full(count, 0x21, np.uint8)


def test_weights_that_cannot_be_read_are_left_by_name(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network(change=four_bits))
    bundle = sparsify(tmp_path / "model.tflite", make_recipe("2:4"), tmp_path / "out")
    *_, before, last = bundle.manifest.variants[1].layers
    assert (before.pattern, last.density) == ("2:4", 1.0)
    assert last.reason.startswith("weights of type INT4 are left")
    found = check(bundle.file(bundle.manifest.variants[1].file), "2:4")
    assert found.valid
    assert (found.layers[-1].verdict, found.layers[-1].zeros) == ("not checked", None)
    assert found.layers[-1].reason == "weights of type INT4 cannot be read"


def test_weights_of_other_operators_are_listed_and_count(tmp_path: Path) -> None:
    """A table that ADD reads: a BATCH_MATMUL's, an LSTM's are found alike."""
    maker, graph = Maker("dense", False, twin=False), Graph(32, 32)
    table = graph.weights(maker.weights(32, 32, density=1))
    x = graph.fully_connected(graph.add(graph.input, table), maker.weights(32, 32, density=1))
    (tmp_path / "model.tflite").write_bytes(graph.finish(graph.add(x, table)))
    bundle = sparsify(tmp_path / "model.tflite", make_recipe("2:4"), tmp_path / "out")
    variant = bundle.manifest.variants[1]
    kernel, other = variant.layers
    assert (kernel.density, other.density, other.op, other.pattern) == (0.5, 1.0, "ADD", "dense")
    assert other.reason == "ADD reads it, which is left dense (pruned are CONV_2D and FULLY_CONNECTED)"
    assert variant.density == 0.75
    assert [layer.verdict for layer in check(bundle.file(variant.file), "2:4").layers] == ["valid", "not checked"]


def test_a_file_whose_weights_are_no_kernels_is_refused_by_their_operator() -> None:
    graph = Graph(32, 32)
    data = graph.finish(graph.add(graph.input, graph.weights(np.ones((32, 32), np.float32))))
    with pytest.raises(EdgesparseError, match=r"prunes no layer of it \(weights: ADD reads it, which is left dense"):
        reasons(data, make_recipe("2:4"))


@pytest.mark.parametrize(
    "values", [np.zeros((32, 32)), np.ones((1, 32)), np.ones((8, 8))], ids=["zeros", "vector", "small"]
)
def test_states_vectors_and_small_tables_are_no_weights(values: Any) -> None:
    graph = Graph(*values.shape)
    data = graph.finish(graph.add(graph.input, graph.weights(values.astype(np.float32))))
    with pytest.raises(EdgesparseError, match="no operator of it reads weights"):
        reasons(data, make_recipe("2:4"))


def test_a_weight_of_two_operators_counts_once() -> None:
    maker, graph = Maker("dense", False, twin=False), Graph(1, 8, 8, 32)
    weights, half = maker.weights(32, 1, 1, 32, density=1), maker.weights(32, 1, 1, 32, pattern="2:4")
    tensor = graph.weights(weights)
    x = graph.conv(graph.conv(graph.input, weights, shared=tensor), weights, shared=tensor)
    main = unpack("it", graph.finish(graph.conv(x, half)))[1]
    assert overall_density(main) == pytest.approx((1 + np.count_nonzero(half) / half.size) / 2)


MISSPELT = {
    "include": make_recipe("2:4", include=("weights", "wieghts")),
    "exclude": make_recipe("2:4", exclude=("weights", "wieghts")),
}


@pytest.mark.parametrize("how", MISSPELT)
def test_a_misspelt_layer_is_refused(how: str) -> None:
    with pytest.raises(EdgesparseError, match=f"{how}: 'wieghts' matches no layer of the file") as caught:
        reasons(files.network(), MISSPELT[how])
    assert "weights, weights#2, depthwise, weights#3" in str(caught.value.hint)


def test_layers_keep_their_names_however_often_they_are_pruned(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        for number, tensor in enumerate(model.subgraphs[0].tensors):
            tensor.name = f"model/conv_{number}/Conv2D" if len(tensor.shape) == 4 and tensor.buffer else tensor.name

    (tmp_path / "model.tflite").write_bytes(files.network(change=change))
    once = sparsify(tmp_path / "model.tflite", make_recipe("16x1", 0.5), tmp_path / "once")
    twice = sparsify(once.path / "block-16x1-50.tflite", make_recipe("16x1", 0.8), tmp_path / "twice")
    names = [layer.name for layer in once.manifest.variants[1].layers]
    assert sum(name.startswith("conv_") for name in names) == 3
    assert [layer.name for layer in twice.manifest.variants[1].layers] == names
    assert [layer.name for layer in check(twice.path / "block-16x1-80.tflite", "16x1").layers] == names


@pytest.mark.parametrize(("layout", "told"), [("dense", "as it came"), ("csr", "stored dense")])
def test_a_file_that_came_sparse_is_not_called_as_it_came(layout: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network(layout=layout))
    bundle = sparsify(tmp_path / "model.tflite", make_recipe("unstructured", 0.9), tmp_path / "out")
    console = Console(width=200)
    with console.capture() as capture:
        console.print(bundle_table(bundle))
    (line,) = (line for line in capture.get().splitlines() if line.startswith("dense "))
    assert line.rstrip().endswith(told)
    reasons_of = [layer.reason for layer in bundle.variant("dense").layers]
    assert reasons_of.count(CAME_SPARSE) == (3 if layout == "csr" else 0)


def test_a_failed_gate_names_what_goes_on_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ParityError("It is off.", hint="`edgesparse.convert(..., keep_going=True)`")

    monkeypatch.setattr(sys.modules["edgesparse.sparsify"], "check", fail)
    (tmp_path / "model.tflite").write_bytes(files.network())
    with pytest.raises(ParityError, match=r"It is off\. Take another pattern\. `edgesparse\.sparsify\("):
        sparsify(tmp_path / "model.tflite", make_recipe("2:4"), tmp_path / "out")


ROUTES: dict[str, Callable[[Path], Path]] = {
    "before": lambda path: path,
    "after": lambda path: sparsify(path, make_recipe("16x1", 0.8), path.parent / "out").path / "block-16x1-80.tflite",
}


@pytest.mark.parametrize("route", ROUTES)
def test_check_and_sparsify_call_the_layers_alike(route: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network())
    file = ROUTES[route](tmp_path / "model.tflite")
    names = [layer.name for layer in check(file, "16x1").layers]
    assert names == ["weights", "weights#2", "depthwise", "weights#3", "weights#4", "weights#5"]
    found = find_weights(unpack("it", file.read_bytes())[1], make_recipe("2:4"), parse_pattern("2:4"))
    assert [weight.name for weight in found] == names
    assert check(file, "16x1", exclude=["weights#4"]).layers[4].reason == "left out"
    with pytest.raises(EdgesparseError, match="'weights/sparse' matches no layer"):
        check(file, "16x1", exclude=["weights/sparse"])
