"""The reader against files that the real converter made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesparse.convert.flatbuffer import FILE_IDENTIFIER, FlatModel, read_model, schema
from edgesparse.convert.layers import kernel_operators
from edgesparse.errors import ModelError
from tests.convert.models import Export


def kernels(model: FlatModel) -> list[Any]:
    return [model.weights(op.inputs[1]) for op in kernel_operators(model)]


def encodings(model: FlatModel) -> list[str]:
    return [model.encoding(op.inputs[1]) for op in kernel_operators(model)]


def assert_same_kernels(dense: FlatModel, sparse: FlatModel) -> None:
    for one, other in zip(kernels(dense), kernels(sparse), strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_decodes_csr_of_1x1_and_3x3_and_fully_connected(unstructured: Export) -> None:
    dense, sparse = unstructured.read()
    assert encodings(dense) == ["dense"] * 6
    assert encodings(sparse) == ["dense", "dense", "csr", "csr", "csr", "csr"]
    assert [each.shape for each in kernels(sparse)] == [
        (8, 3, 3, 1), (1, 3, 3, 8), (32, 1, 1, 8), (32, 3, 3, 32), (64, 32), (10, 64),
    ]  # fmt: skip
    assert_same_kernels(dense, sparse)


def test_decodes_float_blocks(blocks: Export) -> None:
    dense, sparse = blocks.read()
    assert encodings(sparse) == ["dense", "dense", "dense", "dense", "block 1x4", "dense"]
    assert_same_kernels(dense, sparse)


def test_decodes_int8_blocks(int8_blocks: tuple[bytes, bytes]) -> None:
    dense, sparse = map(read_model, int8_blocks)
    assert encodings(sparse) == ["block 1x16"]
    assert kernels(sparse)[0].dtype == np.int8
    assert_same_kernels(dense, sparse)


def test_decodes_wide_index_vectors(wide: Export) -> None:
    dense, sparse = wide.read()
    (op,) = kernel_operators(sparse)
    index = sparse.constant(op.inputs[1])
    assert index is not None
    sparsity = sparse.tensors[index].sparsity
    assert sparsity is not None
    assert sparsity.levels[1].segments.dtype == np.int32
    assert sparsity.levels[1].indices.dtype == np.uint16
    assert_same_kernels(dense, sparse)


def test_kernels_are_those_of_the_keras_model(unstructured: Export) -> None:
    kernel = unstructured.model.get_layer("fc1").get_weights()[0]
    assert np.array_equal(kernels(read_model(unstructured.sparse))[4], kernel.T)


def test_operators_have_names_options_and_neighbours(unstructured: Export) -> None:
    model = read_model(unstructured.sparse)
    names = [op.name for op in model.operators]
    assert names == [
        "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "DENSIFY", "CONV_2D", "DENSIFY", "CONV_2D", "MEAN",
        "DENSIFY", "FULLY_CONNECTED", "DENSIFY", "FULLY_CONNECTED",
    ]  # fmt: skip
    stem, depthwise, head = (model.operators[i] for i in (1, 2, 9))
    assert {"stride_w": 2, "stride_h": 2, "padding": "VALID", "activation": "RELU6"}.items() <= stem.options.items()
    assert {"dilation_w": 1, "dilation_h": 1}.items() <= stem.options.items()
    assert {"depth_multiplier": 1, "padding": "SAME"}.items() <= depthwise.options.items()
    assert {"activation": "RELU", "keep_num_dims": False}.items() <= head.options.items()
    assert model.producer(stem.outputs[0]) == stem
    assert model.producer(model.inputs[0]) is None
    assert model.consumers(stem.outputs[0]) == (depthwise,)
    assert model.consumers(model.outputs[0]) == ()
    assert model.tensors[model.inputs[0]].shape == (1, 12, 12, 1)
    assert model.weights(model.operators[0].inputs[1]).tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]


def test_stored_bytes_count_values_and_indices(unstructured: Export) -> None:
    sparse = read_model(unstructured.sparse)
    fc1 = kernel_operators(sparse)[4]
    index = sparse.constant(fc1.inputs[1])
    assert index is not None
    nonzeros = int(np.count_nonzero(sparse.weights(index)))
    # 65 row pointers of 16 bits, an index of 8 bits for each value of 32
    assert sparse.tensors[index].stored_bytes == nonzeros * 5 + 65 * 2
    assert not sparse.tensors[index].quantised


def test_int8_tensors_are_quantised(int8_blocks: tuple[bytes, bytes]) -> None:
    model = read_model(int8_blocks[0])
    weights = model.tensors[kernel_operators(model)[0].inputs[1]]
    assert weights.quantised
    assert weights.type == "INT8"
    assert set(weights.zero_point) == {0}


def test_reads_a_file_as_its_bytes(unstructured: Export, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(unstructured.sparse)
    assert read_model(tmp_path / "model.tflite").operators == read_model(unstructured.sparse).operators


def test_reads_buffers_stored_after_the_flatbuffer(unstructured: Export) -> None:
    """As in models over 2 GB: the buffer's table has an offset into the file and a size."""
    import flatbuffers

    model = schema().ModelT.InitFromPackedBuf(unstructured.sparse, 0)
    tail, places = b"", {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data) > 64:
            places[number] = (len(tail), len(buffer.data))
            tail += bytes(buffer.data)

    def pack(start: int) -> bytes:
        for number, (offset, size) in places.items():
            model.buffers[number].data = None
            model.buffers[number].offset, model.buffers[number].size = start + offset, size
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    front = pack(len(pack(1 << 20)))
    moved = read_model(front + tail)
    assert places
    assert_same_kernels(read_model(unstructured.sparse), moved)
    with pytest.raises(ModelError, match="truncated"):
        read_model(front + tail[:-1])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "found nothing"),
        (lambda path: path.parent, "cannot be read"),
        (lambda path: path.write_text("no model at all") and path, "TFL3"),
        (lambda path: path.write_bytes(b"") or path, "TFL3"),
        (lambda path: path.write_bytes(b"\x08\0\0\0TFL3") and path, "damaged or truncated"),
    ],
)
def test_refuses_what_is_no_model(make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        read_model(make(tmp_path / "model.tflite"))
    assert caught.value.hint


def test_refuses_truncated_files(unstructured: Export) -> None:
    data = unstructured.sparse
    for length in range(8, len(data) - 16, 101):
        with pytest.raises(ModelError):
            kernels(read_model(data[:length]))


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_never_escapes_as_another_error(unstructured: Export, places: list[tuple[float, int]]) -> None:
    data = bytearray(unstructured.sparse)
    for where, value in places:
        data[8 + int(where * (len(data) - 8))] = value
    try:
        kernels(read_model(bytes(data)))
    except ModelError as error:
        assert error.hint


def test_computed_tensors_have_no_weights(unstructured: Export) -> None:
    model = read_model(unstructured.sparse)
    with pytest.raises(ModelError, match="computed at run time"):
        model.weights(model.outputs[0])
