"""What a file of int8 weights costs: as it is, as TFLite would store its zeros away, and compressed."""

from __future__ import annotations

from edgesparse.convert.encodings import encoded_bytes
from edgesparse.convert.flatbuffer import FlatModel
from edgesparse.convert.layers import kernel_operators
from edgesparse.explain.forecast import Storage

ZSTD_LEVEL = 19


def storage(model: FlatModel) -> Storage | None:
    """The cost of a file; None for one without int8 weights."""
    import zstandard

    constants = {model.constant(op.inputs[1]) or 0 for op in kernel_operators(model)}
    kernels = [model.tensors[index] for index in constants if model.tensors[index].type == "INT8"]
    if not kernels:
        return None
    stored = sum(tensor.stored_bytes for tensor in kernels)
    sparse = sum(min(tensor.stored_bytes, encoded_bytes(model.weights(tensor.index))) for tensor in kernels)
    return Storage(
        file_bytes=len(model.data),
        sparse_bytes=len(model.data) - stored + sparse,
        zstd_bytes=len(zstandard.ZstdCompressor(ZSTD_LEVEL).compress(memoryview(model.data))),
    )
