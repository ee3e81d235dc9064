"""Files whose shapes are known late: outputs that depend on the data, inputs of no fixed size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse import sparsify
from edgesparse.convert.flatbuffer import read_model, schema
from edgesparse.convert.golden import accuracy
from edgesparse.errors import EdgesparseError
from edgesparse.prune import Data
from edgesparse.sparsify import make_recipe
from edgesparse.sparsify.sizing import fix_size
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.sparsify import files


def positives() -> bytes:
    """Where the outputs of fully connected layer are over 0: as many rows as there are."""
    maker, graph, kinds = Maker("dense", False, twin=False), Graph(1, 32), schema().TensorType
    x = graph.fully_connected(graph.input, maker.weights(64, 32, density=1))
    zero = graph._constant("zero", np.zeros(1, np.float32))
    is_over = graph._tensor("over", (1, 64), kinds.BOOL)
    graph._operator("GREATER", [x, zero], is_over, schema().GreaterOptionsT(), "GreaterOptions")
    places = graph._tensor("places", (1, 2), kinds.INT64)
    return graph.finish(graph._operator("WHERE", [is_over], places, schema().WhereOptionsT(), "WhereOptions"))


def test_samples_end_where_outputs_take_another_shape(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(positives())
    bundle = sparsify(model, make_recipe("2:4"), tmp_path / "out")
    variant = bundle.manifest.variants[1]
    assert len(variant.host_parity) >= 3 and all(row.ok for row in variant.host_parity)
    with np.load(bundle.file(bundle.manifest.inputs)) as inputs, np.load(bundle.file(variant.golden)) as outputs:
        samples = len(inputs["0"])
        assert 1 <= samples < 8
        assert outputs["0"].shape[0] == samples
    assert accuracy(model, np.random.default_rng(0).random((8, 32)), np.zeros(8, np.int64)) is None


def any_size(channels: int = 3) -> bytes:
    """Two 3x3 convolutions, VALID, over images of any size, which the file gives as one pixel."""
    maker, graph = Maker("dense", False, twin=False), Graph(1, 12, 12, channels)
    x = graph.conv(
        graph.input, maker.weights(16, 3, 3, channels, density=1), maker.bias(16), padding="VALID", activation="RELU"
    )
    output = graph.conv(x, maker.weights(32, 3, 3, 16, density=1), maker.bias(32), padding="VALID")

    def change(model: Any) -> None:
        tensors = model.subgraphs[0].tensors
        for index in (graph.input, x, output):
            tensors[index].shapeSignature = [-1, -1, -1, tensors[index].shape[-1]]
            tensors[index].shape = [1, 1, 1, tensors[index].shape[-1]]

    return files.finish(graph, output, change=change)


def images(*shape: int) -> Data:
    drawn = np.random.default_rng(0).random((10, *shape)).astype(np.float32)
    return Data(drawn, np.zeros(10, np.int64), drawn, np.zeros((10, 3), np.int64))


def test_an_input_of_no_fixed_size_takes_that_of_the_data(tmp_path: Path) -> None:
    model, said = tmp_path / "model.tflite", list[str]()
    model.write_bytes(any_size())
    bundle = sparsify(model, make_recipe("2:4"), tmp_path / "out", data=images(9, 7, 3), progress=said.append)
    variant = bundle.manifest.variants[1]
    assert len(variant.host_parity) >= 3 and all(row.ok for row in variant.host_parity)
    for each in bundle.manifest.variants:
        assert read_model(bundle.file(each.file)).tensors[0].shape == (1, 9, 7, 3)
        with np.load(bundle.file(each.golden)) as outputs:
            assert outputs["0"].shape == (8, 1, 5, 3, 32)
    assert bundle.variant("dense").came == "its input of the data's size"
    assert "the input of no fixed size takes the data's: 1x9x7x3" in said


def test_data_of_other_channels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(any_size())
    with pytest.raises(EdgesparseError, match="the data has samples of shape"):
        sparsify(tmp_path / "model.tflite", make_recipe("2:4"), tmp_path / "out", data=images(9, 7, 4))


def test_an_input_of_a_fixed_size_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network())
    assert fix_size(tmp_path / "model.tflite", np.zeros((2, 9, 7, 3))) is None
    assert (tmp_path / "model.tflite").read_bytes() == files.network()
