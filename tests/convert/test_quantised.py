"""Int8 files: plain dense tensors in which pruned weights are 0, beside the dense int8 baseline, through the gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse.agent.worker import load_arrays
from edgesparse.convert import Bundle, convert
from edgesparse.convert.flatbuffer import FlatModel, read_model
from edgesparse.convert.keras import Exporter, outputs_first
from edgesparse.convert.layers import kernel_operators
from edgesparse.convert.quantised import QuantisedExporter
from edgesparse.convert.sources import read_sources
from edgesparse.errors import ModelError, UsageError
from edgesparse.patterns import Block, mask, to_keras
from edgesparse.prune.data import Data
from edgesparse.prune.pruning import Pruned
from edgesparse.recipe import Quantize, Recipe
from tests.convert.models import build

PATTERN = Block(8, 4)
RECIPE = Recipe(name="b8x4-int8", pattern="block 8x4", sparsity=0.75, quantize=Quantize(kind="int8", samples=16))
PRUNED = ("pw", "c3", "fc1", "fc2")  # fc2 has 10 outputs: its last blocks are ragged


def block_mask(name: str, shape: tuple[int, ...]) -> Any:
    if name not in PRUNED:
        return np.ones(shape)
    outputs_first_shape = (shape[-1], *shape[:-1]) if len(shape) == 4 else shape[::-1]
    weights = np.random.default_rng(len(name)).normal(size=outputs_first_shape)
    return to_keras(mask(weights, PATTERN, 0.75))


def pruned(model: Any, recipe: Recipe = RECIPE, aware: Any = None) -> Pruned:
    layers = [SimpleNamespace(name=name, pattern=recipe.pattern, pruned=True, reason="") for name in PRUNED]
    trained = {"accuracy_before": 0.9, "accuracy_pruned": 0.2, "accuracy_after": 0.8, "accuracy_samples": 40}
    report: Any = SimpleNamespace(layers=layers, **trained)
    return Pruned(model, recipe, report, None, False, aware)


@pytest.fixture(scope="module")
def data() -> Data:
    generator = np.random.default_rng(5)
    x, y = generator.random((40, 12, 12, 1), np.float32), generator.integers(0, 10, 40)
    return Data(x, y, x, y)


@pytest.fixture(scope="module")
def model() -> Any:
    return build(block_mask)


@pytest.fixture(scope="module")
def bundle(model: Any, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The dense model, and a pruned one in int8 and with dynamic ranges."""
    dynamic = msgspec.structs.replace(RECIPE, name="b8x4-dynamic", quantize=Quantize(kind="dynamic"))
    dense = build(lambda name, shape: np.ones(shape), seed=7)
    return convert([dense, pruned(model), pruned(model, dynamic)], tmp_path_factory.mktemp("q") / "tiny", data=data)


def weights_of(found: FlatModel) -> list[Any]:
    return [found.weights(op.inputs[1]) for op in kernel_operators(found)]


def test_dense_comes_once_more_for_each_kind_of_weights(bundle: Bundle) -> None:
    found = [(variant.name, variant.precision, variant.pattern) for variant in bundle.manifest.variants]
    assert found == [
        ("dense", "float32", "dense"), ("dense-int8", "int8", "dense"), ("dense-dynamic", "dynamic", "dense"),
        ("b8x4-int8", "int8", "block 8x4"), ("b8x4-dynamic", "dynamic", "block 8x4"),
    ]  # fmt: skip
    on_disk = {str(path.relative_to(bundle.path)) for path in bundle.path.rglob("*") if path.is_file()}
    assert on_disk == {file.path for file in bundle.files} | {"manifest.json"}


@pytest.mark.parametrize("name", ["b8x4-int8", "b8x4-dynamic"])
def test_weights_are_plain_dense_int8_with_the_blocks_in_them(bundle: Bundle, model: Any, name: str) -> None:
    variant = bundle.variant(name)
    assert variant.twin == variant.file
    found = read_model(bundle.file(variant.file))
    assert not {"DENSIFY"} & {op.name for op in found.operators}
    for op in kernel_operators(found):
        tensor = found.tensors[found.constant(op.inputs[1]) or 0]
        if variant.precision == "dynamic" and found.weights(tensor.index).size < 1024:
            continue  # the converter leaves small ones float
        assert (tensor.type, tensor.sparsity, set(tensor.zero_point)) == ("INT8", None, {0})
    layers = {layer.name: layer for layer in variant.layers}
    for name, weights in zip(layers, weights_of(found), strict=True):
        if name in PRUNED:
            zeros = outputs_first(model.get_layer(name)) == 0
            assert zeros.mean() >= 0.5
            assert not weights[zeros].any()
            assert layers[name].encoding == "dense"
            assert "kernels find the zeros" in layers[name].reason or weights.dtype != np.int8


