"""The manifest's table: how each kernel is stored in a file, how dense it is, and why not as its recipe wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgesparse.convert.bundle import DENSE, Layer
from edgesparse.convert.flatbuffer import FlatModel, Operator, Tensor

# Operators that have a kernel, always as input 1.
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")

# The converter stores a kernel sparsely from this share of zeros on.
CONVERTER_MIN_ZEROS = 0.3


@dataclass(frozen=True)
class Wish:
    """What pruning did to a layer: its pattern ("dense" where it did nothing) and why not more."""

    pattern: str
    reason: str


NO_WISH = Wish(DENSE, "")


def kernel_operators(found: FlatModel) -> list[Operator]:
    """The operators with a kernel, in execution order."""
    return [op for op in found.operators if op.name in KERNEL_OPERATORS and found.constant(op.inputs[1]) is not None]


def kernels_of(graphs: Sequence[FlatModel]) -> list[tuple[FlatModel, Operator]]:
    """The operators with a kernel in all graphs of a file: those of the main one, then of the others those whose
    weights none before has."""
    main, *others = graphs
    found = [(main, op) for op in kernel_operators(main)]
    seen = {_stored(main, op).buffer for op in kernel_operators(main)}
    for graph in others:
        for op in kernel_operators(graph):
            if (buffer := _stored(graph, op).buffer) not in seen:
                seen.add(buffer)
                found.append((graph, op))
    return found


def _stored(graph: FlatModel, op: Operator) -> Tensor:
    return graph.tensors[graph.constant(op.inputs[1]) or 0]


def describe_layers(
    main: FlatModel, names: Mapping[int, str], wishes: Mapping[str, Wish], others: Sequence[FlatModel] = ()
) -> list[Layer]:
    """One row for each operator with a kernel.

    Args:
        main: the file's main graph.
        names: the layer behind an operator, by its place in `kernels_of`, where it is known.
        wishes: what pruning did, by layer name.
        others: the file's other graphs.
    """
    rows = []
    for place, (found, op) in enumerate(kernels_of([main, *others])):
        constant = _stored(found, op)
        name = names.get(place, constant.name)
        wish = wishes.get(name, NO_WISH)
        density = found.stored_density(constant.index)
        encoding = found.encoding(op.inputs[1])
        rows.append(
            Layer(
                name=name,
                op=op.name,
                shape=constant.shape,
                pattern=wish.pattern,
                density=density,
                weights=math.prod(constant.shape),
                bytes=constant.stored_bytes,
                encoding=encoding,
                reason=wish.reason or _stored_dense(wish, density, encoding, constant.type),
            )
        )
    return rows


def overall_density(layers: list[Layer]) -> float:
    """Non-zeros over weights, of all kernels together; 1 for a model without any."""
    weights = sum(layer.weights for layer in layers)
    return sum(layer.density * layer.weights for layer in layers) / weights if weights else 1.0


def _stored_dense(wish: Wish, density: float, encoding: str, kind: str) -> str:
    if wish.pattern == DENSE or encoding != DENSE:
        return ""
    if kind == "INT8":
        return "int8 weights stay dense: no runtime reads them stored sparse, and kernels find the zeros"
    zeros = 1 - density
    if zeros < CONVERTER_MIN_ZEROS:
        return f"{zeros:.0%} zeros: the converter stores kernels under {CONVERTER_MIN_ZEROS:.0%} dense"
    return "the converter has no sparse encoding for this operator"


def layer_name(found: FlatModel, op: Operator) -> str:
    """The layer's name in a tensor name like `model/act/Relu6;model/conv/BiasAdd;model/conv/Conv2D`, if it is there."""
    suffix = {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "MatMul"}.get(op.name)
    names = [found.tensors[t].name for t in (*op.inputs[1:2], *op.outputs[:1]) if t != -1]
    for part in (part for name in names for part in name.split(";")):
        steps = part.split("/")
        if suffix and len(steps) > 1 and steps[-1].rstrip("0123456789") == suffix.rstrip("0123456789"):
            return steps[-3] if steps[-2] == "Tensordot" and len(steps) > 2 else steps[-2]
    return ""
