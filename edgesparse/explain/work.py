"""How much work an operator is, with weights or without, and what is foretold of weights that are no kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgesparse.convert.flatbuffer import FlatModel, Operator, Tensor
from edgesparse.convert.layers import KERNEL_OPERATORS
from edgesparse.explain.forecast import OperatorForecast, PathForecast

_LSTM = ("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM")


def macs(model: FlatModel, op: Operator) -> int:
    """Multiply-accumulates of one dense inference: of convolutions, fully connected layers, products of matrices and
    LSTMs; 0 of every other operator, and of what the graphs of loops and branches do."""
    if op.name in _LSTM:
        *batches, _ = model.tensors[op.inputs[0]].shape  # and time steps, whichever comes first
        matrices = [model.tensors[index].shape for index in op.inputs[1:9] if index != -1]
        return math.prod(batches) * sum(math.prod(shape) for shape in matrices)
    if op.name not in (*KERNEL_OPERATORS, "BATCH_MATMUL"):
        return 0
    kernel, output = model.tensors[op.inputs[1]].shape, model.tensors[op.outputs[0]].shape
    if op.name == "BATCH_MATMUL":
        return math.prod(output) * kernel[-1 if op.options.get("adj_y") else -2]
    if op.name == "FULLY_CONNECTED":
        return math.prod(output) * kernel[-1]
    if op.name == "TRANSPOSE_CONV":
        return math.prod(model.tensors[op.inputs[2]].shape) * math.prod(kernel[:-1])
    per_output = math.prod(kernel[1:3]) if op.name == "DEPTHWISE_CONV_2D" else math.prod(kernel[1:])
    return math.prod(output) * per_output


def other_forecast(
    model: FlatModel, op: Operator, tensors: Sequence[Tensor], paths: dict[str, PathForecast | None]
) -> OperatorForecast:
    """The forecast of an operator with weights that are no kernel: no backend looks for their zeros.

    Args:
        model: the file.
        op: the operator.
        tensors: its weights.
        paths: what else is known of it, by backend.
    """
    largest = max(tensors, key=lambda tensor: math.prod(tensor.shape))
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    kept = sum(size * model.stored_density(each.index) for size, each in zip(sizes, tensors, strict=True))
    dense = PathForecast(path="dense", kernel="dense", reason=f"no backend skips zeros in the weights of {op.name}")
    return OperatorForecast(
        index=op.index,
        op=op.name,
        name="",
        shape=largest.shape,
        weights=sum(sizes),
        zeros=1 - kept / sum(sizes),
        macs=macs(model, op),
        type=largest.type.lower(),
        encoding=model.encoding(largest.index),
        paths={backend: path or dense for backend, path in paths.items()},
    )
