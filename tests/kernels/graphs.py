"""Small .tflite graphs, written straight through the schema: every layout of weights that a file can have, and
operators that the converter would never put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from edgesparse.convert.flatbuffer import FILE_IDENTIFIER, schema

Array = npt.NDArray[Any]

# How weights are stored: dense, or the order in which dimensions are walked, blocks by dimension, and which levels are
# compressed. The letters stand for outputs, height, width, inputs; a block's own dimension is the small letter doubled.
_LAYOUTS: dict[str, tuple[str, dict[str, int], str]] = {
    "csr": ("ohwi", {}, "i"),
    "csr of everything": ("ohwi", {}, "ohwi"),
    "csr of taps": ("ohwi", {}, "hi"),
    "inputs first": ("ihwo", {}, "o"),
    "block 4x1": ("ohwioo", {"o": 4}, "i"),
    "block 8x1": ("ohwioo", {"o": 8}, "i"),
    "block 16x1": ("ohwioo", {"o": 16}, "i"),
    "block 1x4": ("ohwiii", {"i": 4}, "i"),
    "block 2x2": ("ohwiooii", {"o": 2, "i": 2}, "i"),
    "blocks, inputs first": ("ihwooo", {"o": 4}, "o"),
}
LAYOUTS = ("dense", *_LAYOUTS)


def encode(weights: Array, layout: str) -> tuple[Any, Array]:
    """The sparsity description, as the schema has it, and the stored values of weights of rank 2 or 4."""
    order, blocks, compressed = _levels(layout, weights.ndim)
    dimensions = "ohwi" if weights.ndim == 4 else "oi"
    blocked = [name for name in dimensions if name in blocks]
    split: list[int] = []
    for name, size in zip(dimensions, weights.shape, strict=True):
        split += [size // blocks[name], blocks[name]] if name in blocks else [size]
    names = [part for name in dimensions for part in ([name, name * 2] if name in blocks else [name])]
    tree = weights.reshape(split).transpose([names.index(name) for name in order])

    nodes = np.zeros((1, 0), np.int64)
    levels = []
    for depth, name in enumerate(order):
        used = (tree != 0).any(axis=tuple(range(depth + 1, tree.ndim)))[tuple(nodes.T)]
        used = used.reshape(len(nodes), tree.shape[depth])
        if name in compressed:
            counts = used.sum(axis=1)
            below = np.nonzero(used)[1]
            segments = np.concatenate([[0], np.cumsum(counts)])
            levels.append(_compressed(segments, below))
        else:
            counts, below = np.full(len(nodes), tree.shape[depth]), np.tile(np.arange(tree.shape[depth]), len(nodes))
            levels.append(_dense(tree.shape[depth]))
        nodes = np.column_stack([np.repeat(nodes, counts, axis=0), below])
    found = schema().SparsityParametersT()
    ranks = {name: number for number, name in enumerate([*dimensions, *(name * 2 for name in blocked)])}
    found.traversalOrder = [ranks[name] for name in order]
    found.blockMap = [dimensions.index(name) for name in blocked]
    found.dimMetadata = levels
    return found, tree[tuple(nodes.T)]


def _levels(layout: str, rank: int) -> tuple[list[str], dict[str, int], str]:
    text, blocks, compressed = _LAYOUTS[layout]
    order: list[str] = []
    for letter in text:
        if letter in order:  # seen before: the second of its two is one level, the block's
            if letter * 2 not in order:
                order.append(letter * 2)
        else:
            order.append(letter)
    return ([name for name in order if rank == 4 or name[0] in "oi"], blocks, compressed)


def _dense(size: int) -> Any:
    level = schema().DimensionMetadataT()
    level.format, level.denseSize = schema().DimensionType.DENSE, size
    return level


def _compressed(segments: Array, indices: Array) -> Any:
    level = schema().DimensionMetadataT()
    level.format = schema().DimensionType.SPARSE_CSR
    level.arraySegmentsType, level.arraySegments = _vector(segments)
    level.arrayIndicesType, level.arrayIndices = _vector(indices)
    return level


def _vector(values: Array) -> tuple[int, Any]:
    """In the smallest type that holds them, as the converter does."""
    largest = int(values.max(initial=0))
    name, dtype = next(
        (name, dtype)
        for name, dtype, limit in (("Uint8", "u1", 1 << 8), ("Uint16", "u2", 1 << 16), ("Int32", "i4", 1 << 31))
        if largest < limit
    )
    vector = getattr(schema(), f"{name}VectorT")()
    vector.values = values.astype(dtype)
    return getattr(schema().SparseIndexVector, f"{name}Vector"), vector


class Graph:
    """Builds one graph; every method adds an operator and returns the index of its output tensor."""

    def __init__(self, *shape: int) -> None:
        self.model = schema().ModelT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema().BufferT()], []
        self.graph = schema().SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.input = self._tensor("input", shape)
        self._codes: dict[tuple[int, int], int] = {}

    # -- operators ---------------------------------------------------------------------------------------------------

    def conv(
        self, source: int, weights: Array, bias: Array | None = None, *, stride: tuple[int, int] = (1, 1),
        padding: str = "SAME", activation: str = "NONE", dilation: int = 1, layout: str = "dense", half: bool = False,
        shared: int | None = None,
    ) -> int:  # fmt: skip
        """CONV_2D; `weights` (outputs, height, width, inputs). `shared`: the tensor of another's weights."""
        options = schema().Conv2DOptionsT()
        options.strideH, options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = dilation
        options.padding = getattr(schema().Padding, padding)
        options.fusedActivationFunction = getattr(schema().ActivationFunctionType, activation)
        kernel = self.weights(weights, layout, half) if shared is None else shared
        inputs = [source, kernel] + ([] if bias is None else [self._constant("bias", bias)])
        batch, height, width, _ = self._shape(source)
        taps = [(size - 1) * dilation + 1 for size in weights.shape[1:3]]
        pixels = [_extent(padding, n, k, s) for n, k, s in zip((height, width), taps, stride, strict=True)]
        output = self._tensor(f"conv{len(self.graph.operators)}", (batch, *pixels, weights.shape[0]))
        return self._operator("CONV_2D", inputs, output, options, "Conv2DOptions")

    def depthwise(self, source: int, weights: Array, bias: Array, *, stride: int = 1, padding: str = "SAME") -> int:
        """DEPTHWISE_CONV_2D with RELU6; `weights` (1, height, width, channels)."""
        options = schema().DepthwiseConv2DOptionsT()
        options.strideH = options.strideW = stride
        options.depthMultiplier = options.dilationHFactor = options.dilationWFactor = 1
        options.padding = getattr(schema().Padding, padding)
        options.fusedActivationFunction = schema().ActivationFunctionType.RELU6
        batch, height, width, channels = self._shape(source)
        pixels = [_extent(padding, n, k, stride) for n, k in zip((height, width), weights.shape[1:3], strict=True)]
        output = self._tensor(f"dw{len(self.graph.operators)}", (batch, *pixels, channels))
        inputs = [source, self._constant("depthwise", weights), self._constant("bias", bias)]
        return self._operator("DEPTHWISE_CONV_2D", inputs, output, options, "DepthwiseConv2DOptions")

    def fully_connected(
        self, source: int, weights: Array, bias: Array | None = None, *, activation: str = "NONE",
        layout: str = "dense", half: bool = False, keep_dimensions: bool = False,
    ) -> int:  # fmt: skip
        """FULLY_CONNECTED; `weights` (outputs, inputs)."""
        options = schema().FullyConnectedOptionsT()
        options.fusedActivationFunction = getattr(schema().ActivationFunctionType, activation)
        options.keepNumDims = keep_dimensions
        inputs = [source, self.weights(weights, layout, half), -1 if bias is None else self._constant("bias", bias)]
        shape = self._shape(source)
        before = shape[:-1] if keep_dimensions else (int(np.prod(shape)) // weights.shape[1],)
        output = self._tensor(f"fc{len(self.graph.operators)}", (*before, weights.shape[0]))
        version = 5 if keep_dimensions else 1
        return self._operator("FULLY_CONNECTED", inputs, output, options, "FullyConnectedOptions", version)

    def add(self, one: int, other: int) -> int:
        """ADD of two tensors of one shape."""
        output = self._tensor(f"add{len(self.graph.operators)}", self._shape(one))
        return self._operator("ADD", [one, other], output, schema().AddOptionsT(), "AddOptions")

    def pool(self, source: int) -> int:
        """MEAN over height and width."""
        options = schema().ReducerOptionsT()
        options.keepDims = False
        batch, _, _, channels = self._shape(source)
        output = self._tensor(f"pool{len(self.graph.operators)}", (batch, channels))
        axes = self._constant("axes", np.array([1, 2], np.int32))
        return self._operator("MEAN", [source, axes], output, options, "ReducerOptions")

    def weights(self, values: Array, layout: str = "dense", half: bool = False) -> int:
        """A tensor of weights as the file stores them, and the DENSIFY and DEQUANTIZE that make floats of it."""
        stored = values.astype(np.float16 if half else np.float32)
        kind = schema().TensorType.FLOAT16 if half else schema().TensorType.FLOAT32
        if layout == "dense":
            tensor = self._constant("weights", stored, kind)
        else:
            sparsity, kept = encode(stored, layout)
            packed = self._constant("weights", kept, kind, shape=values.shape)
            self.graph.tensors[packed].sparsity = sparsity
            tensor = self._tensor("densified", values.shape, kind)
            self._operator("DENSIFY", [packed], tensor, schema().DensifyOptionsT(), "DensifyOptions")
        if half:
            output = self._tensor("dequantized", values.shape)
            options = schema().DequantizeOptionsT()
            tensor = self._operator("DEQUANTIZE", [tensor], output, options, "DequantizeOptions", 3)
        return tensor

    def finish(self, *outputs: int) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = [self.input], list(outputs)
        self.model.subgraphs = [self.graph]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    # -- parts -------------------------------------------------------------------------------------------------------

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[tensor].shape)

    def _tensor(self, name: str, shape: Sequence[int], kind: int | None = None, buffer: int = 0) -> int:
        tensor = schema().TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [int(size) for size in shape], buffer
        tensor.type = schema().TensorType.FLOAT32 if kind is None else kind
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _constant(self, name: str, values: Array, kind: int | None = None, shape: Sequence[int] | None = None) -> int:
        buffer = schema().BufferT()
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        if kind is None and values.dtype == np.int32:
            kind = schema().TensorType.INT32
        return self._tensor(name, values.shape if shape is None else shape, kind, len(self.model.buffers) - 1)

    def _operator(
        self, name: str, inputs: list[int], output: int, options: Any, options_type: str, version: int = 1
    ) -> int:
        operator = schema().OperatorT()
        operator.opcodeIndex = self._code(getattr(schema().BuiltinOperator, name), version)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema().BuiltinOptions, options_type)
        self.graph.operators.append(operator)
        return output

    def _code(self, builtin: int, version: int) -> int:
        if (builtin, version) not in self._codes:
            code = schema().OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
            self.model.operatorCodes.append(code)
            self._codes[builtin, version] = len(self.model.operatorCodes) - 1
        return self._codes[builtin, version]


def _extent(padding: str, size: int, taps: int, stride: int) -> int:
    return -(-size // stride) if padding == "SAME" else (size - taps) // stride + 1
