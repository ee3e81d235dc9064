"""Reads a .tflite file without TensorFlow: operators, tensors, and weights decoded from every sparse encoding.

The flatbuffer itself is read by the schema that ai-edge-litert ships.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.convert.encodings import Array, Level, Sparsity, expand
from edgesparse.errors import ModelError

FILE_IDENTIFIER = b"TFL3"

DTYPES: dict[str, type[np.generic]] = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "BOOL": np.bool_,
}

# Operators that only expand or convert the constant in front of them.
_UNPACKING = ("DENSIFY", "DEQUANTIZE")

# What the schema's reader raises on bytes that are no whole flatbuffer: offsets out of range, vectors cut short.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


@dataclass(frozen=True)
class Tensor:
    """One tensor. `stored_bytes` counts values and sparse indices; it is 0 for a tensor computed at run time."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    has_buffer: bool
    stored_bytes: int
    sparsity: Sparsity | None
    quantised: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    buffer: int = 0


@dataclass(frozen=True)
class Operator:
    """One operator of the main graph.

    `inputs` and `outputs` are tensor indices (-1: an optional input left out). `options` are those of the schema, in
    snake case, with names for enumerations: `stride_w`, `stride_h`, `dilation_w`, `dilation_h`, `padding` ("SAME",
    "VALID"), `activation` ("NONE", "RELU", "RELU6", …), `depth_multiplier`, `keep_num_dims`, … as far as it has them.
    """

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


