"""What is timed against what: one model file in one runtime under one backend."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgesparse.agent import backends
from edgesparse.errors import MeasurementError
from edgesparse.native_logs import quiet_native_logs

Array = npt.NDArray[Any]


class Cell(Protocol):
    """A model that is ready to run."""

    load_ms: float
    invoke: Callable[[], object]

    def run(self, sample: Array) -> Array:
        """The output for one input, both without a batch dimension of their own."""


@dataclass(frozen=True)
class Recipe:
    """How to make a cell of a TFLite runtime.

    Attributes:
        file: the model.
        backend: builtin, xnnpack or csr.
        threads: of the interpreter.
        delegate: the csr backend's library and options.
        runtime: one of `edgesparse.agent.backends.RUNTIMES`.
    """

    file: Path
    backend: str
    threads: int = 1
    delegate: Path | None = None
    options: Mapping[str, str] | None = None
    runtime: str = "ai-edge-litert"


class TfliteCell:
    """An interpreter, allocated, and what the csr backend's delegate reported.

    Raises:
        MeasurementError: the runtime or the delegate refuses; says what it said.
    """

    def __init__(self, recipe: Recipe) -> None:
        try:
            runtime, self.runtime_version = backends.load_runtime(recipe.runtime)
            with tempfile.TemporaryDirectory() as directory, quiet_native_logs():
                report = Path(directory) / "report.json"
                started_ns = time.perf_counter_ns()
                self.interpreter = _interpreter(runtime, recipe, report)
                self.interpreter.allocate_tensors()
                self.load_ms = (time.perf_counter_ns() - started_ns) / 1e6
                self.report: dict[str, Any] | None = json.loads(report.read_bytes()) if report.exists() else None
        except (backends.Unsupported, backends.DelegateRefused, RuntimeError, ValueError, OSError) as error:
            raise MeasurementError(f"{recipe.file.name} does not load under {recipe.backend}: {error}.") from None
        self.invoke: Callable[[], object] = self.interpreter.invoke
        self._input = self.interpreter.get_input_details()[0]
        self._output = self.interpreter.get_output_details()[0]["index"]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample, without the batch of 1."""
        return tuple(int(size) for size in self._input["shape"][1:])

    def samples(self, count: int, seed: int) -> list[Array]:
        """Random inputs of the model's type, without the batch of 1: of unit variance, or all of int8's values."""
        random, shape = np.random.default_rng(seed), (count, *self.input_shape)
        if self._input["dtype"] == np.int8:
            return list(random.integers(-128, 128, shape).astype(np.int8))
        return list(random.standard_normal(shape, np.float32))

    def run(self, sample: Array) -> Array:
        self.interpreter.set_tensor(self._input["index"], sample[None])
        self.invoke()
        return np.asarray(self.interpreter.get_tensor(self._output)[0])


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """The delegate's report in a few numbers: what was claimed, by which kernels, and what its cost model expects.

    `predicted_saving_ms` is dense less sparse over the operators that were claimed; None where one has no prediction.
    """
    claimed = [node for node in report["nodes"] if node["claimed"] and not node["neighbour"]]
    predicted = [(node.get("dense_us"), node.get("sparse_us")) for node in claimed]
    known = all(dense is not None and sparse is not None for dense, sparse in predicted)
    return {
        "isa": report.get("isa"),
        "considered": sum(not (node["claimed"] and node["neighbour"]) for node in report["nodes"]),
        "claimed": len(claimed),
        "neighbours": sum(node["claimed"] and node["neighbour"] for node in report["nodes"]),
        "kernels": dict(Counter(str(node["kernel"]) for node in claimed).most_common()),
        "packing_ms": report.get("packing_ms"),
        "packed_bytes": report.get("packed_bytes"),
        "predicted_saving_ms": sum(dense - sparse for dense, sparse in predicted) / 1e3 if known else None,
    }


def _interpreter(runtime: Any, recipe: Recipe, report: Path) -> Any:
    delegate = None
    if recipe.delegate is not None:
        options = {**(recipe.options or {}), "report": str(report)}
        delegate = backends.Delegate(str(recipe.delegate), options)
    return backends.make_interpreter(runtime, recipe.backend, str(recipe.file), recipe.threads, delegate)
