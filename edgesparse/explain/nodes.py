"""TFLite operators as nodes of XNNPACK's graph: which can compute channel-major, and what keeps the others from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgesparse.convert.flatbuffer import FlatModel, Operator
from edgesparse.explain.clusters import Node, Obstacle
from edgesparse.explain.partition import PIXEL_AXES, axes, is_float, is_unpacking, run_time_inputs
from edgesparse.explain.runtimes import Runtime

Padding = tuple[int, int, int, int]  # top, bottom, left, right

_EXPLICIT_PADDING = "Put ZeroPadding2D({0}) in front and use VALID padding instead of SAME."


def make_nodes(model: FlatModel, group: Sequence[Operator], runtime: Runtime) -> list[Node]:
    """The nodes of one partition, in order; a PAD that XNNPACK fuses into the convolution behind it is part of that."""
    inside = {op.index for op in group}
    fused: dict[int, Operator] = {}
    for op in group:
        consumers = model.consumers(op.outputs[0])
        if (
            _zero_padding(model, op) is not None
            and len(consumers) == 1
            and consumers[0].name in ("CONV_2D", "DEPTHWISE_CONV_2D")
            and consumers[0].options["padding"] == "VALID"
            and consumers[0].index in inside
            and op.outputs[0] not in model.outputs
        ):
            fused[consumers[0].index] = op
    nodes = []
    for op in group:
        if is_unpacking(model, op) or op in fused.values():
            continue
        pad = fused.get(op.index)
        nodes.append(_node(model, op, pad, runtime))
    return nodes


def _node(model: FlatModel, op: Operator, pad: Operator | None, runtime: Runtime) -> Node:
    shape = model.tensors[op.outputs[0]].shape
    node = Node(op.index, run_time_inputs(model, pad or op), op.outputs[0], one_pixel=_pixels(shape) == 1)
    if op.name == "MUL" and runtime.repeated_input_branches and len(set(op.inputs)) == 1:
        node.inputs = node.inputs[:1]  # XNNPACK squares it, with one input
    if not is_float(model, op):
        types = {model.tensors[t].type.lower() for t in (*op.inputs[:2], *op.outputs) if t != -1}
        kind = " and ".join(sorted(types))
        node.obstacle = Obstacle(op.index, f"XNNPACK's sparse kernels are float only, this is {kind}", _FLOAT)
    elif op.name == "CONV_2D":
        _convolution(model, op, node, _padding(model, op, pad))
    elif op.name == "DEPTHWISE_CONV_2D":
        _depthwise(model, op, node, _padding(model, op, pad))
    elif op.name == "FULLY_CONNECTED" and runtime.fully_connected_inside:
        node.inside = True
        _count(model, op, node)
    elif op.name == "DEPTH_TO_SPACE":
        node.ends = True
    elif op.name in runtime.reductions and _reduces_pixels(model, op, runtime):
        node.inside = node.ends = True
    elif op.name in ("ADD", "MUL"):
        _binary(model, op, node)
    elif op.name == "RESIZE_BILINEAR":
        node.inside = min(model.tensors[op.inputs[0]].shape[1:3]) > 1
    elif op.name in runtime.unary:
        node.inside = len(model.tensors[op.inputs[0]].shape) == 4
    if not (node.inside or node.begins or node.ends) and node.obstacle is None:
        cure = f"Replace {op.name}, or move it behind the global pooling."
        node.obstacle = Obstacle(op.index, f"XNNPACK cannot compute {op.name} channel-major", cure)
    return node


_FLOAT = "Deploy a float32 file, or let csr run it: XNNPACK skips zeros of float weights only."


def _convolution(model: FlatModel, op: Operator, node: Node, padding: Padding | None) -> None:
    _, height, width, inputs = model.tensors[op.inputs[1]].shape
    stride = (op.options["stride_h"], op.options["stride_w"])
    groups = model.tensors[op.inputs[0]].shape[-1] // max(inputs, 1)
    dilated = (op.options["dilation_h"], op.options["dilation_w"]) != (1, 1)
    reason, cure = "", "Replace it by a depthwise 3x3 and a 1x1 convolution."
    if groups != 1:
        reason = f"a convolution in {groups} groups"
    elif dilated:
        reason = "a dilated convolution"
    elif (height, width) == (1, 1):
        _count(model, op, node)
        if padding != (0, 0, 0, 0):
            reason, cure = "a padded 1x1 convolution", "Remove the padding."
        elif stride != (1, 1):
            reason = f"a 1x1 convolution of stride {stride[0]}"
            cure = "Use stride 1, and let a depthwise convolution with explicit padding take the stride."
        else:
            node.inside = True
    elif (height, width) == (3, 3) and inputs == 3 and stride == (2, 2):
        if padding == (1, 1, 1, 1):
            node.begins = True
        else:
            reason, cure = _padding_reason("the first convolution", padding, 1)
    elif (height, width) == (3, 3) and inputs == 3:
        reason = f"the first convolution has stride {stride[0]}; a sparse cluster begins only with stride 2"
        cure = "Give the first convolution stride 2, with ZeroPadding2D(1) and VALID padding."
    else:
        reason = f"a {height}x{width} convolution; XNNPACK has sparse kernels for 1x1 only"
        if inputs != 3 and model.producer(node.inputs[0]) is None:
            reason = f"a sparse cluster begins only with a 3x3 convolution over 3 channels, not over {inputs}"
            cure = "Feed 3 input channels (repeat the one) into a 3x3 convolution of stride 2."
    if reason:
        node.obstacle = Obstacle(op.index, reason, cure)


def _depthwise(model: FlatModel, op: Operator, node: Node, padding: Padding | None) -> None:
    _, height, width, _ = model.tensors[op.inputs[1]].shape
    stride = (op.options["stride_h"], op.options["stride_w"])
    channels = model.tensors[op.inputs[0]].shape[-1]
    reason, cure = "", "Use 3x3 or 5x5, stride 1 or 2, depth multiplier 1, no dilation."
    if (op.options["dilation_h"], op.options["dilation_w"]) != (1, 1):
        reason = "a dilated depthwise convolution"
    elif channels != model.tensors[op.outputs[0]].shape[-1]:
        reason = "a depthwise convolution with a depth multiplier"
    elif stride not in ((1, 1), (2, 2)):
        reason = f"a depthwise convolution of stride {stride[0]}x{stride[1]}"
    elif (height, width) not in ((3, 3), (5, 5)):
        reason = f"a {height}x{width} depthwise convolution"
    elif padding != (height // 2,) * 4:
        reason, cure = _padding_reason("a depthwise convolution", padding, height // 2)
    else:
        node.inside = True
    if reason:
        node.obstacle = Obstacle(op.index, reason, cure)


def _padding_reason(what: str, padding: Padding | None, wanted: int) -> tuple[str, str]:
    if padding is None:
        return f"{what} has stride 2 with SAME padding", _EXPLICIT_PADDING.format(wanted)
    sides = "top {}, bottom {}, left {}, right {}".format(*padding)
    return f"{what} pads {sides}; it has to be {wanted} on every side", _EXPLICIT_PADDING.format(wanted)


def _binary(model: FlatModel, op: Operator, node: Node) -> None:
    shapes = [model.tensors[t].shape for t in op.inputs]
    constants = [k for k, t in enumerate(op.inputs) if model.constant(t) is not None]
    # XNNPACK asks whether a constant is a vector, but for the second input it looks at the first one's shape.
    vector = sum(size != 1 for size in shapes[0]) <= 1
    if any(len(shape) != 4 for shape in shapes) or (constants and not vector):
        what = "with a constant" if constants else "on tensors that have not 4 dimensions"
        cure = "Fold the constant into the convolution before it." if constants else "Keep both inputs 4-dimensional."
        node.obstacle = Obstacle(op.index, f"{op.name} {what}, which XNNPACK cannot compute channel-major", cure)
    else:
        node.inside = True


def _count(model: FlatModel, op: Operator, node: Node) -> None:
    constant = model.constant(op.inputs[1])
    if constant is not None:
        node.parameters = math.prod(model.tensors[constant].shape)
        node.zeros = node.parameters - model.stored_nonzeros(constant)


def _reduces_pixels(model: FlatModel, op: Operator, runtime: Runtime) -> bool:
    rank = len(model.tensors[op.inputs[0]].shape)
    return rank == 4 and (runtime.any_axes or axes(model, op) == PIXEL_AXES)


def _zero_padding(model: FlatModel, op: Operator) -> Padding | None:
    if op.name != "PAD" or model.constant(op.inputs[1]) is None or len(model.tensors[op.inputs[0]].shape) != 4:
        return None
    (b0, b1), (top, bottom), (left, right), (c0, c1) = model.weights(op.inputs[1]).tolist()
    return (top, bottom, left, right) if (b0, b1, c0, c1) == (0, 0, 0, 0) else None


def _padding(model: FlatModel, op: Operator, pad: Operator | None) -> Padding | None:
    """The padding as numbers; None for SAME padding that depends on the input's size."""
    if op.options["padding"] == "VALID":
        return (_zero_padding(model, pad) if pad else None) or (0, 0, 0, 0)
    _, height, width, _ = model.tensors[op.inputs[1]].shape
    if (op.options["stride_h"], op.options["stride_w"]) != (1, 1):
        # A 1x1 kernel needs no padding whatever its stride.
        return (0, 0, 0, 0) if (height, width) == (1, 1) else None
    rows, columns = (height - 1) * op.options["dilation_h"], (width - 1) * op.options["dilation_w"]
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def _pixels(shape: tuple[int, ...]) -> int:
    return math.prod(shape[1:-1]) if len(shape) > 2 else 1