class FlatModel:
    """One graph of a .tflite file, the main one unless told otherwise. Made by :func:`read_model`."""

    def __init__(self, source: str, data: bytes | mmap.mmap, model: Any, number: int = 0) -> None:
        if not model.subgraphs:
            raise ModelError(f"{source} holds no graph.", hint="Convert the model again.")
        graph = model.subgraphs[number]
        self.source = source
        self.data = data
        self.graph_count = len(model.subgraphs)
        self.operators = tuple(_operator(i, op, model.operatorCodes) for i, op in enumerate(_list(graph.operators)))
        self._buffers = [_buffer(source, data, b) for b in _list(model.buffers)]
        self.tensors = tuple(self._tensor(i, t) for i, t in enumerate(_list(graph.tensors)))
        self.inputs = _ints(graph.inputs)
        self.outputs = _ints(graph.outputs)
        self._check_references()
        self._nonzeros: dict[int, int] = {}

    def weights(self, index: int) -> Array:
        """A constant tensor, decoded to dense whatever its encoding, in its stored type and TFLite's layout.

        A tensor that an operator only expands or converts (DENSIFY, DEQUANTIZE) gives the constant behind it.

        Raises:
            ModelError: not a constant, a type without a numpy counterpart, or an encoding that contradicts itself.
        """
        stored = self.constant(index)
        if stored is None:
            raise ModelError(
                f"{self.source}: tensor {index} ({self.tensors[index].name}) is computed at run time, not stored.",
                hint="Ask for the weights of a constant tensor.",
            )
        tensor = self.tensors[stored]
        if tensor.type not in DTYPES:
            raise ModelError(
                f"{self.source}: tensor {tensor.name} has type {tensor.type}; readable are {', '.join(DTYPES)}.",
                hint="Convert the model to one of these types.",
            )
        raw = self._buffers[tensor.buffer]
        dtype = np.dtype(DTYPES[tensor.type])
        try:
            values = raw.view(dtype)
            if tensor.sparsity is None:
                return values.reshape(tensor.shape)
            return expand(tensor.shape, tensor.sparsity, values)
        except ValueError as error:
            raise ModelError(f"{self.source}: tensor {tensor.name} is damaged: {error}.", hint=_COPY_AGAIN) from None

    def stored_density(self, index: int) -> float:
        """The share of non-zeros in a constant, counted without expanding it; 0 of an empty one, 1 of one whose type
        cannot be read (INT4, BFLOAT16, …)."""
        return self.stored_nonzeros(index) / max(math.prod(self.tensors[index].shape), 1)

    def stored_nonzeros(self, index: int) -> int:
        """How many non-zeros a constant has, counted without expanding it; all of one whose type cannot be read."""
        tensor = self.tensors[index]
        if tensor.type not in DTYPES:
            return math.prod(tensor.shape)
        if index not in self._nonzeros:
            stored = self._buffers[tensor.buffer].view(np.dtype(DTYPES[tensor.type]))
            self._nonzeros[index] = int(np.count_nonzero(stored))
        return self._nonzeros[index]

    def constant(self, index: int) -> int | None:
        """The constant tensor behind `index`: itself, or through DENSIFY and DEQUANTIZE; None for a computed tensor."""
        while not self.tensors[index].has_buffer:
            producer = self.producer(index)
            if producer is None or producer.name not in _UNPACKING:
                return None
            index = producer.inputs[0]
        return index

    def encoding(self, index: int) -> str:
        """How a constant is stored: "dense", "csr", or "block RxC" (outputs x inputs); looks through DENSIFY."""
        stored = self.constant(index)
        sparsity = None if stored is None else self.tensors[stored].sparsity
        if stored is None or sparsity is None:
            return "dense"
        if not sparsity.block_map:
            return "csr"
        block = sparsity.block_shape(len(self.tensors[stored].shape))
        return f"block {block[0]}x{block[-1]}"

    def producer(self, index: int) -> Operator | None:
        """The operator that computes a tensor; None for a constant or a graph input."""
        return self._producers.get(index)

    def consumers(self, index: int) -> tuple[Operator, ...]:
        """The operators that read a tensor, in execution order."""
        return tuple(self._consumers.get(index, ()))

    @cached_property
    def _producers(self) -> dict[int, Operator]:
        return {output: op for op in self.operators for output in op.outputs}

    @cached_property
    def _consumers(self) -> dict[int, list[Operator]]:
        readers: dict[int, list[Operator]] = {}
        for op in self.operators:
            for index in dict.fromkeys(op.inputs):
                readers.setdefault(index, []).append(op)
        return readers

    def _tensor(self, index: int, tensor: Any) -> Tensor:
        if not 0 <= tensor.buffer < len(self._buffers):
            raise ModelError(
                f"{self.source} is damaged: tensor {index} names buffer {tensor.buffer} of {len(self._buffers)}.",
                hint=_COPY_AGAIN,
            )
        sparsity = None if tensor.sparsity is None else _sparsity(tensor.sparsity)
        size = self._buffers[tensor.buffer].size
        quantization = tensor.quantization
        scale = () if quantization is None else tuple(float(s) for s in _list(quantization.scale))
        return Tensor(
            index=index,
            name=_text(tensor.name),
            shape=_ints(tensor.shape),
            type=_name_of("TensorType", tensor.type),
            has_buffer=size > 0,
            stored_bytes=size + (sparsity.index_bytes if sparsity else 0),
            sparsity=sparsity,
            quantised=bool(scale),
            scale=scale,
            zero_point=() if quantization is None else _ints(quantization.zeroPoint),
            buffer=tensor.buffer,
        )

    def _check_references(self) -> None:
        count = len(self.tensors)
        used = [*self.inputs, *self.outputs]
        used += [index for op in self.operators for index in (*op.inputs, *op.outputs) if index != -1]
        if any(not 0 <= index < count for index in used):
            raise ModelError(f"{self.source} is damaged: it names tensors that it does not have.", hint=_COPY_AGAIN)


_COPY_AGAIN = "Copy the file again, or convert the model again."


def read_model(source: str | Path | bytes) -> FlatModel:
    """Read a .tflite file, or its bytes: the main graph.

    Raises:
        ModelError: no such file, no TFLite flatbuffer (file identifier TFL3), or truncated.
    """
    return read_graphs(source)[0]


def read_graphs(source: str | Path | bytes) -> list[FlatModel]:
    """Every graph of a .tflite file, or of its bytes: the main one, and those of loops, branches and other signatures.

    Raises:
        ModelError: as of `read_model`.
    """
    if isinstance(source, bytes):
        name, data = "the model", source
    else:
        name = str(source)
        try:
            data = Path(source).read_bytes()
        except FileNotFoundError:
            raise ModelError(f"Expected a .tflite file, found nothing at {name}.", hint="Check the path.") from None
        except OSError as error:
            raise ModelError(f"{name} cannot be read: {error.strerror}.", hint="Expected a .tflite file.") from None
    return unpack(name, data)[1]