def test_int8_models_take_and_give_int8_and_share_the_float_samples(bundle: Bundle) -> None:
    found = read_model(bundle.file(bundle.variant("b8x4-int8").file))
    assert {found.tensors[index].type for index in (*found.inputs, *found.outputs)} == {"INT8"}
    (inputs,) = load_arrays(str(bundle.file(bundle.manifest.inputs)))
    assert inputs.dtype == np.float32
    (golden,) = load_arrays(str(bundle.file(bundle.variant("b8x4-int8").golden)))
    (floats,) = load_arrays(str(bundle.file(bundle.variant("dense").golden)))
    assert (golden.dtype, golden.shape) == (np.dtype("int8"), floats.shape)
    assert golden.std() > 5


def test_every_runtime_passed_and_who_rounds_otherwise_is_said(bundle: Bundle) -> None:
    for variant in bundle.manifest.variants:
        assert all(row.ok for row in variant.host_parity)
    rows = bundle.variant("b8x4-int8").host_parity
    assert {row.runtime for row in rows} >= {"ai-edge-litert", "tensorflow"}
    litert = {row.backend: row for row in rows if row.runtime == "ai-edge-litert"}
    assert (litert["xnnpack"].steps, litert["xnnpack"].share, litert["xnnpack"].note) == (0, 0, "")
    for row in rows:
        assert bool(row.note) == (row.steps is not None and row.steps > 0 and row.share is not None)


def test_accuracy_is_that_of_the_int8_file(bundle: Bundle) -> None:
    assert all(variant.accuracy is not None for variant in bundle.manifest.variants)


def test_converting_again_changes_nothing(bundle: Bundle, model: Any) -> None:
    again = read_sources([pruned(model)])[0]
    assert again.precision == "int8"
    assert again.digest() == read_sources([pruned(model)])[0].digest()
    other = msgspec.structs.replace(RECIPE, quantize=Quantize(kind="int8", samples=17))
    assert again.digest() != read_sources([pruned(model, other)])[0].digest()


def test_without_a_dense_model_the_pruned_one_in_float_is_the_baseline(model: Any, data: Data, tmp_path: Path) -> None:
    made = convert([pruned(model)], tmp_path / "out", data=data)
    assert [(each.name, each.precision) for each in made.manifest.variants] == [
        ("dense", "float32"), ("b8x4-int8", "int8"),
    ]  # fmt: skip


def test_int8_without_data_is_refused(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs samples to take the ranges of activations from") as caught:
        convert([pruned(model)], tmp_path / "out")
    assert "--data" in caught.value.hint
    assert list(tmp_path.glob("*out*")) == []


def test_the_name_of_the_int8_baseline_is_taken(model: Any) -> None:
    taken = pruned(model, msgspec.structs.replace(RECIPE, name="dense-int8"))
    with pytest.raises(UsageError, match="is taken"):
        read_sources([model, taken])


def test_zeros_that_the_file_lost_are_refused(model: Any, data: Data) -> None:
    exporter = QuantisedExporter(model, RECIPE.quantize, data.x_train[:8], PRUNED)
    found = read_model(exporter.dense())
    exporter.check_zeros(found)
    place = next(place for place, name in exporter.layer_names(found).items() if name == "c3")
    kept = found.constant(kernel_operators(found)[place].inputs[1]) or 0
    weights = found.weights(kept).copy()
    damaged = weights.copy()
    damaged[weights == 0] = 1
    found._buffers[found.tensors[kept].buffer] = damaged.view(np.uint8).reshape(-1)
    with pytest.raises(ModelError, match=r"Layer c3: .* zeros of the pruned kernel are no zeros"):
        exporter.check_zeros(found)
    found._buffers[found.tensors[kept].buffer] = np.roll(weights, 1, axis=-1).view(np.uint8).reshape(-1)
    with pytest.raises(ModelError, match="zeros of layer c3 could not be found"):
        exporter.check_zeros(found)
    found._buffers[found.tensors[kept].buffer] = weights.view(np.uint8).reshape(-1)
    found.tensors = tuple(replace(each, zero_point=(3,)) if each.index == kept else each for each in found.tensors)
    with pytest.raises(ModelError, match="zero point 0, found 3"):
        exporter.check_zeros(found)


def test_sparse_encodings_of_int8_are_refused(model: Any) -> None:
    float_exporter = Exporter(model)
    sparse = read_model(float_exporter.sparse(float_exporter.dense()))
    with pytest.raises(ModelError, match=r"stored dense, found .* with sparsity metadata"):
        QuantisedExporter(model, Quantize(kind="dynamic"), None).check_zeros(sparse)
