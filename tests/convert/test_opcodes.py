"""One block-sparse FULLY_CONNECTED must not keep XNNPACK from the dense ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesparse.agent import backends
from edgesparse.agent.parity import compare
from edgesparse.convert.flatbuffer import FlatModel, read_model, schema
from edgesparse.convert.layers import kernel_operators
from edgesparse.convert.opcodes import separate_versions
from tests.convert.models import Export


@pytest.fixture(scope="module")
def shared_version(blocks: Export) -> bytes:
    """The same model as the converter alone writes it: one version for all."""
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import tf

    converter = tf.lite.TFLiteConverter.from_keras_model(blocks.model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with quiet_native_logs():
        return bytes(converter.convert())


def versions(model: FlatModel) -> list[int]:
    return [op.version for op in model.operators if op.name == "FULLY_CONNECTED"]


def interpreter(data: bytes) -> Any:
    runtime, _ = backends.load_runtime("ai-edge-litert")
    made = runtime.Interpreter(model_content=data)
    made.allocate_tensors()
    return made


def delegated_weights(data: bytes) -> set[int]:
    """The FULLY_CONNECTED weights, by shape's first size, that a delegate has claimed."""
    made = interpreter(data)
    claimed = {index for op in made._get_ops_details() if op["op_name"] == "DELEGATE" for index in op["inputs"]}
    model = read_model(data)
    layers = [op for op in kernel_operators(model) if op.name == "FULLY_CONNECTED"]
    return {model.tensors[op.inputs[1]].shape[0] for op in layers if model.constant(op.inputs[1]) in claimed}


def run(data: bytes) -> Any:
    made = interpreter(data)
    (detail,) = made.get_input_details()
    made.set_tensor(detail["index"], np.random.default_rng(0).random(detail["shape"], np.float32))
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def test_dense_layers_get_their_own_version(shared_version: bytes, blocks: Export) -> None:
    assert versions(read_model(shared_version)) == [8, 8]
    assert versions(read_model(separate_versions(shared_version, blocks.dense))) == [8, 1]


def test_xnnpack_takes_the_dense_layer_again(shared_version: bytes, blocks: Export) -> None:
    assert delegated_weights(shared_version) == set()
    assert delegated_weights(separate_versions(shared_version, blocks.dense)) == {10}


def test_everything_else_stays(shared_version: bytes, blocks: Export) -> None:
    after = separate_versions(shared_version, blocks.dense)
    one, other = read_model(shared_version), read_model(after)
    described = [[(each.name, each.shape, each.type, each.stored_bytes) for each in m.tensors] for m in (one, other)]
    assert described[0] == described[1]
    for index in range(len(one.tensors)):
        if one.tensors[index].has_buffer:
            assert np.array_equal(one.weights(index), other.weights(index))
    assert [op.options for op in one.operators] == [op.options for op in other.operators]
    assert compare([run(after)], [run(shared_version)])["ok"]
    metadata = [[(entry.name, entry.buffer) for entry in schema().ModelT.InitFromPackedBuf(data, 0).metadata]
                for data in (shared_version, after)]  # fmt: skip
    assert metadata[0] == metadata[1]


def test_buffers_stay_aligned(shared_version: bytes, blocks: Export) -> None:
    after = separate_versions(shared_version, blocks.dense)
    start = np.frombuffer(after, np.uint8).__array_interface__["data"][0]
    buffers = [buffer.data for buffer in schema().ModelT.InitFromPackedBuf(after, 0).buffers if buffer.data is not None]
    assert len(buffers) > 10
    assert all((data.__array_interface__["data"][0] - start) % 16 == 0 for data in buffers if len(data))


def test_leaves_files_alone_that_need_nothing(unstructured: Export) -> None:
    assert separate_versions(unstructured.sparse, unstructured.dense) is unstructured.sparse