def unpack(name: str, data: bytes | mmap.mmap) -> tuple[Any, list[FlatModel]]:
    """The schema's tree of objects (`ModelT`) of a file's bytes, whose buffers stay in them, and each of its graphs.

    Raises:
        ModelError: no TFLite flatbuffer, or a damaged one.
    """
    if data[4:8] != FILE_IDENTIFIER:
        raise ModelError(
            f"{name} is no TFLite model: expected the file identifier TFL3 at byte 4, found {data[4:8]!r}.",
            hint="Give a .tflite file, or convert a Keras model with `edgesparse convert`.",
        )
    try:
        model = schema().ModelT.InitFromPackedBuf(data, 0)
        return model, [FlatModel(name, data, model, number) for number in range(max(len(_list(model.subgraphs)), 1))]
    except _DAMAGE as error:
        raise ModelError(f"{name} is a damaged or truncated TFLite model ({error}).", hint=_COPY_AGAIN) from None


def schema() -> Any:
    """The generated reader and writer of the TFLite schema."""
    # Imported on first use: half a second that commands which read no model should not pay.
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _operator(index: int, op: Any, codes: Any) -> Operator:
    code = codes[op.opcodeIndex]
    # Codes over 126 do not fit the old byte field, which then holds 127; older files have only the old one.
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _text(code.customCode) if code.customCode else _name_of("BuiltinOperator", builtin)
    found = op.builtinOptions or op.builtinOptions2
    options = {} if found is None else {_snake(key): _option(key, value) for key, value in vars(found).items()}
    return Operator(index, name, int(code.version), _ints(op.inputs), _ints(op.outputs), options)


def _snake(name: str) -> str:
    if name == "fusedActivationFunction":
        return "activation"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower().removesuffix("_factor")


def _option(key: str, value: Any) -> Any:
    if key == "fusedActivationFunction":
        return _name_of("ActivationFunctionType", value)
    if key == "padding" and isinstance(value, int):
        return _name_of("Padding", value)
    if key == "weightsFormat":
        return _name_of("FullyConnectedOptionsWeightsFormat", value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return _text(value) if isinstance(value, bytes) else value


def _name_of(enumeration: str, value: int) -> str:
    return _names(enumeration).get(value, f"{enumeration} {value}")


@cache
def _names(enumeration: str) -> dict[int, str]:
    return {value: str(name) for name, value in vars(getattr(schema(), enumeration)).items() if name[0] != "_"}


def _sparsity(sparsity: Any) -> Sparsity:
    levels = []
    for level in _list(sparsity.dimMetadata):
        if level.format == 0:
            levels.append(Level("dense", int(level.denseSize), np.zeros(0, np.int32), np.zeros(0, np.int32)))
        else:
            segments, indices = _vector(level.arraySegments.values), _vector(level.arrayIndices.values)
            levels.append(Level("csr", len(segments) - 1, segments, indices))
    return Sparsity(_ints(sparsity.traversalOrder), _ints(sparsity.blockMap), tuple(levels))


def _vector(values: Any) -> Array:
    return np.zeros(0, np.int32) if values is None else np.asarray(values)


def _buffer(source: str, data: bytes | mmap.mmap, buffer: Any) -> npt.NDArray[np.uint8]:
    """A buffer's bytes; in models over 2 GB they follow the flatbuffer and are named by offset and size."""
    if buffer.offset > 1:
        if buffer.offset + buffer.size > len(data):
            end = buffer.offset + buffer.size
            raise ModelError(f"{source} is truncated: a buffer ends at byte {end} of {len(data)}.", hint=_COPY_AGAIN)
        return np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
    return np.zeros(0, np.uint8) if buffer.data is None else np.asarray(buffer.data, np.uint8)


def _list(value: Any) -> Any:
    return [] if value is None else value


def _ints(value: Any) -> tuple[int, ...]:
    # The schema's reader gives 0 for a vector that the file does not have.
    return () if value is None or np.ndim(value) == 0 else tuple(int(v) for v in value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
