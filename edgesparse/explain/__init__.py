"""Foretells, without running anything, what each operator of a model does on a board under each backend, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgesparse.boards.types import BoardType
from edgesparse.convert.flatbuffer import DTYPES, FlatModel, Operator, Tensor, read_model
from edgesparse.convert.layers import kernel_operators, layer_name, other_weights, overall_density, stored_weights
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
from edgesparse.explain.work import macs, other_forecast
from edgesparse.kernels import find_library, target
from edgesparse.patterns import parse_pattern, zero_units
from edgesparse.wire import BACKENDS, CSR

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Advice", "BackendSummary", "Explanation", "OperatorForecast", "PathForecast", "Storage", "explain"]


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
    weighted = {op.index: _zeros(found, op) for op in kernel_operators(found)}
    others: dict[int, list[Tensor]] = {}
    for _, op, tensor in other_weights([found]):
        others.setdefault(op.index, []).append(tensor)
    paths = {backend: _paths(found, board, rules, backend, weighted) for backend in chosen}
    operators = [
        other_forecast(found, op, others[op.index], {backend: paths[backend].get(op.index) for backend in chosen})
        if op.index in others and op.index not in weighted
        else _operator(found, op, weighted, board, {backend: paths[backend].get(op.index, _NONE) for backend in chosen})
        for op in found.operators
        if not is_unpacking(found, op)
    ]
    return Explanation(
        model=found.source,
        board=board.name,
        arch=board.arch,
        isa=board.isa,
        runtime=rules.name,
        weights=sum(math.prod(tensor.shape) for _, tensor in stored_weights([found])),
        density=overall_density([found]),
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
        found = xnnpack.forecast(model, board, runtime, weighted)
    elif backend == CSR:
        found = csr.forecast(model, board, runtime, weighted)
    else:
        found = {index: builtin.forecast(model, model.operators[index], runtime, z) for index, z in weighted.items()}
    for index in weighted:
        kind = _unreadable(model, model.operators[index])
        if kind and index in found and found[index].path == "dense":
            reason = f"weights of type {kind} cannot be read: their zeros are not counted"
            found[index] = msgspec.structs.replace(found[index], reason=reason, cure="", spoiler=None)
    return found


def _unreadable(model: FlatModel, op: Operator) -> str:
    """The type of an operator's kernel, if it has no counterpart in numpy."""
    kind = model.tensors[model.constant(op.inputs[1]) or 0].type
    return "" if kind in DTYPES else kind


def _zeros(model: FlatModel, op: Operator) -> float:
    if _unreadable(model, op):
        return 0.0
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
        macs=macs(model, op),
        type=kind,
        encoding=model.encoding(op.inputs[1]) if has_weights else "",
        paths=paths,
        zero_blocks=zero_blocks,
    )


def _summary(backend: str, runtime: Runtime, operators: list[OperatorForecast]) -> BackendSummary:
    with_weights = [each for each in operators if each.weights]
    sparse = [each for each in with_weights if each.paths[backend].path == "sparse"]
    work, weights = sum(e.macs for e in operators), sum(e.weights for e in with_weights)
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
        sparse_macs_share=sum(e.macs for e in sparse) / work if work else 0.0,
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
    constants = [model.constant(op.inputs[1]) or 0 for op in kernel_operators(model)]
    if any(model.tensors[index].type == "FLOAT16" for index in constants):
        notes.append("float16 weights are expanded to float32 before the first inference.")
    if model.graph_count > 1:
        notes.append("Only the main graph is explained, and its work; the model has others, for loops and branches.")
    if CSR in backends:
        notes.append(f"csr is what its kernels decide for {target(board.arch, board.isa)}; XNNPACK has the rest.")
    elif CSR in board.backends and find_library() is None:
        notes.append("csr is not explained: its kernels are not built here; `make kernels` builds them.")
    if "xnnpack" in backends and board.arch == "armv7l":
        notes.append("On 32-bit ARM XNNPACK's block kernels are scalar; single values have vector kernels.")
    return notes
