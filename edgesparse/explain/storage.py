"""What a file of int8 weights costs: as it is, as TFLite would store its zeros away, and compressed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    sparse = sum(min(tensor.stored_bytes, csr_bytes(model.weights(tensor.index))) for tensor in kernels)
    return Storage(
        file_bytes=len(model.data),
        sparse_bytes=len(model.data) - stored + sparse,
        zstd_bytes=len(zstandard.ZstdCompressor(ZSTD_LEVEL).compress(model.data)),
    )


def csr_bytes(weights: npt.NDArray[np.int8]) -> int:
    """What TFLite's encoding of single values takes for an int8 kernel, outputs first: values, indices, row pointers.

    A row is what one output (and tap) has of the inputs; indices and row pointers are as wide as their largest value
    asks, 1, 2 or 4 bytes.
    """
    values, rows, inputs = int(np.count_nonzero(weights)), weights.size // weights.shape[-1], weights.shape[-1]
    return values * (1 + _width(inputs - 1)) + (rows + 1) * _width(values)


def _width(largest: int) -> int:
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
