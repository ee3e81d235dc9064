"""A float .tflite file of the benchmark networks as ONNX, channels first, for runtimes that read no TFLite.

The graph is the same operator by operator, so no runtime gets another network than the others; only the layout is
turned, and a PAD in front of a convolution becomes its padding, as every ONNX exporter writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesparse.convert.flatbuffer import FlatModel, Operator, read_model
from edgesparse.errors import ModelError

OPSET = 17
IR_VERSION = 8

Pads = tuple[int, int, int, int]  # top, left, bottom, right


def to_onnx(file: Path) -> bytes:
    """The ONNX model; its input and 4-D tensors are channels first.

    Raises:
        ModelError: an operator that none of the benchmark networks has.
    """
    return bytes(_Export(read_model(file)).model().SerializeToString())


class _Export:
    def __init__(self, flat: FlatModel) -> None:
        self.flat = flat
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.pads: dict[int, tuple[int, Pads]] = {}  # of a PAD that went into its convolution: its input, its pads

    def model(self) -> Any:
        for op in self.flat.operators:
            if op.name in ("DEQUANTIZE", "DENSIFY") and self.flat.constant(op.outputs[0]) is not None:
                continue  # `FlatModel.weights` looks through it
            if op.name not in _WRITERS:
                raise ModelError(f"{self.flat.source}: no way to write {op.name} as ONNX is known.",
                                 hint="Compare a network of `edgesparse networks list`.")  # fmt: skip
            _WRITERS[op.name](self, op)
        entry, exit_ = self.flat.inputs[0], self.flat.outputs[0]
        graph = helper.make_graph(
            self.nodes, "network", [self.described(entry)], [self.described(exit_)], self.constants
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(made)
        return made

    def shape(self, index: int) -> tuple[int, ...]:
        """Channels first where there are height and width."""
        shape = self.flat.tensors[index].shape
        return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape

    def described(self, index: int) -> Any:
        return helper.make_tensor_value_info(name(index), TensorProto.FLOAT, self.shape(index))

    def constant(self, label: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), label))
        return label

    def floats(self, label: str, index: int, order: tuple[int, ...] | None = None) -> str:
        values = self.flat.weights(index).astype(np.float32)
        return self.constant(label, values if order is None else values.transpose(order))

    def add(self, kind: str, inputs: list[str], op: Operator, **attributes: Any) -> None:
        """One node, and the activation that TFLite fused into it."""
        out = name(op.outputs[0])
        activation = op.options.get("activation", "NONE")
        bare = out if activation == "NONE" else f"{out}_bare"
        self.nodes.append(helper.make_node(kind, inputs, [bare], name=f"op{op.index}", **attributes))
        if activation == "RELU":
            self.nodes.append(helper.make_node("Relu", [bare], [out], name=f"op{op.index}_relu"))
        elif activation == "RELU6":
            limits = [self.constant(f"{out}_{limit}", np.float32(limit)) for limit in (0, 6)]
            self.nodes.append(helper.make_node("Clip", [bare, *limits], [out], name=f"op{op.index}_relu6"))
        elif activation != "NONE":
            raise ModelError(f"{self.flat.source}: no way to write the activation {activation} as ONNX is known.")

    def convolution(self, op: Operator) -> None:
        source, kernel = op.inputs[0], self.flat.weights(op.inputs[1])
        depthwise = op.name == "DEPTHWISE_CONV_2D"
        source, before = self.pads.get(source, (source, (0, 0, 0, 0)))
        size, out = self.flat.tensors[op.inputs[0]].shape[1:3], self.flat.tensors[op.outputs[0]].shape[1:3]
        pads = _added(before, _same(op, size, kernel.shape[1:3], out))
        inputs = [name(source), self.floats(f"w{op.index}", op.inputs[1], (3, 0, 1, 2) if depthwise else (0, 3, 1, 2))]
        if len(op.inputs) > 2 and op.inputs[2] != -1:
            inputs.append(self.floats(f"b{op.index}", op.inputs[2]))
        self.add("Conv", inputs, op, kernel_shape=list(kernel.shape[1:3]), pads=list(pads), strides=_strides(op),
                 dilations=[op.options["dilation_h"], op.options["dilation_w"]],
                 group=self.flat.tensors[op.inputs[0]].shape[3] if depthwise else 1)  # fmt: skip

    def fully_connected(self, op: Operator) -> None:
        inputs = [name(op.inputs[0]), self.floats(f"w{op.index}", op.inputs[1])]
        if len(op.inputs) > 2 and op.inputs[2] != -1:
            inputs.append(self.floats(f"b{op.index}", op.inputs[2]))
        self.add("Gemm", inputs, op, transB=1)

    def pad(self, op: Operator) -> None:
        amounts = self.flat.weights(op.inputs[1])
        pads = (int(amounts[1][0]), int(amounts[2][0]), int(amounts[1][1]), int(amounts[2][1]))
        readers = self.flat.consumers(op.outputs[0])
        if all(each.name in ("CONV_2D", "DEPTHWISE_CONV_2D") for each in readers):
            self.pads[op.outputs[0]] = (op.inputs[0], pads)
            return
        top, left, bottom, right = pads
        values = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        self.add("Pad", [name(op.inputs[0]), self.constant(f"p{op.index}", values)], op)

    def max_pool(self, op: Operator) -> None:
        window = (op.options["filter_height"], op.options["filter_width"])
        size, out = self.flat.tensors[op.inputs[0]].shape[1:3], self.flat.tensors[op.outputs[0]].shape[1:3]
        self.add("MaxPool", [name(op.inputs[0])], op, kernel_shape=list(window), strides=_strides(op),
                 pads=list(_same(op, size, window, out)))  # fmt: skip

    def mean(self, op: Operator) -> None:
        axes = sorted(int(axis) for axis in self.flat.weights(op.inputs[1]).ravel())
        if axes != [1, 2]:
            raise ModelError(f"{self.flat.source}: expected a mean over height and width, found axes {axes}.")
        out = name(op.outputs[0])
        pooled = out if len(self.shape(op.outputs[0])) == 4 else f"{out}_pooled"
        self.nodes.append(helper.make_node("GlobalAveragePool", [name(op.inputs[0])], [pooled], name=f"op{op.index}"))
        if pooled != out:
            self.nodes.append(helper.make_node("Flatten", [pooled], [out], name=f"op{op.index}_flat", axis=1))

    def reshape(self, op: Operator) -> None:
        before = self.flat.tensors[op.inputs[0]].shape
        if len(before) == 4 and before[1:3] != (1, 1):
            raise ModelError(f"{self.flat.source}: expected a reshape of one pixel, found {list(before)}.")
        values = np.array(self.shape(op.outputs[0]), np.int64)
        self.add("Reshape", [name(op.inputs[0]), self.constant(f"s{op.index}", values)], op)

    def sum_of_two(self, op: Operator) -> None:
        self.add("Add", [name(index) for index in op.inputs], op)

    def softmax(self, op: Operator) -> None:
        self.add("Softmax", [name(op.inputs[0])], op, axis=-1)


def name(index: int) -> str:
    """Of a tensor: TFLite's own names are long and may repeat."""
    return f"t{index}"


