"""Packs the schema's tree of objects into a .tflite file, with what others have attached to one."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.convert.flatbuffer import FILE_IDENTIFIER

_ALIGNMENT_BYTES = 16
_INDEX_ALIGNMENT_BYTES = 4

# What a table, its fields and its strings take at most, so that the builder's buffer need not grow, which copies it.
_PER_OBJECT_BYTES = 1024


def pack(model: Any) -> memoryview:
    """The file of a `ModelT`, without a copy of what the builder made."""
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns bytes as TFLite's schema asks of buffers (force_align), which the plain one does not."""

        def CreateNumpyVector(self, x: Any) -> Any:
            self.Prep(_ALIGNMENT_BYTES if x.itemsize == 1 else _INDEX_ALIGNMENT_BYTES, x.nbytes)
            self.StartVector(x.itemsize, x.size, x.itemsize)
            self.head = self.Head() - x.nbytes
            # Not by assigning bytes, as the plain one does, which copies them twice.
            np.frombuffer(self.Bytes, x.dtype, x.size, self.head)[:] = x
            self.vectorNumElems = x.size
            return self.EndVector()

    builder = AlignedBuilder(_most_bytes(model))
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return memoryview(builder.Bytes)[builder.Head() :]


def _most_bytes(model: Any) -> int:
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors or ()]
    levels = [level for tensor in tensors if tensor.sparsity for level in tensor.sparsity.dimMetadata]
    vectors = [vector.values for level in levels for vector in (level.arraySegments, level.arrayIndices) if vector]
    arrays = [*vectors, *(buffer.data for buffer in model.buffers)]
    content = sum(array.nbytes + _ALIGNMENT_BYTES for array in arrays if isinstance(array, np.ndarray))
    operators = sum(len(graph.operators or ()) for graph in model.subgraphs)
    return content + _PER_OBJECT_BYTES * (len(tensors) + operators + len(model.buffers) + 1)


def write(packed: memoryview, path: Path, original: Path) -> None:
    """Write a file made of `original`, and behind it the files attached to that one: labels, as a zip archive."""
    with path.open("wb") as file:
        file.write(packed)
    if not zipfile.is_zipfile(original):
        return
    try:
        with zipfile.ZipFile(original) as attached, zipfile.ZipFile(path, "a") as archive:
            for entry in attached.infolist():
                archive.writestr(entry, attached.read(entry))
    except zipfile.BadZipFile:  # its last bytes look like the end of one by chance
        path.write_bytes(packed)
