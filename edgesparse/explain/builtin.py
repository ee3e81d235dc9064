"""TFLite's own kernels: sparse only for FULLY_CONNECTED that reads a sparse tensor without DENSIFY before it."""

from __future__ import annotations

from edgesparse.convert.flatbuffer import FlatModel, Operator
from edgesparse.explain.forecast import PathForecast
from edgesparse.explain.runtimes import Runtime

BLOCKS_OF_INPUTS = "Prune it in blocks of 4 inputs (1x4): stored sparse, TFLite's own sparse kernel runs it."


def version_problem(op: Operator, runtime: Runtime) -> PathForecast | None:
    """An operator newer than the runtime: no interpreter can be made from this file, whatever the backend."""
    newest = runtime.newest.get(op.name)
    if newest is None or op.version <= newest:
        return None
    return PathForecast(
        path="fails",
        kernel="none",
        reason=f"{runtime.name} {runtime.verified} knows {op.name} up to version {newest}, this is {op.version}",
        cure="Use ai-edge-litert on this board, or convert with an older TensorFlow.",
    )


def sparse_type(model: FlatModel, op: Operator) -> str:
    """How the weights arrive: "none" (stored dense), "densify", "direct" (the operator reads the sparse tensor), or
    "dequantize" (a DEQUANTIZE reads the sparse tensor)."""
    stored = model.constant(op.inputs[1])
    if stored is None or model.tensors[stored].sparsity is None:
        return "none"
    if stored == op.inputs[1]:
        return "direct"
    reader = model.consumers(stored)[0].name
    return "densify" if reader == "DENSIFY" else "dequantize"


def dequantized_sparse(where: str) -> PathForecast:
    """Weights whose sparse values a DEQUANTIZE reads as if they were dense."""
    return PathForecast(
        path="wrong",
        kernel=f"{where} dense",
        reason="half-precision block-sparse weights: DEQUANTIZE reads the compressed values as if they were dense",
        cure="Keep the weights in float32, or store them dense.",
    )


def forecast(model: FlatModel, op: Operator, runtime: Runtime, zeros: float) -> PathForecast:
    """What the builtin kernels do with an operator that has constant weights as input 1."""
    problem = version_problem(op, runtime)
    if problem is not None:
        return problem
    stored = model.constant(op.inputs[1])
    assert stored is not None  # the caller passes operators with constant weights only
    arrives, encoding = sparse_type(model, op), model.encoding(op.inputs[1])
    if arrives == "dequantize":
        return dequantized_sparse("TFLite")
    if arrives == "direct" and len(model.tensors[stored].scale) > 1 and not runtime.scales_of_sparse:
        return PathForecast(
            path="wrong",
            kernel=f"TFLite sparse {encoding}",
            reason=f"{runtime.name}'s sparse kernel takes one scale, and these weights have one for each output",
            cure="Store int8 weights dense, or deploy a float32 file.",
        )
    if arrives == "direct" and op.name == "FULLY_CONNECTED":
        return _sparse_fully_connected(encoding, model.tensors[stored].type)
    if op.name != "FULLY_CONNECTED":
        expanded = "; DENSIFY expands the weights" if arrives == "densify" else ""
        kind = " for int8" if model.tensors[stored].type == "INT8" else ""
        reason = f"TFLite has no sparse {op.name}{kind}{expanded}"
        return PathForecast(path="dense", kernel="TFLite dense", reason=reason)
    if arrives == "densify":
        reason = "DENSIFY expands the weights before the first inference"
    else:
        reason = "stored dense: zeros are multiplied like any other value" if zeros else "no zeros to skip"
    floats = model.tensors[stored].type == "FLOAT32"
    return PathForecast(path="dense", kernel="TFLite dense", reason=reason, cure=BLOCKS_OF_INPUTS if floats else "")


def _sparse_fully_connected(encoding: str, dtype: str) -> PathForecast:
    supported = {"FLOAT32": ("block 1x4", "csr"), "INT8": ("block 1x16",)}.get(dtype, ())
    if encoding in supported:
        return PathForecast(
            path="sparse",
            kernel=f"TFLite sparse {encoding}",
            reason="reads the sparse tensor itself and computes stored values only",
        )
    return PathForecast(
        path="fails",
        kernel="none",
        reason=f"TFLite's FULLY_CONNECTED has no kernel for {dtype.lower()} weights stored as {encoding}",
        cure="Store float weights in blocks of 1x4 and int8 weights in blocks of 1x16.",
    )
