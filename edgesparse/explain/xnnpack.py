"""XNNPACK's delegate: where its sparse path engages, where it stays off, and where it computes wrong values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edgesparse.boards.types import BoardType
from edgesparse.convert.flatbuffer import FlatModel, Operator
from edgesparse.explain import builtin
from edgesparse.explain.clusters import Cluster, Layout, Node, Obstacle, find_clusters
from edgesparse.explain.forecast import PathForecast
from edgesparse.explain.layouts import label, layout_problems
from edgesparse.explain.nodes import make_nodes
from edgesparse.explain.partition import partitions, refusal, shape_at_run_time
from edgesparse.explain.runtimes import Runtime

# A sparse 1x1 kernel packs blocks of 4 (or 2) outputs if at least 9 of 10 values in non-empty blocks are non-zero.
_BLOCK_FILL = 0.9

# Below this no kernel gains by skipping zeros, and nothing is advised.
_WORTHWHILE_ZEROS = 1 / 3

_CSR = "Run it under csr, whose kernels skip zero blocks of int8 weights."
_ACTIVATIONS_TOO = (
    'Quantise the activations too, with kind = "int8": zeros of dynamic-range weights no backend skips, and TFLite\'s '
    "own sparse kernels compute wrong values from them, so they are stored dense."
)
FIXED_BATCH = "Convert with a fixed batch size of 1: `edgesparse convert`."
_MORE_ZEROS = "Prune to more than 67 % zeros over the 1x1 convolutions: 70 % or more."


def forecast(
    model: FlatModel,
    board: BoardType,
    runtime: Runtime,
    weighted: dict[int, float],
    *,
    without: Collection[int] = (),
) -> dict[int, PathForecast]:
    """What the XNNPACK backend does with every operator that has something to say about sparsity.

    Args:
        model: the file.
        board: decides whether XNNPACK's sparse kernels are on at all.
        runtime: the runtime's rules.
        weighted: operators with constant weights, and their share of zeros.
        without: operators that another delegate has taken before.

    Returns:
        By operator index: all of `weighted` that are left, and those without weights that compute wrong values or fail.
    """
    found: dict[int, PathForecast] = {}
    in_partition: set[int] = set()
    for group in partitions(model, runtime, without):
        in_partition |= {op.index for op in group}
        found |= _partition(model, group, board, runtime, weighted)
    for index, zeros in weighted.items():
        op = model.operators[index]
        if index not in in_partition and index not in without:
            why = refusal(model, op, runtime)
            if not why:
                late = next(each for each in model.operators if shape_at_run_time(model, each))
                why = f"{runtime.name} keeps XNNPACK off: {label(late)} has a shape computed at run time"
            own = builtin.forecast(model, op, runtime, zeros)
            cure = own.cure
            if own.path == "dense" and "version 8" in why:
                cure = "Give those that are not block-sparse an operator code of version 1: `edgesparse convert`."
            elif own.path == "dense" and "run time" in why:
                cure = FIXED_BATCH
            found[index] = msgspec.structs.replace(own, reason=f"{why}; TFLite runs it: {own.reason}", cure=cure)
    return found


def _partition(
    model: FlatModel, group: Sequence[Operator], board: BoardType, runtime: Runtime, weighted: dict[int, float]
) -> dict[int, PathForecast]:
    nodes = make_nodes(model, group, runtime)
    external, beyond = _border(model, group, runtime)
    clusters = find_clusters(nodes, external, beyond, repeated_input_branches=runtime.repeated_input_branches)
    off = _why_off(board, runtime)
    hinted = any(builtin.sparse_type(model, op) == "densify" for op in group if op.index in weighted)
    layouts = clusters.layouts(lambda cluster: off is None and hinted and cluster.enough_zeros)
    wrong = layout_problems(model, nodes, layouts, runtime)
    # What would go wrong if pruning went far enough: no advice may lead there.
    lying_ahead = layout_problems(model, nodes, clusters.layouts(lambda cluster: cluster.enough_weights), runtime)
    trap = {
        id(clusters.of[n]): lying_ahead[node.operator] for n, node in enumerate(nodes) if node.operator in lying_ahead
    }
    found: dict[int, PathForecast] = {}
    for n, node in enumerate(nodes):
        op, zeros = model.operators[node.operator], weighted.get(node.operator)
        problem = _storage_problem(model, op, runtime) if zeros is not None else None
        problem = problem or wrong.get(node.operator)
        if problem is not None:
            found[op.index] = problem
        elif zeros is not None:
            case = _Case(node, op, clusters.of[n], layouts[n], zeros, off, hinted, trap.get(id(clusters.of[n])))
            found[op.index] = _weighted(model, case, board)
    return found


def _why_off(board: BoardType, runtime: Runtime) -> PathForecast | None:
    """Why no operator can run sparse on this board, whatever the graph."""
    if not board.x86:
        return None
    if "avx" in board.isa:
        reason = "XNNPACK switches its sparse kernels off on x86 CPUs with AVX"
    elif not runtime.sparse_without_avx:
        reason = f"{runtime.name}'s XNNPACK has no sparse kernels switched on for x86"
    else:
        return None
    return PathForecast(path="dense", kernel="XNNPACK dense", reason=reason, cure="Run it on an ARM board.")


def _border(model: FlatModel, group: Sequence[Operator], runtime: Runtime) -> tuple[set[int], dict[int, Obstacle]]:
    """The tensors that cross a partition's border, and what is on the other side."""
    inside = {op.index for op in group}
    external: set[int] = set(model.inputs)
    beyond: dict[int, Obstacle] = {}
    for tensor in {t for op in group for t in (*op.inputs, *op.outputs) if t != -1 and model.constant(t) is None}:
        maker = model.producer(tensor)
        others = [op for op in model.consumers(tensor) if op.index not in inside]
        if maker is not None and maker.index not in inside:
            others.insert(0, maker)
        if others:
            other = others[0]
            why = refusal(model, other, runtime) or "it is in another part of the graph"
            beyond[tensor] = Obstacle(other.index, why, f"Replace {other.name}, or move it behind the pooling.")
        if others or tensor in model.outputs:
            external.add(tensor)
    return external, beyond


