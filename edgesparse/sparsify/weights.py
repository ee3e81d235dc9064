"""The weights of a .tflite file that can be pruned: which tensors hold them, who reads them, and why others stay.

A weight is a buffer. Several tensors, of several graphs, can hold one, and several operators read each: all have to
agree on it, for there is one set of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgesparse.convert.encodings import Array
from edgesparse.convert.flatbuffer import FlatModel, Operator, Tensor
from edgesparse.convert.layers import KERNEL_OPERATORS, layer_name
from edgesparse.errors import RecipeError
from edgesparse.patterns import Filter, Pattern, misfit
from edgesparse.recipe import Recipe

PRUNABLE = ("CONV_2D", "FULLY_CONNECTED")
PRUNABLE_TYPES = ("FLOAT32", "FLOAT16", "INT8")
UNPACKING = ("DENSIFY", "DEQUANTIZE")


@dataclass(frozen=True)
class Weight:
    """One buffer that operators with a kernel read as theirs.

    Attributes:
        name: of the layer, unique in the file.
        op: the first of its operators.
        tensor: what holds it in `graph`.
        holders: every tensor that holds it, as (graph, tensor).
        reason: why it is left as it is; "" if it is pruned.
    """

    name: str
    op: Operator
    graph: int
    tensor: Tensor
    holders: tuple[tuple[int, int], ...]
    reason: str

    @property
    def scale(self) -> Array | None:
        """What int8 values are multiplied by, one for each output; None where that ranks no two of them anew."""
        return np.asarray(self.tensor.scale, np.float32) if len(self.tensor.scale) > 1 else None


def find_weights(graphs: Sequence[FlatModel], recipe: Recipe, pattern: Pattern) -> list[Weight]:
    """Every kernel of a file, in the order in which the main graph comes to them, and what becomes of it.

    Raises:
        RecipeError: none is pruned; the message gives each one's reason.
    """
    found: list[Weight] = []
    seen: set[int] = set()
    kernels = list(_kernels(graphs))
    names: dict[str, int] = {}
    for number, op in kernels:
        tensor = graphs[number].tensors[graphs[number].constant(op.inputs[1]) or 0]
        if tensor.buffer in seen:
            continue
        seen.add(tensor.buffer)
        name = layer_name(graphs[number], op) or tensor.name or f"tensor {tensor.index}"
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}#{names[name]}"
        holders = _holders(graphs, tensor.buffer)
        reason = _reason(graphs, number, op, tensor, holders)
        reason = reason or recipe.unselected(name) or ""
        if not reason and not found and not recipe.first_layer and op.name != "FULLY_CONNECTED":
            reason = "left as the first convolution: few weights, and accuracy hangs on them (--first-layer prunes it)"
        if not reason and isinstance(pattern, Filter) and (number, op) == kernels[-1]:
            reason = "left as the last layer: its outputs are the model's"
        reason = reason or misfit(tensor.shape, pattern) or ""
        found.append(Weight(name, op, number, tensor, holders, reason))
    recipe.check_layers([weight.name for weight in found])
    if all(weight.reason for weight in found):
        left = "; ".join(f"{weight.name}: {weight.reason}" for weight in found) or "it has no operator with weights"
        raise RecipeError(
            f"Recipe {recipe.name} prunes no layer of {graphs[0].source} ({left}).",
            hint="Take another pattern, or change include, exclude and first_layer.",
        )
    return found


def readers(graph: FlatModel, index: int) -> Iterator[tuple[Operator, int]]:
    """The operators that read a constant, also behind what unpacks it, and the tensor that they read."""
    for op in graph.consumers(index):
        if op.name in UNPACKING:
            yield from readers(graph, op.outputs[0])
        else:
            yield op, index


def _kernels(graphs: Sequence[FlatModel]) -> Iterator[tuple[int, Operator]]:
    for number, graph in enumerate(graphs):
        for op in graph.operators:
            has_kernel = op.name in KERNEL_OPERATORS and len(op.inputs) > 1 and op.inputs[1] != -1
            if has_kernel and graph.constant(op.inputs[1]) is not None:
                yield number, op


def _holders(graphs: Sequence[FlatModel], buffer: int) -> tuple[tuple[int, int], ...]:
    return tuple(
        (number, tensor.index)
        for number, graph in enumerate(graphs)
        for tensor in graph.tensors
        if tensor.buffer == buffer
    )


def _reason(
    graphs: Sequence[FlatModel], number: int, op: Operator, tensor: Tensor, holders: Sequence[tuple[int, int]]
) -> str:
    """What keeps a weight from being pruned, whatever the recipe says."""
    if op.name not in PRUNABLE:
        return f"{op.name} is left dense (pruned are {' and '.join(PRUNABLE)})"
    if tensor.type not in PRUNABLE_TYPES:
        return f"weights of type {tensor.type} are left (pruned are {', '.join(PRUNABLE_TYPES)})"
    if tensor.type == "INT8":
        if not tensor.scale or len(tensor.scale) not in (1, tensor.shape[0]):
            return f"its int8 weights have {len(tensor.scale)} scales, where 1 or {tensor.shape[0]} are expected"
        if any(tensor.zero_point):
            return f"the zero point of its int8 weights is {max(tensor.zero_point, key=abs)}: no stored value is 0"
    for graph, index in holders:
        held = graphs[graph].tensors[index]
        if index in graphs[graph].outputs:
            return "it is an output of the model"
        if tensor.type == "FLOAT16" and any(op.name != "DEQUANTIZE" for op in graphs[graph].consumers(index)):
            return "its float16 values are read without a DEQUANTIZE"
        if (held.shape, held.type) != (tensor.shape, tensor.type):
            return f"its values are shared by a tensor of another shape or type, {held.name}"
        for reader, read in readers(graphs[graph], index):
            if reader.name not in PRUNABLE or reader.inputs[1] != read:
                return f"it is also read by {reader.name}"
            if why := _unusual(graphs[graph], reader, tensor):
                return why
    return ""


def _unusual(graph: FlatModel, op: Operator, tensor: Tensor) -> str:
    inputs = graph.tensors[op.inputs[0]].shape
    if op.name == "CONV_2D" and inputs and inputs[-1] != tensor.shape[-1]:
        return f"grouped convolutions are left dense ({inputs[-1]} channels in, {tensor.shape[-1]} in each kernel)"
    if op.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return f"its weights are stored as {op.options['weights_format']}"
    return ""
