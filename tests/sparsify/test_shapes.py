"""Files whose shapes are known late: outputs that depend on the data, inputs of no fixed size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgesparse import sparsify
from edgesparse.convert.flatbuffer import schema
from edgesparse.convert.golden import accuracy
from edgesparse.sparsify import make_recipe
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker


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
