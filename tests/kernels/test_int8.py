"""int8 models through the delegate under every runtime: the same bits as without it, however it rounds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.kernels.conftest import Runtime
from tests.kernels.graphs import Graph
from tests.kernels.quantized import MODELS, QuantizedGraph, QuantizedModel, make


@cache
def model_of(name: str) -> QuantizedModel:
    return MODELS[name]()


def claimed_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in report["nodes"] if node["claimed"]]


def assert_same(found: list[Any], golden: list[Any]) -> None:
    assert len(found) == len(golden) > 0
    for one, other in zip(found, golden, strict=True):
        assert one.dtype == other.dtype == np.int8
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", list(MODELS))
def test_all_that_can_be_claimed_gives_the_same_outputs(runtime: Runtime, name: str) -> None:
    model = model_of(name)
    found, report = runtime.csr(model.file, model.samples, {"claim": "all"})
    sparse = [node for node in claimed_of(report) if not node["neighbour"]]
    assert len(sparse) == model.claimable
    assert all(node["kernel"].startswith("es_s8_") for node in claimed_of(report))
    assert_same(found, runtime.outputs("run", model.file, model.samples))


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("mobile")])
def test_what_is_claimed_by_default_gives_the_same_outputs(runtime: Runtime, name: str) -> None:
    model = model_of(name)
    found, _ = runtime.csr(model.file, model.samples, {})
    assert_same(found, runtime.outputs("run", model.file, model.samples))


@pytest.mark.parametrize("name", list(MODELS))
def test_every_instruction_set_gives_the_same_outputs(litert: Runtime, isa: str, name: str) -> None:
    model = model_of(name)
    found, report = litert.csr(model.file, model.samples, {"claim": "all", "isa": isa})
    assert all(node["kernel"].endswith(f"__{isa}") for node in claimed_of(report))
    assert_same(found, litert.outputs("run", model.file, model.samples))


def test_neighbours_are_taken_along(litert: Runtime) -> None:
    model = model_of("mobile, 16x4")
    _, report = litert.csr(model.file, model.samples, {"claim": "all", "isa": "avx2" if _has_avx2() else ""})
    kinds = {node["op"] for node in claimed_of(report) if node["neighbour"]}
    if _has_avx2():
        assert kinds >= {"DEPTHWISE_CONV_2D", "ADD"}


def test_threads_and_another_size_change_nothing(litert: Runtime) -> None:
    model = model_of("mobile, 16x4")
    golden = litert.outputs("run", model.file, model.samples)
    found, _ = litert.csr(model.file, model.samples, {"claim": "all"}, threads=3)
    assert_same(found, golden)
    random = np.random.default_rng(1)
    sizes = [random.integers(-128, 128, (1, size, size + 6, 3)).astype(np.int8) for size in (48, 20)]
    resized, _ = litert.csr(model.file, sizes, {"claim": "all"}, do="resize")
    assert_same(resized, litert.outputs("resize", model.file, sizes))


def test_a_weight_of_minus_128_is_left(litert: Runtime) -> None:
    graph = QuantizedGraph(1, 5, 5, 16)
    output = graph.conv(graph.input, 32)
    weights = graph.graph.operators[-1].inputs[1]
    buffer = graph.model.buffers[graph.graph.tensors[weights].buffer]
    buffer.data = np.where(np.arange(buffer.data.size) == 3, np.uint8(128), buffer.data)
    file, samples = graph.finish(output), model_of("1x1, all zero").samples
    found, report = litert.csr(file, samples, {"claim": "all"})
    (node,) = report["nodes"]
    assert not node["claimed"] and "-128" in node["reason"]
    assert_same(found, litert.outputs("run", file, samples))


def test_single_zeros_are_left_with_the_reason(litert: Runtime) -> None:
    model = make(lambda g: g.conv(g.input, 128), (1, 14, 14, 128), pattern="1x1", density=0.2)
    _, report = litert.csr(model.file, model.samples, {"plan": "x86_64-avx512vnni"})
    (node,) = report["nodes"]
    assert not node["claimed"] and "80 % zeros, but no block of 16x4" in node["reason"]
    assert node["density"] == pytest.approx(0.2, abs=0.02)


def test_blocks_are_found_by_looking(litert: Runtime) -> None:
    """Whatever is known of the file's making."""
    model = make(lambda g: g.conv(g.input, 256), (1, 14, 14, 256), density=0.2)
    _, report = litert.csr(model.file, model.samples, {})
    (node,) = report["nodes"]
    assert node["claimed"] and node["format"] in ("bsr16x4", "bsr8x4", "bsr4x4")
    assert node["sparse_us"] < node["dense_us"]


def test_dynamic_range_is_left_dense_with_the_reason(litert: Runtime) -> None:
    """Float activations, int8 weights: TFLite quantises activations as it runs."""

    class Hybrid(QuantizedGraph):
        def _quantize(self, tensor: int, scale: Any, zero_point: Any, dimension: int = 0) -> None:
            if self.graph.tensors[tensor].name == "weights":
                super()._quantize(tensor, scale, zero_point, dimension)

    graph = Hybrid.__new__(Hybrid)
    Graph.__init__(graph, 1, 64)
    graph.random, graph.pattern, graph.density, graph.per_channel = np.random.default_rng(0), "16x4", 0.2, False
    weights, _ = graph._weights((64, 64), 0.2)
    output = Graph.fully_connected(graph, graph.input, weights, np.zeros(64, np.float32))
    graph._quantize(graph.graph.operators[-1].inputs[1], 0.01, 0)
    file = graph.finish(output)
    samples = [np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)]
    found, report = litert.csr(file, samples, {"claim": "all"})
    (node,) = report["nodes"]
    assert not node["claimed"] and "dynamic range" in node["reason"]
    np.testing.assert_array_equal(found[0], litert.outputs("run", file, samples)[0])


def _has_avx2() -> bool:
    from tests.kernels.conftest import usable_isas

    return "avx2" in usable_isas()
