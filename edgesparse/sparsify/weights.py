"""The weights of a .tflite file that can be pruned: which tensors hold them, who reads them, and why others stay.

A weight is a buffer. Several tensors, of several graphs, can hold one, and several operators read each: all have to
agree on it, for there is one set of zeros.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesparse.convert.encodings import Array
from edgesparse.convert.flatbuffer import FlatModel, Operator, Tensor
from edgesparse.convert.layers import (
    PRUNABLE,
    UNPACKING,
    kernel_operators,
    other_weights,
    readers,
    weight_names,
    why_left,
)
from edgesparse.errors import RecipeError
from edgesparse.patterns import Filter, Pattern, misfit
from edgesparse.recipe import Recipe

PRUNABLE_TYPES = ("FLOAT32", "FLOAT16", "INT8")


@dataclass(frozen=True)
class Weight:
    """One buffer that operators read as their kernel, or as weights of another kind, which are left.

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
    """Every weight of a file, and what becomes of it: kernels, in the order in which the main graph comes to them, then
    the weights of other operators.

    Raises:
        RecipeError: none is pruned; the message gives each one's reason. Or it names a layer that there is not.
    """
    names, last = weight_names(graphs), [_last_kernels(graph) for graph in graphs]
    found: list[Weight] = []
    seen: set[int] = set()
    for number, op in ((number, op) for number, graph in enumerate(graphs) for op in kernel_operators(graph)):
        tensor = graphs[number].tensors[graphs[number].constant(op.inputs[1]) or 0]
        if tensor.buffer in seen:
            continue
        seen.add(tensor.buffer)
        name = names[tensor.buffer]
        holders = _holders(graphs, tensor.buffer)
        reason = _reason(graphs, number, op, tensor, holders)
        reason = reason or recipe.unselected(name) or ""
        if not reason and not found and not recipe.first_layer and op.name != "FULLY_CONNECTED":
            reason = "left as the first convolution: few weights, and accuracy hangs on them (--first-layer prunes it)"
        if not reason and isinstance(pattern, Filter) and _makes_outputs(graphs, holders, last):
            reason = "left as the last layer: its outputs are the model's"
        reason = reason or misfit(tensor.shape, pattern) or ""
        found.append(Weight(name, op, number, tensor, holders, reason))
    for graph, op, tensor in other_weights(graphs):
        holders = _holders(graphs, tensor.buffer)
        reason = why_left(op, kernel=False)
        found.append(Weight(names[tensor.buffer], op, graphs.index(graph), tensor, holders, reason))
    _check_names(recipe, [weight.name for weight in found])
    if all(weight.reason for weight in found):
        raise RecipeError(
            f"Recipe {recipe.name} prunes no layer of {graphs[0].source} ({_left(found)}).",
            hint="Take another pattern, or change include, exclude and first_layer.",
        )
    return found


def _left(weights: Sequence[Weight]) -> str:
    """Each reason, after the names of the layers that it is for."""
    names: dict[str, list[str]] = {}
    for weight in weights:
        names.setdefault(weight.reason, []).append(weight.name)
    told = [
        f"{', '.join(those[:3])}{f' and {len(those) - 3} more' if len(those) > 3 else ''}: {reason}"
        for reason, those in names.items()
    ]
    return "; ".join(told) or "no operator of it reads weights that it stores"


def _check_names(recipe: Recipe, names: Sequence[str]) -> None:
    """Make sure that every expression is of a layer of the file: a misspelt one would do nothing."""
    recipe.check_layers(names)
    for key, expressions in (("include", recipe.include), ("exclude", recipe.exclude)):
        for expression in expressions:
            if names and not any(re.fullmatch(expression, name) for name in names):
                raise RecipeError(
                    f"{key}: {expression!r} matches no layer of the file.",
                    hint=f"Its layers with weights are {', '.join(names)}.",
                )


def _last_kernels(graph: FlatModel) -> set[int]:
    """The operators with a kernel whose outputs reach one of the graph's with no kernel in between that mixes them."""
    found: set[int] = set()
    kernels = {op.index for op in kernel_operators(graph)}
    to_see, seen = list(graph.outputs), set(graph.outputs)
    while to_see:
        op = graph.producer(to_see.pop())
        if op is None:
            continue
        if op.index in kernels:
            found.add(op.index)
            if op.name != "DEPTHWISE_CONV_2D":  # a channel of which is one of what it reads
                continue
        fresh = {index for index in op.inputs if index != -1} - seen
        seen |= fresh
        to_see += fresh
    return found


def _makes_outputs(graphs: Sequence[FlatModel], holders: Sequence[tuple[int, int]], last: Sequence[set[int]]) -> bool:
    return any(op.index in last[number] for number, index in holders for op, _ in readers(graphs[number], index))


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
        return why_left(op)
    if tensor.type not in PRUNABLE_TYPES:
        return f"weights of type {tensor.type} are left (pruned are {', '.join(PRUNABLE_TYPES)})"
    if tensor.type == "INT8":
        if not tensor.scale or len(tensor.scale) not in (1, tensor.shape[0]):
            return f"its int8 weights have {len(tensor.scale)} scales, where 1 or {tensor.shape[0]} are expected"
        if any(tensor.zero_point):
            return f"the zero point of its int8 weights is {max(tensor.zero_point, key=abs)}: no stored value is 0"
    for graph, index in holders:
        held = graphs[graph].tensors[index]
        if _unpacked(graphs[graph], index) & set(graphs[graph].outputs):
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


def _unpacked(graph: FlatModel, index: int) -> set[int]:
    """A constant, and the tensors that are the same values unpacked."""
    made = (output for op in graph.consumers(index) if op.name in UNPACKING for output in op.outputs)
    return {index}.union(*(_unpacked(graph, output) for output in made))


def _unusual(graph: FlatModel, op: Operator, tensor: Tensor) -> str:
    inputs = graph.tensors[op.inputs[0]].shape
    if op.name == "CONV_2D" and inputs and inputs[-1] != tensor.shape[-1]:
        return f"grouped convolutions are left dense ({inputs[-1]} channels in, {tensor.shape[-1]} in each kernel)"
    if op.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return f"its weights are stored as {op.options['weights_format']}"
    return ""
