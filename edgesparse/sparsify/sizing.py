"""Gives an input of no fixed size the size of the data, in the file itself: a runtime told none takes the file's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.convert.flatbuffer import schema
from edgesparse.files import mapped


def fix_size(file: Path, samples: Any) -> tuple[int, ...] | None:
    """Write the shape of samples into a file whose only input has open sizes that they fill.

    Args:
        file: changed in place; what it says of tensors behind the input stays, and runtimes work that out anew.
        samples: samples along axis 0.

    Returns:
        The input's shape, batch of 1 included; None where nothing was to be done or the samples do not fit.
    """
    with mapped(file) as content:
        graph = schema().Model.GetRootAs(content, 0).Subgraphs(0)
        if graph.InputsLength() != 1:
            return None
        tensor = graph.Tensors(graph.Inputs(0))
        wanted = (1, *samples.shape[1:])
        signature = () if tensor.ShapeSignatureIsNone() else tuple(tensor.ShapeSignatureAsNumpy().tolist())
        fits = all(size in (-1, data) for size, data in zip(signature, wanted, strict=False))
        if len(signature) != len(wanted) or not fits or all(size >= 0 for size in signature[1:]):
            return None
        held = tensor.ShapeAsNumpy()
        start = held.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    with file.open("r+b") as changed:
        os.pwrite(changed.fileno(), np.array(wanted, "<i4").tobytes(), start)
    return wanted
