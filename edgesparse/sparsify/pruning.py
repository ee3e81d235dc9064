"""Writes zeros into a copy of a .tflite file, in place: nothing else of it changes, and no bytes move."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from edgesparse.convert.encodings import Array
from edgesparse.convert.flatbuffer import FlatModel
from edgesparse.files import leave_memory
from edgesparse.patterns import Pattern, mask
from edgesparse.sparsify.weights import Weight

# Bytes of a kernel that are written at once.
_PART_BYTES = 1 << 22


def write_zeros(
    copy: Path, content: mmap.mmap, graph: FlatModel, weight: Weight, pattern: Pattern, sparsity: float | None
) -> None:
    """Prune one weight in a copy of the file.

    Args:
        copy: the copy, of the same bytes as `content` but for other weights' zeros.
        content: the file.
        graph: that holds the weight, over `content`.
        weight: stored dense.
        pattern, sparsity: of the zeros.

    Raises:
        ModelError: weights that are not finite, named by their layer.
    """
    values = graph.weights(weight.tensor.index)
    kept = mask(values, pattern, sparsity, weight.scale)
    start = values.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    flat, keeps = values.reshape(-1), kept.reshape(-1)
    step = max(1, _PART_BYTES // values.itemsize)
    with copy.open("r+b") as file:
        for first in range(0, flat.size, step):
            some = slice(first, first + step)
            pruned: Array = np.where(keeps[some], flat[some], flat.dtype.type(0))
            os.pwrite(file.fileno(), pruned.tobytes(), start + first * values.itemsize)
    leave_memory(content)
