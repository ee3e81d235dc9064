"""Files to sparsify, written straight through the schema, as trainers of all kinds might have left them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np

from edgesparse.convert.flatbuffer import FILE_IDENTIFIER, schema
from edgesparse.sparsify import checking
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.kernels.quantized import QuantizedGraph

Change = Callable[[Any], None]

# The `CHECKING_BYTES` under which there is room for XNNPACK on the twin of a small file, and not on the file itself.
ONLY_FOR_THE_TWIN = checking.BESIDE_BYTES + 2 * checking.BUFFER_BYTES + checking.SMALL_BYTES


def network(half: bool = False, layout: str = "dense", change: Change | None = None) -> bytes:
    """stem, conv1 (3x3, 24 outputs), a depthwise one, conv2 (1x1, 48), pooling, fc1 (64) and fc2 (10)."""
    maker, graph = Maker(layout, half, twin=False, seed=3), Graph(1, 11, 12, 3)
    how: dict[str, Any] = {"layout": layout, "half": half}

    def weights(*shape: int) -> Any:
        return maker.weights(*shape, density=1)

    x = graph.conv(graph.input, weights(16, 3, 3, 3), maker.bias(16), stride=(2, 2), activation="RELU6")
    x = graph.conv(x, weights(24, 3, 3, 16), maker.bias(24), activation="RELU6", **how)
    x = graph.depthwise(x, weights(1, 3, 3, 24), maker.bias(24))
    x = graph.conv(x, weights(48, 1, 1, 24), maker.bias(48), activation="RELU", **how)
    x = graph.pool(x)
    x = graph.fully_connected(x, weights(64, 48), maker.bias(64), activation="RELU", **how)
    return finish(graph, graph.fully_connected(x, weights(10, 64), maker.bias(10)), change=change)


def int8_network(stem: int = 16, width: int = 32) -> bytes:
    """stem, conv1 (3x3) and conv2 (1x1), of so many outputs, all int8, with a scale for each output."""
    graph = QuantizedGraph(1, 8, 8, 3, density=1.0, seed=5)
    x = graph.conv(graph.input, stem, 3, activation="RELU")
    return graph.finish(graph.conv(graph.conv(x, width, 3, activation="RELU"), width))


def finish(graph: Graph, *outputs: int, change: Change | None = None) -> bytes:
    """The file, after a change to its tree of objects."""
    data = graph.finish(*outputs)
    if change is None:
        return data
    model = schema().ModelT.InitFromPackedBuf(data, 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def add_metadata(model: Any, name: str, content: bytes) -> None:
    """A named buffer of metadata."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    entry = schema().MetadataT()
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def add_signature(model: Any) -> None:
    """A signature "serving_default" with one input and one output."""
    signature = schema().SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    graph = model.subgraphs[0]
    for names, tensors, where in ((["image"], graph.inputs, "inputs"), (["scores"], graph.outputs, "outputs")):
        entries = []
        for name, tensor in zip(names, tensors, strict=True):
            entry = schema().TensorMapT()
            entry.name, entry.tensorIndex = name, int(tensor)
            entries.append(entry)
        setattr(signature, where, entries)
    model.signatureDefs = [signature]


def attach(data: bytes, **files: str) -> bytes:
    """The file with a zip archive behind it, as labels are attached."""
    held = io.BytesIO(data)
    with zipfile.ZipFile(held, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return held.getvalue()
