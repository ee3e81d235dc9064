"""The process that hosts every runtime at once: TFLite with the csr backend and XNNPACK, onnxruntime, OpenVINO.

It runs in the peers' own environment, takes one request as JSON on stdin and prints its row as JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import openvino

from edgesparse.errors import EdgesparseError
from edgesparse.native_logs import quiet_native_logs
from kernels.bench.cells import Array
from kernels.bench.files import fail
from kernels.bench.modes import Request, interpreters, timed
from kernels.bench.onnx_export import to_onnx
from kernels.bench.rows import MakeCell, Row

RUNTIMES = ("onnxruntime", "openvino", "ai-edge-litert")


class OnnxRuntimeCell:
    """onnxruntime's CPU provider, all graph optimisations, input and output bound so that nothing is copied."""

    def __init__(self, model: bytes, threads: int) -> None:
        started_ns = time.perf_counter_ns()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Threads that spin for work after their turn would take it from whoever is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.load_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self._binding = self._session.io_binding()
        entry, exit_ = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input = np.zeros(entry.shape, np.float32)
        self._output = np.zeros(exit_.shape, np.float32)
        for bind, end, array in (
            (self._binding.bind_input, entry, self._input),
            (self._binding.bind_output, exit_, self._output),
        ):
            bind(end.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self.invoke: Callable[[], object] = partial(self._session.run_with_iobinding, self._binding)

    def run(self, sample: Array) -> Array:
        self._input[0] = _channels_first(sample)
        self.invoke()
        return np.array(self._output[0])


class OpenVinoCell:
    """OpenVINO's CPU plugin for latency, in float32 as the others, one request."""

    def __init__(self, model: bytes, threads: int) -> None:
        started_ns = time.perf_counter_ns()
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
        self.load_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self._request = compiled.create_infer_request()
        self._input = np.zeros(tuple(compiled.input(0).shape), np.float32)
        self._request.set_input_tensor(openvino.Tensor(self._input, shared_memory=True))
        self.invoke: Callable[[], object] = self._request.infer

    def run(self, sample: Array) -> Array:
        self._input[0] = _channels_first(sample)
        self.invoke()
        return np.array(self._request.get_output_tensor(0).data[0])


def compare(request: Request) -> Row:
    """One row: csr, XNNPACK dense and sparse, and the peers on the same weights."""
    with quiet_native_logs():
        model = to_onnx(request.files().zeros)
    threads = request.setting.threads
    cells: dict[str, MakeCell] = {
        **interpreters(request),
        "onnxruntime": partial(OnnxRuntimeCell, model, threads),
        "openvino": partial(OpenVinoCell, model, threads),
    }
    return {**timed(request, cells), "versions": {runtime: version(runtime) for runtime in RUNTIMES}}


def _channels_first(sample: Any) -> Any:
    return sample.transpose(2, 0, 1) if sample.ndim == 3 else sample


def main() -> int:
    """The process itself."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    # Runtimes print to stdout at times; the row must arrive alone.
    out, out_fd = os.dup(1), sys.stdout.fileno()
    os.dup2(2, out_fd)
    try:
        row = compare(request)
    except EdgesparseError as error:
        return fail(error)
    Path(f"/dev/fd/{out}").write_bytes(msgspec.json.encode(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
