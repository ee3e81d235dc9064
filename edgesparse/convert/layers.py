"""The manifest's table: how each kernel is stored in a file, how dense it is, and why not as its recipe wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgesparse.convert.bundle import DENSE, Layer
from edgesparse.convert.flatbuffer import FlatModel, Operator, Tensor

# Operators that have a kernel, always as input 1.
KERNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")

# Those whose kernels are pruned.
PRUNABLE = ("CONV_2D", "FULLY_CONNECTED")
UNPACKING = ("DENSIFY", "DEQUANTIZE")

# Constants that other operators read count as weights if they are numbers of one of these types, and no fewer.
_WEIGHT_TYPES = (
    "FLOAT64", "FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT8_E4M3FN", "FLOAT8_E5M2",
    "INT8", "UINT8", "INT4", "UINT4", "INT2",
)  # fmt: skip
_FEWEST_WEIGHTS = 256

# What `sparsify` appends to the name of a tensor that it stores sparsely and a DENSIFY makes dense.
SPARSE_SUFFIX = "/sparse"

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
    return [
        op
        for op in found.operators
        if op.name in KERNEL_OPERATORS
        and len(op.inputs) > 1
        and op.inputs[1] != -1
        and found.constant(op.inputs[1]) is not None
    ]


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


def other_weights(graphs: Sequence[FlatModel]) -> list[tuple[FlatModel, Operator, Tensor]]:
    """The constants that are weights and no operator's kernel, once each, and the first operator that reads them: an
    LSTM's matrices, the table of a GATHER, what a BATCH_MATMUL or a loop is given.

    Vectors and tables of under 256 values are none, nor are tensors of zeros alone, which states begin with.
    """
    seen = {_stored(graph, op).buffer for graph in graphs for op in kernel_operators(graph)}
    found = []
    for graph in graphs:
        for tensor in graph.tensors:
            if tensor.buffer in seen or not _is_weight(tensor) or not graph.stored_density(tensor.index):
                continue
            reader = next((op for op, _ in readers(graph, tensor.index)), None)
            if reader is not None:
                seen.add(tensor.buffer)
                found.append((graph, reader, tensor))
    return found


def readers(graph: FlatModel, index: int) -> Iterator[tuple[Operator, int]]:
    """The operators that read a constant, also behind what unpacks it, and the tensor that they read."""
    for op in graph.consumers(index):
        if op.name in UNPACKING:
            yield from readers(graph, op.outputs[0])
        else:
            yield op, index


def weight_names(graphs: Sequence[FlatModel]) -> dict[int, str]:
    """What each weight of a file is called, by its buffer: its layer where that is known, or its tensor; numbered where
    several are called the same. `sparsify` and `check` call them so, before and after pruning."""
    held = [(graph, op, _stored(graph, op)) for graph in graphs for op in kernel_operators(graph)]
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for graph, op, tensor in (*held, *other_weights(graphs)):
        if tensor.buffer in names:
            continue
        name = layer_name(graph, op) if op.name in KERNEL_OPERATORS else ""
        name = name or tensor.name.removesuffix(SPARSE_SUFFIX) or f"tensor {tensor.index}"
        counts[name] = counts.get(name, 0) + 1
        names[tensor.buffer] = name if counts[name] == 1 else f"{name}#{counts[name]}"
    return names


def why_left(op: Operator, *, kernel: bool = True) -> str:
    """Why the weights of an operator are not pruned, whatever the recipe."""
    pruned = f"(pruned are {' and '.join(PRUNABLE)})"
    return f"{op.name} is left dense {pruned}" if kernel else f"{op.name} reads it, which is left dense {pruned}"


def _is_weight(tensor: Tensor) -> bool:
    is_matrix = sum(size > 1 for size in tensor.shape) >= 2 and math.prod(tensor.shape) >= _FEWEST_WEIGHTS
    return tensor.has_buffer and is_matrix and tensor.type in _WEIGHT_TYPES


def _stored(graph: FlatModel, op: Operator) -> Tensor:
    return graph.tensors[graph.constant(op.inputs[1]) or 0]


def describe_layers(
    main: FlatModel, names: Mapping[int, str], wishes: Mapping[str, Wish], others: Sequence[FlatModel] = ()
) -> list[Layer]:
    """One row for each operator with a kernel, then one for each of `other_weights`.

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
    others_names = weight_names([main, *others])
    for found, op, constant in other_weights([main, *others]):
        name = others_names[constant.buffer]
        rows.append(
            Layer(
                name=name,
                op=op.name,
                shape=constant.shape,
                pattern=DENSE,
                density=found.stored_density(constant.index),
                weights=math.prod(constant.shape),
                bytes=constant.stored_bytes,
                encoding=DENSE,
                reason=wishes.get(name, NO_WISH).reason or why_left(op, kernel=False),
            )
        )
    return rows


def stored_weights(graphs: Sequence[FlatModel]) -> list[tuple[FlatModel, Tensor]]:
    """All kernels and other weights of a file, each once, however many operators read it."""
    kernels = [(graph, _stored(graph, op)) for graph in graphs for op in kernel_operators(graph)]
    others = [(graph, tensor) for graph, _, tensor in other_weights(graphs)]
    return list({tensor.buffer: (graph, tensor) for graph, tensor in (*kernels, *others)}.values())


def overall_density(graphs: Sequence[FlatModel]) -> float:
    """Non-zeros over weights, of all `stored_weights` together; 1 for a model without any."""
    held = [(math.prod(tensor.shape), graph.stored_density(tensor.index)) for graph, tensor in stored_weights(graphs)]
    weights = sum(size for size, _ in held)
    return sum(size * density for size, density in held) / weights if weights else 1.0


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
    names = [found.tensors[t].name.removesuffix(SPARSE_SUFFIX) for t in (*op.inputs[1:2], *op.outputs[:1]) if t != -1]
    for part in (part for name in names for part in name.split(";")):
        steps = part.split("/")
        if suffix and len(steps) > 1 and steps[-1].rstrip("0123456789") == suffix.rstrip("0123456789"):
            return steps[-3] if steps[-2] == "Tensordot" and len(steps) > 2 else steps[-2]
    return ""