def _same(op: Operator, size: tuple[int, ...], window: tuple[int, ...], out: tuple[int, ...]) -> Pads:
    """What SAME pads: the odd one goes to the end."""
    if op.options["padding"] != "SAME":
        return 0, 0, 0, 0
    dilations = (op.options.get("dilation_h", 1), op.options.get("dilation_w", 1))
    whole = [
        max((out[axis] - 1) * _strides(op)[axis] + (window[axis] - 1) * dilations[axis] + 1 - size[axis], 0)
        for axis in (0, 1)
    ]
    return whole[0] // 2, whole[1] // 2, whole[0] - whole[0] // 2, whole[1] - whole[1] // 2


def _strides(op: Operator) -> list[int]:
    return [op.options["stride_h"], op.options["stride_w"]]


def _added(one: Pads, other: Pads) -> Pads:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


_WRITERS: dict[str, Callable[[_Export, Operator], None]] = {
    "ADD": _Export.sum_of_two,
    "CONV_2D": _Export.convolution,
    "DEPTHWISE_CONV_2D": _Export.convolution,
    "FULLY_CONNECTED": _Export.fully_connected,
    "MAX_POOL_2D": _Export.max_pool,
    "MEAN": _Export.mean,
    "PAD": _Export.pad,
    "RESHAPE": _Export.reshape,
    "SOFTMAX": _Export.softmax,
}
