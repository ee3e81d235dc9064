"""Stores weights sparsely in a .tflite file, where that is smaller, and dense again what came stored sparsely.

A float weight becomes a tensor with sparsity metadata, and a DENSIFY in front of its readers gives the dense one, which
every runtime understands and sparse kernels look behind. Blocks of 1x4 in FULLY_CONNECTED are read directly, by
TFLite's own sparse kernel: that needs version 8 of the operator, in an operator code of its own, because XNNPACK takes
no FULLY_CONNECTED of a newer version than it knows, not even a dense one.

float16 weights become sparse float32 ones, which the DEQUANTIZE in front of their readers would make of them anyway:
sparse float16 weights come out as NaN under some runtimes. int8 weights stay dense: no runtime reads them stored
sparsely, and several compute wrong values from them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from edgesparse.convert.encodings import Array, Level, Sparsity, encode, encoded_bytes
from edgesparse.convert.flatbuffer import FlatModel, Operator, schema
from edgesparse.convert.layers import SPARSE_SUFFIX, readers
from edgesparse.patterns import Block, Pattern
from edgesparse.sparsify.weights import Weight

# What the tables of one more tensor, operator and their metadata take in a file.
TABLE_BYTES = 512

# The block that TFLite's own sparse FULLY_CONNECTED reads, and the version of the operator that says so. Later versions
# add int8 only, and XNNPACK takes those for its own: it would read the stored values as a dense tensor.
DIRECT_BLOCK = (1, 4)
DIRECT_VERSION = 8
CONTROL_DEPENDENCIES = "model_control_dependencies"


@dataclass(frozen=True)
class Encoding:
    """How a weight is to be stored: in blocks of `rows` outputs by `cols` inputs, or dense where these are 0."""

    rows: int
    cols: int
    bytes: int
    reason: str

    @property
    def dense(self) -> bool:
        return not self.rows


def choose_encoding(weight: Weight, values: Array, pattern: Pattern, *, fixed: bool = False) -> Encoding:
    """The smallest encoding of pruned values: single values, blocks of the pattern's, or dense.

    Blocks of the pattern that its kernel does not divide into are cut into the largest that it does.

    Args:
        weight: whose values they are.
        values: outputs first, as stored.
        pattern: of the zeros.
        fixed: no operators may be added.
    """
    if weight.tensor.type == "INT8":
        reason = "int8 weights stay dense: no runtime reads them stored sparse; csr looks for the zeros"
        return Encoding(0, 0, values.nbytes, reason)
    if fixed:
        return Encoding(0, 0, values.nbytes, "the file's control dependencies name operators by number: none is added")
    blocks = {(1, 1)}
    if isinstance(pattern, Block):
        blocks.add((gcd(pattern.rows, values.shape[0]), gcd(pattern.cols, values.shape[-1])))
    # float16 values are stored as float32.
    sizes = {(rows, cols): encoded_bytes(values, rows, cols, np.float32) + TABLE_BYTES for rows, cols in blocks}
    (rows, cols), size = min(sizes.items(), key=lambda item: item[1])
    if size >= values.nbytes:
        return Encoding(0, 0, values.nbytes, f"stored sparsely it would take {size} bytes, dense {values.nbytes}")
    return Encoding(rows, cols, size, "")


class Rewriter:
    """Changes how the weights of one file are stored.

    Args:
        model: the schema's tree of objects of the file, which is changed.
        graphs: its graphs, as they were.

    Attributes:
        indices: numbers that say where what is stored sparsely is.
    """

    def __init__(self, model: Any, graphs: Sequence[FlatModel]) -> None:
        self.model = model
        self._graphs = graphs
        self._codes: dict[tuple[int, int], int] = {}
        # Operators to put in before others, as (graph, operator).
        self._before: dict[tuple[int, int], list[Any]] = {}
        self._dropped: set[tuple[int, int]] = set()
        self._stored = 0
        self.indices = 0

    @property
    def changed(self) -> bool:
        """Whether anything is stored otherwise than it was."""
        return self._stored > 0

    @property
    def fixed(self) -> bool:
        """Whether the file names operators by number, so that none can be put in."""
        names = [entry.name for entry in self.model.metadata or []]
        return any((name.decode() if isinstance(name, bytes) else name) == CONTROL_DEPENDENCIES for name in names)

    def store_sparse(self, weight: Weight, values: Array, encoding: Encoding) -> None:
        """Store a weight that is stored dense in an encoding of `choose_encoding`."""
        self._stored += 1
        half = weight.tensor.type == "FLOAT16"
        sparsity, stored = encode(values, encoding.rows, encoding.cols, np.float32 if half else None)
        self.indices += sum(level.segments.size + level.indices.size for level in sparsity.levels)
        self.model.buffers[weight.tensor.buffer].data = np.frombuffer(stored, np.uint8)
        direct = (encoding.rows, encoding.cols) == DIRECT_BLOCK and not half and self._all_fully_connected(weight)
        for number, index in weight.holders:
            tensor = self.model.subgraphs[number].tensors[index]
            consumers = self._graphs[number].consumers(index)
            if half:
                for op in consumers:  # DEQUANTIZE, each
                    self._turn_into_densify(number, op.index)
                tensor.type = schema().TensorType.FLOAT32
                tensor.sparsity = _described(sparsity)
            elif direct or not consumers:
                for op in consumers:
                    self._set_code(number, op.index, schema().BuiltinOperator.FULLY_CONNECTED, DIRECT_VERSION)
                tensor.sparsity = _described(sparsity)
            else:
                self._densify(number, index, _described(sparsity), before=consumers[0].index)

    def store_dense(self, number: int, index: int) -> None:
        """Store a tensor that is stored sparsely dense, and take away the DENSIFY behind it."""
        graph = self._graphs[number]
        tensor = self.model.subgraphs[number].tensors[index]
        self.model.buffers[tensor.buffer].data = np.frombuffer(graph.weights(index).tobytes(), np.uint8)
        tensor.sparsity = None
        self._stored += 1
        operators = self.model.subgraphs[number].operators
        for op in graph.consumers(index):
            if op.name == "DENSIFY":
                self._dropped.add((number, op.index))
                for reader in graph.consumers(op.outputs[0]):
                    inputs = operators[reader.index].inputs
                    operators[reader.index].inputs = [index if read == op.outputs[0] else read for read in inputs]
            elif op.name == "FULLY_CONNECTED" and tensor.type == schema().TensorType.FLOAT32:
                self._set_code(number, op.index, schema().BuiltinOperator.FULLY_CONNECTED, _float_version(op))

    def finish(self) -> Any:
        """The changed tree of objects."""
        for number, graph in enumerate(self.model.subgraphs):
            kept = []
            for index, op in enumerate(graph.operators or []):
                kept += self._before.get((number, index), [])
                if (number, index) not in self._dropped:
                    kept.append(op)
            graph.operators = kept
        return self.model

    def _densify(self, number: int, index: int, sparsity: Any, *, before: int) -> None:
        """The readers of a tensor go on reading it; it is now made of a new one, which is stored."""
        graph = self.model.subgraphs[number]
        dense = graph.tensors[index]
        stored = copy.copy(dense)
        stored.sparsity = sparsity
        stored.name = self._graphs[number].tensors[index].name.removesuffix(SPARSE_SUFFIX) + SPARSE_SUFFIX
        graph.tensors.append(stored)
        dense.buffer = self._empty_buffer()
        op = schema().OperatorT()
        op.opcodeIndex = self._code(schema().BuiltinOperator.DENSIFY, 1)
        op.inputs, op.outputs = [len(graph.tensors) - 1], [index]
        op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.DensifyOptions, schema().DensifyOptionsT()
        self._before.setdefault((number, before), []).append(op)

    def _turn_into_densify(self, number: int, index: int) -> None:
        self._set_code(number, index, schema().BuiltinOperator.DENSIFY, 1)
        op = self.model.subgraphs[number].operators[index]
        op.builtinOptionsType, op.builtinOptions = schema().BuiltinOptions.DensifyOptions, schema().DensifyOptionsT()

    def _all_fully_connected(self, weight: Weight) -> bool:
        return all(
            op.name == "FULLY_CONNECTED" and read == index
            for number, index in weight.holders
            for op, read in readers(self._graphs[number], index)
        )

    def _empty_buffer(self) -> int:
        """Buffer 0 by convention; a new one where that holds something."""
        if self.model.buffers[0].data is None or not len(self.model.buffers[0].data):
            return 0
        self.model.buffers.append(schema().BufferT())
        return len(self.model.buffers) - 1

    def _set_code(self, number: int, index: int, builtin: int, version: int) -> None:
        self.model.subgraphs[number].operators[index].opcodeIndex = self._code(builtin, version)

    def _code(self, builtin: int, version: int) -> int:
        """The operator code of this operator and version, a new one if there is none."""
        for number, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version == version:
                return number
        code = schema().OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def _float_version(op: Operator) -> int:
    """The version that the converter gives a float FULLY_CONNECTED that reads dense weights."""
    if len(op.inputs) < 3 or op.inputs[2] == -1:
        return 6
    return 5 if op.options.get("keep_num_dims") else 1


def _described(sparsity: Sparsity) -> Any:
    """As the schema's tree of objects."""
    found = schema().SparsityParametersT()
    found.traversalOrder = list(sparsity.traversal_order)
    found.blockMap = list(sparsity.block_map)  # a missing one takes tflite-runtime down
    found.dimMetadata = [_level(level) for level in sparsity.levels]
    return found


def _level(level: Level) -> Any:
    found = schema().DimensionMetadataT()
    if level.format == "dense":
        found.format, found.denseSize = schema().DimensionType.DENSE, level.size
        return found
    found.format = schema().DimensionType.SPARSE_CSR
    found.arraySegmentsType, found.arraySegments = _vector(level.segments)
    found.arrayIndicesType, found.arrayIndices = _vector(level.indices)
    return found


def _vector(numbers: Array) -> tuple[int, Any]:
    kinds = schema().SparseIndexVector
    kind, vector = {
        "uint8": (kinds.Uint8Vector, schema().Uint8VectorT),
        "uint16": (kinds.Uint16Vector, schema().Uint16VectorT),
        "int32": (kinds.Int32Vector, schema().Int32VectorT),
    }[numbers.dtype.name]
    found = vector()
    found.values = numbers
    return kind, found
