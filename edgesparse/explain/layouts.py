"""Operators that XNNPACK's channel-major layout makes compute wrong values, or keeps from starting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgesparse.convert.flatbuffer import FlatModel, Operator
from edgesparse.explain.clusters import READ_ONCE, Layout, Node
from edgesparse.explain.forecast import PathForecast
from edgesparse.explain.partition import PIXEL_AXES, axes
from edgesparse.explain.runtimes import Runtime


def label(op: Operator) -> str:
    """How an operator is called in a sentence."""
    return f"{op.name} (operator {op.index})"


def layout_problems(
    model: FlatModel, nodes: Sequence[Node], layouts: Sequence[Layout], runtime: Runtime
) -> dict[int, PathForecast]:
    """By operator: those that receive channel-major values and do not give back what the next one expects."""
    writes = {node.output for node, layout in zip(nodes, layouts, strict=True) if layout.writes}
    found = {}
    for node, layout in zip(nodes, layouts, strict=True):
        op = model.operators[node.operator]
        problem = _reduction_problem(model, op, layout, writes) if runtime.reduction_loses_shape else None
        if layout.reads and op.name in runtime.reductions and problem is not None:
            found[op.index] = problem
        elif layout.misreads and not node.inside:
            reason = (
                "it takes channel-major values for NHWC: XNNPACK overlooks it beside an operator that reads the same "
                "tensor twice"
            )
            found[op.index] = PathForecast(path="wrong", kernel="XNNPACK", reason=reason, cure=READ_ONCE)
        elif layout.misreads:
            readers = model.consumers(op.outputs[0])
            to = f"{label(readers[0])} reads it as NHWC" if readers else "it is an output of the model"
            reason = f"last in a sparse cluster that no pooling ends: it takes channel-major values for NHWC, and {to}"
            found[op.index] = PathForecast(path="wrong", kernel="XNNPACK", reason=reason, cure=_OPEN_END)
    return found


def _reduction_problem(model: FlatModel, op: Operator, layout: Layout, writes: set[int]) -> PathForecast | None:
    """XNNPACK computes the shape of a channel-major reduction's output in the order of the channel-major dimensions."""
    if op.name not in ("MEAN", "SUM") or not layout.reads:
        return None
    if axes(model, op) != PIXEL_AXES:
        reason = f"{op.name} in a sparse cluster over other dimensions than height and width"
        cure = "Reduce height and width only."
        return PathForecast(path="fails" if layout.writes else "wrong", kernel="XNNPACK", reason=reason, cure=cure)
    readers = model.consumers(op.outputs[0])
    if not op.options.get("keep_dims"):
        return None
    if layout.writes:
        # Its shape comes out as (1, 1, 1, height). Kernels that know their channels do not look at it.
        _, height, _, channels = model.tensors[op.inputs[0]].shape
        bad = next((r for r in readers if height != channels and not _knows_channels(r, writes)), None)
        if bad is None:
            return None
        reason = f"{op.name} with keepdims in a sparse cluster gives {label(bad)} a wrong shape: no interpreter starts"
        return PathForecast(path="fails", kernel="XNNPACK", reason=reason, cure=_NO_KEEPDIMS)
    if op.outputs[0] not in model.outputs and all(_reads_flat(r) for r in readers):
        return None
    reason = f"{op.name} with keepdims ends a sparse cluster with the shape (1, channels, 1, 1)"
    # Shapes computed at run time meet the wrong one while the interpreter is being set up.
    path: Literal["fails", "wrong"] = "fails" if any(r.name == "SHAPE" for r in readers) else "wrong"
    return PathForecast(path=path, kernel="XNNPACK", reason=reason, cure=_NO_KEEPDIMS)


def _knows_channels(op: Operator, writes: set[int]) -> bool:
    if op.name == "FULLY_CONNECTED" and not op.options.get("keep_num_dims"):
        return True
    return op.name in ("CONV_2D", "FULLY_CONNECTED") and op.outputs[0] in writes


def _reads_flat(op: Operator) -> bool:
    """One pixel's channels come out alike, whichever of the last dimensions they are called."""
    if op.name == "FULLY_CONNECTED":
        return not op.options.get("keep_num_dims")
    return op.name in ("RESHAPE", "MAX_POOL_2D", "AVERAGE_POOL_2D")


_NO_KEEPDIMS = "Leave keepdims out of the global pooling, and put Dense layers behind it rather than convolutions."
_OPEN_END = (
    "End the cluster with GlobalAveragePooling2D in front of what XNNPACK cannot compute channel-major, "
    "or deploy the file with dense weights."
)
