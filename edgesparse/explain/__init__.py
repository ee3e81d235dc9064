"""Foretells, without running anything, what each operator of a model does on a board under each backend, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgesparse.boards.types import BoardType
from edgesparse.convert.flatbuffer import FlatModel, Operator, read_model
from edgesparse.convert.layers import layer_name
from edgesparse.errors import UsageError
from edgesparse.explain import builtin, csr, xnnpack
from edgesparse.explain.forecast import (
    Advice,
    BackendSummary,
    Explanation,
    OperatorForecast,
    PathForecast,
    Storage,
)
from edgesparse.explain.partition import is_unpacking
from edgesparse.explain.runtimes import Runtime, runtime_named
from edgesparse.explain.storage import storage
from edgesparse.kernels import find_library, target
from edgesparse.patterns import parse_pattern, zero_units
from edgesparse.wire import BACKENDS, CSR

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Advice", "BackendSummary", "Explanation", "OperatorForecast", "PathForecast", "Storage", "explain"]

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")


def explain(
    model: str | Path | FlatModel,
    board: BoardType,
    *,
    backends: Iterable[str] | None = None,
    runtime: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Explanation:
    """Say for every operator and backend whether it runs sparse or dense on a kind of board, why, and the cure.

    Args:
        model: a .tflite file or its contents; or a Keras model (path or `module:function`), which is converted with
            sparse encodings first and needs TensorFlow.
        board: the board type.
        backends: of "builtin", "xnnpack" and "csr"; those of the board type if not given, without csr where its kernels
            are not built here.
        runtime: "ai-edge-litert" or "tflite-runtime"; the one that the board type prefers if not given.
        progress: called with a sentence before work that takes seconds.

    Raises:
        ModelError: no model, or one that cannot be read.
        UsageError: an unknown backend or runtime; "csr" was asked for and its kernels are not built.
    """
    able = [each for each in BACKENDS if each != CSR or find_library()]
    chosen = list(backends) if backends is not None else [each for each in board.backends if each in able]
    unknown = [name for name in chosen if name not in BACKENDS]
    if unknown:
        raise UsageError(f"There is no backend {unknown[0]!r} to explain.", hint=f"There are: {', '.join(BACKENDS)}.")
    rules = runtime_named(runtime or board.runtimes[0])
    found = model if isinstance(model, FlatModel) else _load(model, progress)
    weighted = {
        op.index: _zeros(found, op)
        for op in found.operators
        if op.name in _WEIGHTED and len(op.inputs) > 1 and found.constant(op.inputs[1]) is not None
    }
    paths = {backend: _paths(found, board, rules, backend, weighted) for backend in chosen}
    operators = [
        _operator(found, op, weighted, board, {backend: paths[backend].get(op.index, _NONE) for backend in chosen})
        for op in found.operators
        if not is_unpacking(found, op)
    ]
    total = sum(each.weights for each in operators)
    stored = sum(each.weights * (1 - each.zeros) for each in operators)
    return Explanation(
        model=found.source,
        board=board.name,
        arch=board.arch,
        isa=board.isa,
        runtime=rules.name,
        weights=total,
        density=stored / total if total else 1.0,
        macs=sum(each.macs for each in operators),
        operators=operators,
        summaries={backend: _summary(backend, rules, operators) for backend in chosen},
        advice=_advice(chosen, operators),
        notes=_notes(found, board, rules, chosen),
        block_int8=board.block_int8,
        storage=storage(found),
    )


_NONE = PathForecast(path="", kernel="", reason="")


def _load(model: str | Path, progress: Callable[[str], None] | None) -> FlatModel:
    path = Path(model)
    if path.suffix == ".tflite" or (path.is_file() and path.read_bytes()[4:8] == b"TFL3"):
        return read_model(path)
    if progress is not None:
        progress(f"Converting {model} to TFLite.")
    from edgesparse.convert.keras import Exporter
    from edgesparse.prune.models import load_model

    exporter = Exporter(load_model(model))
    converted = read_model(exporter.sparse(exporter.dense()))
    converted.source = str(model)
    return converted


def _paths(
    model: FlatModel, board: BoardType, runtime: Runtime, backend: str, weighted: dict[int, float]
) -> dict[int, PathForecast]:
    if backend == "xnnpack":
        return xnnpack.forecast(model, board, runtime, weighted)
    if backend == CSR:
        return csr.forecast(model, board, runtime, weighted)
    return {index: builtin.forecast(model, model.operators[index], runtime, z) for index, z in weighted.items()}


def _zeros(model: FlatModel, op: Operator) -> float:
    weights = model.weights(op.inputs[1])
    return float(1 - np.count_nonzero(weights) / weights.size) if weights.size else 0.0


def _operator(
    model: FlatModel, op: Operator, weighted: dict[int, float], board: BoardType, paths: dict[str, PathForecast]
) -> OperatorForecast:
    has_weights = op.index in weighted
    of = op.inputs[1] if has_weights else op.outputs[0] if op.outputs else -1
    shape = model.tensors[of].shape if of != -1 else ()
    stored = model.constant(op.inputs[1]) if has_weights else None
    kind = model.tensors[of if stored is None else stored].type.lower() if of != -1 else ""
    zero_blocks = None
    if has_weights and kind == "int8" and op.name in ("CONV_2D", "FULLY_CONNECTED"):
        zero_blocks = zero_units(model.weights(op.inputs[1]), parse_pattern(f"block {board.block_int8}"))
    if has_weights and kind == "int8" and model.tensors[op.inputs[0]].type == "FLOAT32":
        kind = "dynamic-range int8"
    return OperatorForecast(
        index=op.index,
        op=op.name,
        name=layer_name(model, op),
        shape=shape,
        weights=math.prod(shape) if has_weights else 0,
        zeros=weighted.get(op.index, 0.0),
        macs=_macs(model, op) if has_weights else 0,
        type=kind,
        encoding=model.encoding(op.inputs[1]) if has_weights else "",
        paths=paths,
        zero_blocks=zero_blocks,
    )


def _macs(model: FlatModel, op: Operator) -> int:
    """Multiply-accumulates of one dense inference."""
    kernel, output = model.tensors[op.inputs[1]].shape, model.tensors[op.outputs[0]].shape
    if op.name == "FULLY_CONNECTED":
        return math.prod(output) * kernel[-1]
    if op.name == "TRANSPOSE_CONV":
        return math.prod(model.tensors[op.inputs[2]].shape) * math.prod(kernel[:-1])
    per_output = math.prod(kernel[1:3]) if op.name == "DEPTHWISE_CONV_2D" else math.prod(kernel[1:])
    return math.prod(output) * per_output


def _summary(backend: str, runtime: Runtime, operators: list[OperatorForecast]) -> BackendSummary:
    with_weights = [each for each in operators if each.weights]
    sparse = [each for each in with_weights if each.paths[backend].path == "sparse"]
    macs, weights = sum(e.macs for e in with_weights), sum(e.weights for e in with_weights)
    sparse_weights = sum(e.weights for e in sparse)
    decided = [each.paths[backend] for each in operators]
    for path in ("fails", "wrong", "sparse"):
        first = next((each for each in decided if each.path == path), None)
        if first is not None:
            break
    reason = "" if first is None or first.path == "sparse" else first.reason
    return BackendSummary(
        backend=backend,
        runtime=runtime.name,
        path=first.path if first is not None else "dense",
        operators=len(with_weights),
        sparse_operators=len(sparse),
        sparse_macs_share=sum(e.macs for e in sparse) / macs if macs else 0.0,
        sparse_weights_share=sparse_weights / weights if weights else 0.0,
        sparse_density=sum(e.weights * (1 - e.zeros) for e in sparse) / sparse_weights if sparse_weights else None,
        reason=reason,
    )


def _advice(backends: list[str], operators: list[OperatorForecast]) -> list[Advice]:
    """Cures, wrong results first, then by how much of the work they are for."""
    total = sum(each.macs for each in operators)
    cured: dict[str, list[tuple[OperatorForecast, str]]] = {}
    for each in operators:
        for backend in backends:
            if each.paths[backend].cure:
                cured.setdefault(each.paths[backend].cure, []).append((each, backend))
    unusable: set[str] = set()
    found = []
    for cure, places in cured.items():
        those = {each.index: each for each, _ in places}
        if any(each.paths[backend].path in ("wrong", "fails") for each, backend in places):
            unusable.add(cure)
        found.append(
            Advice(
                text=cure,
                backends=[backend for backend in backends if any(backend == b for _, b in places)],
                operators=list(those),
                macs_share=sum(each.macs for each in those.values()) / total if total else 0.0,
            )
        )
    return sorted(found, key=lambda advice: (advice.text not in unusable, -advice.macs_share))


def _notes(model: FlatModel, board: BoardType, runtime: Runtime, backends: list[str]) -> list[str]:
    notes = [f"Rules of {runtime.name} {runtime.verified}; other versions may differ."]
    constants = [model.constant(op.inputs[1]) for op in model.operators if op.name in _WEIGHTED and len(op.inputs) > 1]
    if any(model.tensors[t].type == "FLOAT16" for t in constants if t is not None):
        notes.append("float16 weights are expanded to float32 before the first inference.")
    if model.graph_count > 1:
        notes.append("Only the main graph is explained; the model has others, for control flow.")
    if CSR in backends:
        notes.append(f"csr is what its kernels decide for {target(board.arch, board.isa)}; XNNPACK has the rest.")
    elif CSR in board.backends and find_library() is None:
        notes.append("csr is not explained: its kernels are not built here; `make kernels` builds them.")
    if "xnnpack" in backends and board.arch == "armv7l":
        notes.append("On 32-bit ARM XNNPACK's block kernels are scalar; single values have vector kernels.")
    return notes
