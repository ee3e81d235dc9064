"""Writes a .tflite file again with operator versions of their own for operators that need no sparse kernel.

Operators of one kind share one version, the highest that any of them needs. One block-sparse FULLY_CONNECTED raises it
to 8 for all, and XNNPACK then refuses the dense ones too. They get a second operator code with the version they need.
"""

from __future__ import annotations

import copy

from edgesparse.convert.flatbuffer import FlatModel, Operator, read_model, schema
from edgesparse.convert.packing import pack

FULLY_CONNECTED = "FULLY_CONNECTED"


def separate_versions(sparse: bytes, twin: bytes) -> bytes:
    """The sparse file, with the version that `twin` gives FULLY_CONNECTED for those that are not block-sparse.

    Args:
        sparse: a .tflite file with sparse encodings.
        twin: the same model stored dense.

    Returns:
        `sparse` itself where nothing has to change.
    """
    needed = _version(read_model(twin))
    found = read_model(sparse)
    dense = [op for op in found.operators if op.name == FULLY_CONNECTED and not _is_sparse(found, op)]
    if needed is None or not any(op.version > needed for op in dense):
        return sparse
    model = schema().ModelT.InitFromPackedBuf(sparse, 0)
    operators = model.subgraphs[0].operators
    code = copy.copy(model.operatorCodes[operators[dense[0].index].opcodeIndex])
    code.version = needed
    model.operatorCodes.append(code)
    for op in dense:
        operators[op.index].opcodeIndex = len(model.operatorCodes) - 1
    return bytes(pack(model))


def _version(model: FlatModel) -> int | None:
    return next((op.version for op in model.operators if op.name == FULLY_CONNECTED), None)


def _is_sparse(model: FlatModel, op: Operator) -> bool:
    return model.tensors[op.inputs[1]].sparsity is not None