def _storage_problem(model: FlatModel, op: Operator, runtime: Runtime) -> PathForecast | None:
    """Sparse encodings that the delegate reads wrongly or refuses while it is being set up."""
    early = builtin.version_problem(op, runtime)
    arrives = builtin.sparse_type(model, op)
    if early is not None or arrives == "none":
        return early
    if arrives == "dequantize":
        return builtin.dequantized_sparse("XNNPACK")
    stored = model.tensors[model.constant(op.inputs[1]) or 0].type
    cure = "Store int8 weights dense, or deploy a float32 file."
    if arrives == "direct":
        return PathForecast(
            path="wrong",
            kernel="XNNPACK dense",
            reason=f"XNNPACK takes this {stored.lower()} {op.name} and reads its compressed weights as dense ones",
            cure=cure if stored == "INT8" else "Give it operator version 8, so that XNNPACK leaves it to TFLite.",
        )
    hybrid = model.tensors[op.inputs[0]].type == "FLOAT32"
    if stored == "INT8" and (op.name == "FULLY_CONNECTED" or hybrid):
        kind = "dynamic-range" if hybrid else "int8"
        return PathForecast(
            path="fails",
            kernel="none",
            reason=f"XNNPACK claims this {kind} {op.name}, then refuses weights from DENSIFY: no interpreter starts",
            cure=cure,
        )
    return None


@dataclass(frozen=True)
class _Case:
    """One operator with weights that XNNPACK runs, and all that decides how."""

    node: Node
    op: Operator
    cluster: Cluster
    layout: Layout
    zeros: float
    off: PathForecast | None
    hinted: bool
    trap: PathForecast | None


def _weighted(model: FlatModel, case: _Case, board: BoardType) -> PathForecast:
    op, node, layout = case.op, case.node, case.layout
    has_kernel = node.parameters > 0 and node.inside
    if layout.writes and has_kernel:
        kernel = "XNNPACK sparse, " + packing(model.weights(op.inputs[1]), board)
        return PathForecast(path="sparse", kernel=kernel, reason=f"in a cluster with {_share(case.cluster)} zeros")
    if model.tensors[model.constant(op.inputs[1]) or 0].type == "INT8":
        return _int8(model, case)
    if op.name == "FULLY_CONNECTED":
        return _fully_connected(model, case)
    if layout.writes or layout.reads:
        return _dense(
            "behind the pooling that ends the cluster" if has_kernel else "no sparse kernel for this operator"
        )
    if case.off is not None:
        return case.off
    if node.obstacle is not None:
        return _dense(node.obstacle.reason, node.obstacle.cure, op.index)
    if not has_kernel:
        return _dense("no sparse kernel for this operator")
    return _no_cluster(model, case)


