"""Which operators XNNPACK takes, and the partitions that they fall into: XNNPACK sees each partition as one graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgesparse.convert.flatbuffer import FlatModel, Operator
from edgesparse.explain.runtimes import Runtime

# Inputs that say what an operator does rather than give data: XNNPACK needs them as constants.
_PARAMETERS = {
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "PAD": (1,),
    "RANGE": (0, 1, 2),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}
PIXEL_AXES = {1, 2}
_FLOATS = ("FLOAT32", "FLOAT16")
_BLOCK_SPARSE_VERSION = 8


def is_unpacking(model: FlatModel, op: Operator) -> bool:
    """DENSIFY or DEQUANTIZE of a constant, done once before the first inference."""
    return op.name in ("DENSIFY", "DEQUANTIZE") and model.constant(op.outputs[0]) is not None


def run_time_inputs(model: FlatModel, op: Operator) -> tuple[int, ...]:
    """The tensors an operator reads that are computed at run time, parameters left out."""
    skip = {op.inputs[k] for k in _PARAMETERS.get(op.name, ()) if k < len(op.inputs)}
    return tuple(t for t in op.inputs if t != -1 and t not in skip and model.constant(t) is None)


def shape_at_run_time(model: FlatModel, op: Operator) -> bool:
    """What it does depends on a tensor that is computed at run time."""
    places = [k for k in _PARAMETERS.get(op.name, ()) if k < len(op.inputs) and op.inputs[k] != -1]
    return any(model.constant(op.inputs[k]) is None for k in places)


def axes(model: FlatModel, op: Operator) -> set[int]:
    """The dimensions that a reduction removes."""
    rank = len(model.tensors[op.inputs[0]].shape)
    return {int(axis) % rank for axis in np.atleast_1d(model.weights(op.inputs[1])).ravel()}


def is_float(model: FlatModel, op: Operator) -> bool:
    """All tensors that it computes with are float."""
    used = [*run_time_inputs(model, op), *op.outputs, *op.inputs[1:2]]
    skip = {op.inputs[k] for k in _PARAMETERS.get(op.name, ()) if k < len(op.inputs)}
    return all(model.tensors[t].type in _FLOATS for t in used if t != -1 and t not in skip)


def refusal(model: FlatModel, op: Operator, runtime: Runtime) -> str:
    """Why XNNPACK does not take an operator; "" if it does."""
    if op.name not in runtime.delegated:
        return f"XNNPACK does not take {op.name}"
    if shape_at_run_time(model, op):
        return "its shape is computed at run time"
    if op.name in ("MEAN", "SUM") and not runtime.any_axes and axes(model, op) != PIXEL_AXES:
        return f"{runtime.name} gives XNNPACK a {op.name} over height and width only"
    if op.name == "FULLY_CONNECTED" and op.version == _BLOCK_SPARSE_VERSION:
        return f"XNNPACK refuses FULLY_CONNECTED of version {_BLOCK_SPARSE_VERSION}, the block-sparse one"
    if not is_float(model, op) and not runtime.integers and not is_unpacking(model, op):
        return f"{runtime.name} gives XNNPACK float operators only"
    return ""


def partitions(model: FlatModel, runtime: Runtime, without: Collection[int] = ()) -> list[list[Operator]]:
    """The delegated operators, in partitions as TFLite forms them; those of `without` went to another delegate before.

    TFLite gathers, in turns, all operators of the one and of the other kind whose inputs are ready.
    """
    if runtime.static_only and any(shape_at_run_time(model, op) for op in model.operators):
        return []
    taken = {op.index: op.index not in without and not refusal(model, op, runtime) for op in model.operators}
    waiting = list(model.operators)
    made = {t for t in range(len(model.tensors)) if model.producer(t) is None}
    found: list[list[Operator]] = []
    kind = True
    while waiting:
        group: list[Operator] = []
        rest: list[Operator] = []
        for op in waiting:
            if taken[op.index] == kind and all(t in made for t in op.inputs if t != -1):
                group.append(op)
                made.update(op.outputs)
            else:
                rest.append(op)
        if group and kind:
            found.append(group)
        waiting, kind = rest, not kind
    return found
