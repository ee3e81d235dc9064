"""What an explanation counts: weights that are no kernels, weights that cannot be read, and the work of them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edgesparse.boards.types import load_type
from edgesparse.convert.flatbuffer import read_model, schema
from edgesparse.explain import Explanation, explain
from edgesparse.report.explain_table import render
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.sparsify import files
from tests.sparsify.test_weights import four_bits

BACKENDS = ("builtin", "xnnpack")


def explained(data: bytes) -> Explanation:
    return explain(read_model(data), load_type("raspberrypi5"), backends=BACKENDS)


def told(found: Explanation) -> str:
    console = Console(width=400)
    with console.capture() as capture:
        console.print(render(found))
    return capture.get()


def recurrent(zeros: bool) -> bytes:
    """An LSTM of 48 units over 12 steps of 32 values, and a fully connected layer (8 outputs) behind it."""
    maker, graph = Maker("dense", False, twin=False), Graph(1, 12, 32)
    matrices = [maker.weights(48, size, density=1) for size in (32, 32, 32, 32, 48, 48, 48, 48)]
    inputs = [graph.input, *map(graph.weights, matrices)]
    states = graph._tensor("states", (1, 48))
    options = schema().UnidirectionalSequenceLSTMOptionsT()
    x = graph._operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, states, options, "UnidirectionalSequenceLSTMOptions")
    kernel = maker.weights(8, 48, density=1)
    kernel[:, ::2] *= not zeros
    return graph.finish(graph.fully_connected(x, kernel))


def product(**options: Any) -> bytes:
    """(2, 5, 32) times a constant (2, 32, 48), which may be stored the other way round, and a layer behind it."""
    maker, graph = Maker("dense", False, twin=False), Graph(2, 5, 32)
    table = graph.weights(maker.weights(*((2, 48, 32) if options.get("adjY") else (2, 32, 48)), density=1))
    how = schema().BatchMatMulOptionsT()
    how.adjY = options.get("adjY", False)
    x = graph._operator(
        "BATCH_MATMUL", [graph.input, table], graph._tensor("product", (2, 5, 48)), how, "BatchMatMulOptions"
    )
    return graph.finish(graph.fully_connected(x, maker.weights(8, 48, density=1), keep_dimensions=True))


def test_an_lstm_has_weights_and_most_of_the_work() -> None:
    found = explained(recurrent(zeros=True))
    lstm, layer = found.operators
    assert lstm.weights == 4 * 48 * 32 + 4 * 48 * 48
    assert (lstm.macs, layer.macs, found.macs) == (12 * lstm.weights, 8 * 48, 12 * lstm.weights + 8 * 48)
    assert found.weights == lstm.weights + 8 * 48
    assert found.density == pytest.approx(1 - 4 * 48 / found.weights)
    for backend in BACKENDS:
        assert lstm.paths[backend].reason == "no backend skips zeros in the weights of UNIDIRECTIONAL_SEQUENCE_LSTM"
        assert found.summaries[backend].operators == 2
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in told(found)
    assert found.advice[0].macs_share == pytest.approx(8 * 48 / found.macs)


@pytest.mark.parametrize("turned", [False, True])
def test_products_of_matrices_are_work(turned: bool) -> None:
    first, second = explained(product(adjY=turned)).operators
    assert (first.op, first.weights, first.macs) == ("BATCH_MATMUL", 2 * 32 * 48, 2 * 5 * 32 * 48)
    assert second.macs == 2 * 5 * 8 * 48


def test_weights_that_cannot_be_read_stop_nothing() -> None:
    *_, last = (each for each in explained(files.network(change=four_bits)).operators if each.weights)
    assert (last.type, last.zeros) == ("int4", 0.0)
    for backend in BACKENDS:
        assert last.paths[backend].reason == "weights of type INT4 cannot be read: their zeros are not counted"


def test_zeros_save_no_time_only_where_there_are_some() -> None:
    with_zeros, without = told(explained(recurrent(zeros=True))), told(explained(recurrent(zeros=False)))
    assert "builtin runs dense: its zeros save no time" in with_zeros
    assert "builtin runs dense: it has no zeros to skip" in without
    assert "save no time" not in without


def test_a_weight_of_two_operators_counts_once() -> None:
    graph, weights = Graph(1, 8, 8, 32), np.ones((32, 1, 1, 32), np.float32)
    tensor = graph.weights(weights)
    x = graph.conv(graph.conv(graph.input, weights, shared=tensor), weights, shared=tensor)
    found = explained(graph.finish(x))
    assert (found.weights, found.macs) == (32 * 32, 2 * 8 * 8 * 32 * 32)