def _int8(model: FlatModel, case: _Case) -> PathForecast:
    """An operator of int8 weights, which XNNPACK runs dense on every CPU, in every graph."""
    dynamic = model.tensors[case.op.inputs[0]].type == "FLOAT32"
    able = case.op.name in ("CONV_2D", "FULLY_CONNECTED") and case.zeros >= _WORTHWHILE_ZEROS
    reason = "XNNPACK's sparse kernels are float only, this is " + ("dynamic-range int8" if dynamic else "int8")
    return _dense(reason, (_ACTIVATIONS_TOO if dynamic else _CSR) if able else "")


def _fully_connected(model: FlatModel, case: _Case) -> PathForecast:
    """A FULLY_CONNECTED that runs dense; the cure is not XNNPACK's, but to leave it to TFLite's sparse kernel."""
    node = case.node
    if case.off is not None:
        reason = case.off.reason
    elif case.layout.reads:
        reason = "last in its cluster: XNNPACK runs that one dense"
    elif node.inside and not case.cluster.obstacles and case.cluster.conforms:
        return _no_cluster(model, case)
    elif node.inside:
        reason = "XNNPACK runs it sparse only right behind a global pooling that ends a sparse cluster"
    else:
        reason = node.obstacle.reason if node.obstacle else "no sparse kernel for this operator"
    floats = model.tensors[model.constant(case.op.inputs[1]) or 0].type == "FLOAT32"
    return _dense(reason, builtin.BLOCKS_OF_INPUTS if floats else "")


def _no_cluster(model: FlatModel, case: _Case) -> PathForecast:
    """Why an operator that XNNPACK has a sparse kernel for is in no cluster that is switched on."""
    cluster, own = case.cluster, case.op.index
    if cluster.obstacles:
        blamed = next((o for o in cluster.obstacles if o.operator == own), cluster.obstacles[0])
        where = "" if blamed.operator == own else f"{label(model.operators[blamed.operator])}: "
        more = len({o.operator for o in cluster.obstacles}) - 1
        rest = f" (and {more} more in this cluster)" if more > 0 else ""
        return _dense(f"{where}{blamed.reason}{rest}", blamed.cure, blamed.operator)
    if not cluster.closed:
        cure = "End the convolutions with GlobalAveragePooling2D."
        return _dense("no global pooling or DEPTH_TO_SPACE ends the cluster", cure)
    few = not cluster.enough_zeros
    if few:
        reason = f"the cluster's 1x1 weights have {_share(cluster)} zeros, and XNNPACK wants more than 66.7 %"
    else:
        reason = "zeros stored dense: XNNPACK looks for them only if some weights are stored sparse (DENSIFY)"
    if case.trap is not None:
        return _dense(f"{reason}; and then outputs would be wrong: {case.trap.reason}", case.trap.cure)
    if few:
        return _dense(f"the graph fits, but {reason}", _MORE_ZEROS)
    return _dense(reason, "Store the weights sparse: `edgesparse convert`.")


def _share(cluster: Cluster) -> str:
    # Cut, not rounded: 66.66 % must not read as 66.7 %.
    return f"{math.floor(1000 * cluster.zeros / max(cluster.parameters, 1)) / 10:.1f} %"


def _dense(reason: str, cure: str = "", spoiler: int | None = None) -> PathForecast:
    return PathForecast(path="dense", kernel="XNNPACK dense", reason=reason, cure=cure, spoiler=spoiler)


def packing(weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]], board: BoardType) -> str:
    """How XNNPACK packs a sparse 1x1 kernel, (outputs, …, inputs): blocks of 4 or 2 outputs, or single values.

    Blocks have vector kernels on ARM64 and scalar ones on 32-bit ARM; x86 has none.
    """
    if board.x86:
        return "single values"
    nonzero = weights.reshape(weights.shape[0], -1) != 0
    scalar = ", scalar kernels" if board.arch == "armv7l" else ""
    for size in (4, 2):
        whole = nonzero[: nonzero.shape[0] // size * size].reshape(-1, size, nonzero.shape[1])
        kept = int(whole.any(axis=1).sum()) * size
        if kept and whole.sum() >= _BLOCK_FILL * kept:
            return f"blocks of {size} outputs{scalar}"
    return "single values"
