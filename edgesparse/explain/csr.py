"""The csr backend: what our kernels' delegate itself decides for a board's CPU, and what XNNPACK makes of the rest.

The delegate's library for this machine is asked, with its `plan` option, in a process of its own: the cost model is in
the library and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from edgesparse import kernels
from edgesparse.agent.backends import RUNTIMES
from edgesparse.agent.process import WorkerFailed, WorkerProcess
from edgesparse.boards.types import BoardType
from edgesparse.convert.flatbuffer import FlatModel
from edgesparse.errors import UsageError
from edgesparse.explain import builtin, xnnpack
from edgesparse.explain.forecast import Path as KernelPath
from edgesparse.explain.forecast import PathForecast
from edgesparse.explain.runtimes import Runtime

DEADLINE_S = 120.0


def forecast(
    model: FlatModel, board: BoardType, runtime: Runtime, weighted: dict[int, float]
) -> dict[int, PathForecast]:
    """What the csr backend does with every operator that has something to say about sparsity.

    Args:
        model: the file.
        board: its CPU is the one that is decided for.
        runtime: the rules by which XNNPACK takes the rest.
        weighted: operators with constant weights, and their share of zeros.

    Returns:
        By operator index, as `xnnpack.forecast`.

    Raises:
        UsageError: the kernels are not built here, or do not load.
    """
    if any(builtin.version_problem(model.operators[index], runtime) for index in weighted):
        return xnnpack.forecast(model, board, runtime, weighted)  # no interpreter starts, so no delegate is asked
    try:
        report = plan(model, kernels.target(board.arch, board.isa), runtime.name)
    except WorkerFailed as failure:
        stops = PathForecast(path="fails", kernel="none", reason=f"no interpreter starts: {failure.reason}")
        return dict.fromkeys(weighted, stops)
    if refused := report.get("refused"):
        found = xnnpack.forecast(model, board, runtime, weighted)
        dense = {index for index, path in found.items() if path.path == "dense" and index in weighted}
        changed = {
            index: msgspec.structs.replace(found[index], reason=refused, cure=xnnpack.FIXED_BATCH) for index in dense
        }
        return {**found, **changed}
    nodes = {node["node"]: node for node in report["nodes"]}
    claimed = {index for index, node in nodes.items() if node["claimed"]}
    rest = xnnpack.forecast(model, board, runtime, weighted, without=claimed | _swallowed(model, claimed))
    found = {index: path for index, path in rest.items() if index not in claimed}
    for index, node in nodes.items():
        if node["claimed"] and index in weighted:
            kernel = node["kernel"] or f"edgesparse {node['format'] or 'dense'}"
            path: KernelPath = "dense" if node["neighbour"] else "sparse"
            found[index] = PathForecast(path=path, kernel=kernel, reason=node["reason"])
        elif index in found and found[index].path == "dense":
            found[index] = msgspec.structs.replace(found[index], reason=node["reason"], cure="", spoiler=None)
    return found


def _swallowed(model: FlatModel, claimed: set[int]) -> set[int]:
    """The operators that only unpack weights for claimed ones; they are claimed with them."""
    return {
        op.index
        for op in model.operators
        if op.name in ("DENSIFY", "DEQUANTIZE")
        and (readers := [each for output in op.outputs for each in model.consumers(output)])
        and all(reader.index in claimed for reader in readers)
    }


def plan(model: FlatModel, target: str, runtime: str) -> dict[str, Any]:
    """The delegate's report on a model, as if for the CPU `target` (see `kernels.target`).

    Raises:
        UsageError: the kernels are not built here, or do not load. WorkerFailed: the runtime refuses the model.
    """
    library = kernels.library_path()
    with tempfile.TemporaryDirectory(prefix="edgesparse-") as directory:
        file = Path(directory) / "model.tflite"
        file.write_bytes(model.data)
        message = {
            "type": "plan",
            "model": str(file),
            "runtime": _runtime_here(runtime),
            "delegate": {"library": str(library), "options": {"plan": target}},
            "report": str(Path(directory) / "report.json"),
        }
        try:
            return _run(message)
        except WorkerFailed as failure:
            if failure.kind != "unsupported":
                raise
            raise UsageError(
                f"The kernels in {library} cannot be asked: {failure.reason}",
                hint="Explain without them: --backend builtin --backend xnnpack",
            ) from None


def _runtime_here(wanted: str) -> str:
    """The runtime itself where it is installed here, else another: the decision is the delegate's."""
    installed = [name for name, module in RUNTIMES.items() if find_spec(module.partition(".")[0]) is not None]
    return wanted if wanted in installed else installed[0]


def _run(message: dict[str, Any]) -> dict[str, Any]:
    """Ask a worker, also from a notebook, where a loop already runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _ask(message)).result()


async def _ask(message: dict[str, Any]) -> dict[str, Any]:
    async with WorkerProcess([sys.executable, "-m", "edgesparse.agent", "worker"], DEADLINE_S) as worker:
        report: dict[str, Any] = (await worker.ask(message))["delegate"]
        return report
