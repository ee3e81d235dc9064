"""The worker: one variant under one backend, in a process of its own, told what to do over a pipe.

In:  load {model, twin, inputs, golden, backend, threads, runtime, delegate, report, cpus, lean}, then measure {samples,
launch_s, warmup_s, window_s}; or plan {model, runtime, delegate, report}; or run {model, inputs, outputs, backend,
runtime, limit_s, kernels}, which a child does; or prepare {runtime}, for what comes. End of input ends it.
Out: loaded {init_ms, first_inference_ms, parity, path, runtime, delegate}, measured {warmup_ns, latency_ns, window_ns,
inferences}, planned {delegate}, ran {samples}, prepared {}, or failed {kind, reason}.

`delegate` is the csr backend's library and options on the way in, and what it reports of every operator on the way out;
`report` is the file that it writes that to. `lean` {weights, alone, kernels, rest_known} is for who only checks a large
file, of `weights` "floats" or "quantised": a child of this process loads it, which takes all its memory along when it
ends, and the file leaves memory while the runtime makes its own of it (`kernels`, their library, sees to that). With
`alone` no XNNPACK takes what the csr backend leaves. Where csr leaves everything, and the outputs of what runs the rest
are known (`rest_known`), nothing is run and `parity` is null. There is nothing to measure after that.

Only `invoke()` is inside the timed region. The stream is guarded: whatever a runtime prints to stdout goes to stderr.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from edgesparse import wire
from edgesparse.agent import backends, parity, quantised
from edgesparse.agent.lean import in_child, kept_out_of_memory

MIN_SAMPLES = 5
MIN_WARMUP = 3
# The kind of lean load whose file is known not to be quantised.
_FLOATS = "floats"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Model:
    """One interpreter, allocated, and how long that took.

    Raises:
        RuntimeError, ValueError: what the runtime says to a file that it refuses.
        backends.DelegateRefused: the csr backend's kernels do not load.
    """

    def __init__(
        self,
        runtime: Any,
        path: str,
        backend: str,
        threads: int,
        delegate: backends.Delegate | None = None,
        reading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        started_ns = time.perf_counter_ns()
        self.interpreter = backends.make_interpreter(runtime, backend, path, threads, delegate)
        with reading():
            self.interpreter.allocate_tensors()
        self.init_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self.inputs = self.interpreter.get_input_details()
        self.outputs = [detail["index"] for detail in self.interpreter.get_output_details()]

    def set_inputs(self, arrays: list[Any]) -> None:
        """Give the model one sample: an array per input, of the input's shape and type, or floats for int8."""
        for detail, array in zip(self.inputs, arrays):
            self.interpreter.set_tensor(detail["index"], quantised.as_input(array, detail))

    def run_all(self, samples: list[Any], limit_s: float | None = None, *, first_ran: bool = False) -> list[Any]:
        """Outputs for every sample: one array per output, samples along axis 0. Samples end before the first one whose
        outputs have another shape, where that depends on the data.

        Args:
            samples: one array per input.
            limit_s: fewer samples once it is reached, but one at least.
            first_ran: the first sample has just been run.
        """
        import numpy as np

        outputs: list[list[Any]] = []
        end_s = time.monotonic() + (math.inf if limit_s is None else limit_s)
        for number in range(len(samples[0])):
            if number and time.monotonic() > end_s:
                break
            if number or not first_ran:
                self.set_inputs([array[number] for array in samples])
                self.interpreter.invoke()
            found = [self.interpreter.get_tensor(index) for index in self.outputs]
            if outputs and [each.shape for each in found] != [each.shape for each in outputs[0]]:
                break
            outputs.append(found)
        return [np.stack(each) for each in zip(*outputs)]

    def verdict(
        self,
        inputs: list[Any],
        golden: list[Any],
        backend: str,
        stock: Callable[[str], list[Any]],
        *,
        rounding: float = 0.0,
        first_ran: bool = False,
        floats: bool = False,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Outputs for every sample, and the parity gate's verdict on them.

        Args:
            inputs: samples, one array per input.
            golden: the outputs expected.
            backend: the model's own.
            stock: gives the same model's outputs under another backend.
            rounding: as of `quantised.judge`.
            first_ran: the first sample has just been run.
            floats: it is known not to be quantised. To look takes a copy of all sparsity metadata, which tflite-runtime
                never gives back.
        """
        outputs = self.run_all(inputs, first_ran=first_ran)
        if floats or not quantised.is_quantised(self.interpreter):
            return outputs, parity.compare(outputs, golden)

        steps = quantised.output_steps(self.interpreter)
        return outputs, quantised.judge(outputs, golden, steps, backend, stock, rounding)

    def reads_sparse(self) -> list[str]:
        """The operators, other than DENSIFY, that read a tensor stored sparse."""
        sparse = {each["index"] for each in self.interpreter.get_tensor_details() if each["sparsity_parameters"]}
        operators = self.interpreter._get_ops_details()  # public nowhere, the same in every runtime
        return [
            f"{each['op_name']} {each['index']}"
            for each in operators
            if each["op_name"] not in ("DENSIFY", "DELEGATE") and sparse & set(each["inputs"])
        ]


class Loaded(NamedTuple):
    """What a load gives.

    Attributes:
        model: ready to be measured.
        outputs: for every sample, as `Model.run_all`; none where nothing was run.
        answer: to whoever asked.
    """

    model: Model
    outputs: list[Any]
    answer: wire.Message


def load_arrays(path: str) -> list[Any]:
    """The arrays "0", "1", … of an .npz file, in order. Never unpickles."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return [archive[str(number)] for number in range(sum(name.isdigit() for name in archive.files))]


def load_rounding(path: str) -> float:
    """The steps of `quantised.ROUNDING` in a file of golden outputs; 0 where it says nothing."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return float(archive[quantised.ROUNDING]) if quantised.ROUNDING in archive.files else 0.0


def load(message: wire.Message, known: Callable[[str], list[Any] | None] = lambda backend: None) -> Loaded:
    """Load a variant, pass it through the parity gate and, with a twin, find out which path it takes.

    Args:
        message: what to load.
        known: the outputs of the same file under another backend, where it has just run.
    """
    if cpus := message.get("cpus"):
        os.sched_setaffinity(0, cpus)  # before the runtime starts threads, which inherit it
    name = wire.text(message, "runtime")
    runtime, version = backends.load_runtime(name)
    backend, threads = wire.text(message, "backend"), wire.whole(message, "threads")
    inputs, golden = load_arrays(wire.text(message, "inputs")), load_arrays(wire.text(message, "golden"))
    path_of_model, lean = wire.text(message, "model"), message.get("lean", {})
    reading = _reading(path_of_model, lean) if lean else contextlib.nullcontext
    delegate, report_path = _delegate(message, reading), message.get("report")
    model = Model(runtime, path_of_model, backend, threads, delegate, reading)
    report = backends.read_report(report_path) if backend == wire.CSR and report_path else None
    if lean.get("rest_known") and report is not None and _is_left_alone(report):
        return Loaded(model, [], {"type": "loaded", "parity": None, "runtime": {"name": name, "version": version}})
    model.set_inputs([array[0] for array in inputs])
    with reading():
        started_ns = time.perf_counter_ns()
        model.interpreter.invoke()
        first_ms = (time.perf_counter_ns() - started_ns) / 1e6

    def stock(name: str) -> list[Any]:
        if outputs := known(name):
            return outputs
        plain = Model(runtime, path_of_model, name, threads, reading=reading)
        with reading():
            return plain.run_all(inputs)

    rounding = load_rounding(wire.text(message, "golden"))
    with reading():
        outputs, verdict = model.verdict(
            inputs, golden, backend, stock, rounding=rounding, first_ran=True, floats=lean.get("weights") == _FLOATS
        )
    path, twin = None if report is None else _path_of_kernels(report), message.get("twin")
    if twin == path_of_model and path is None:
        kept = "the weights are stored dense, and this backend looks for no zeros"
        path = {"taken": "dense", "evidence": kept if report is None else _left(report)}
    elif twin and path is None:
        # The kernels find the twin's zeros too, so where they took nothing the twin runs without them.
        plain = wire.XNNPACK if backend == wire.CSR else backend
        path = _path_taken(model, outputs, Model(runtime, twin, plain, threads).run_all(inputs))
        if report is not None:
            path["evidence"] = f"{_left(report)}; {path['evidence']}"
    elif path is None and report is not None:
        path = {"taken": "dense", "evidence": _left(report)}
    model.set_inputs([array[0] for array in inputs])
    answer = {
        "type": "loaded",
        "init_ms": model.init_ms,
        "first_inference_ms": first_ms,
        "parity": {**verdict, "samples": len(inputs[0])},
        "path": path,
        "delegate": report,
        "runtime": {"name": name, "version": version},
        "cpus": sorted(os.sched_getaffinity(0)),
    }
    return Loaded(model, outputs, answer)


def plan(message: wire.Message) -> wire.Message:
    """Have the delegate say what it would do with every operator, on the CPU that its `plan` option names."""
    runtime, _ = backends.load_runtime(wire.text(message, "runtime"))
    delegate, report_path = _delegate(message), wire.text(message, "report")
    backends.make_interpreter(runtime, wire.CSR, wire.text(message, "model"), 1, delegate)
    return {"type": "planned", "delegate": backends.read_report(report_path)}


def run(message: wire.Message) -> wire.Message:
    """Write a model's outputs for the samples in a file to another, as many as there is time for."""
    import numpy as np

    runtime, _ = backends.load_runtime(wire.text(message, "runtime"))
    path = wire.text(message, "model")
    reading = _reading(path, message)
    model = Model(runtime, path, wire.text(message, "backend"), 1, reading=reading)
    with reading():
        outputs = model.run_all(load_arrays(wire.text(message, "inputs")), float(message["limit_s"]))
    np.savez(wire.text(message, "outputs"), **{str(number): array for number, array in enumerate(outputs)})
    return {"type": "ran", "samples": len(outputs[0])}


def _reading(path: str, message: wire.Message) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What a large file is read in, so that it leaves memory again."""
    return functools.partial(kept_out_of_memory, path, message.get("kernels"))


def _delegate(
    message: wire.Message, reading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
) -> backends.Delegate | None:
    """The csr backend's library and options in a message, told where to report to."""
    found, report_path = message.get("delegate"), message.get("report")
    if found is None:
        return None
    options = {**found["options"], **({"report": report_path} if report_path else {})}
    return backends.Delegate(found["library"], options, message.get("lean", {}).get("alone", False), reading)


def _path_of_kernels(report: dict[str, Any]) -> dict[str, str] | None:
    """Sparse, and by which kernels, if the csr backend's delegate claimed anything."""
    claimed = Counter(node["kernel"] for node in report["nodes"] if node["claimed"] and not node["neighbour"])
    if not claimed:
        return None
    kernels = ", ".join(name if count == 1 else f"{name} x{count}" for name, count in claimed.most_common())
    candidates = sum(node["format"] is not None or not node["claimed"] for node in report["nodes"])
    evidence = f"{sum(claimed.values())} of {candidates} operators: {kernels}"
    neighbours = sum(node["claimed"] and node["neighbour"] for node in report["nodes"])
    if neighbours:
        evidence += f"; {neighbours} dense ones with them"
    return {"taken": "sparse", "evidence": evidence}


def _is_left_alone(report: dict[str, Any]) -> bool:
    """Whether the delegate saw the graph and claimed nothing of it."""
    return not report.get("refused") and not any(node["claimed"] for node in report["nodes"])


def _left(report: dict[str, Any]) -> str:
    """Why the csr backend's delegate claimed nothing, in its own words."""
    reasons = Counter(node["reason"] for node in report["nodes"])
    if report.get("refused"):
        return f"all operators ran under XNNPACK: {report['refused']}"
    if not reasons:
        return "the kernels found no convolution and no fully connected layer"
    (first, count), *others = reasons.most_common()
    more = f" ({count} of {len(report['nodes'])} operators)" if others else ""
    return f"the kernels left all operators to XNNPACK: {first}{more}"


def _path_taken(model: Model, outputs: list[Any], twin_outputs: list[Any]) -> dict[str, str]:
    """Bit-equal to the same weights stored dense: the same kernels ran. A little apart: sums were taken in another
    order.

    TFLite's own sparse kernel of a fully connected layer keeps the order on some CPUs, so an operator that reads sparse
    weights without a DENSIFY in between counts as sparse whatever its bits.
    """
    import numpy as np

    samples = len(outputs[0])
    if direct := model.reads_sparse():
        return {
            "taken": "sparse",
            "evidence": f"{', '.join(direct)} read sparse weights directly, by TFLite's own kernel",
        }
    pairs = list(zip(outputs, twin_outputs))
    if all(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc") for one, other in pairs):
        return {"taken": "dense", "evidence": f"outputs are bit-equal to the dense-stored twin's on {samples} inputs"}
    apart = max(parity.farthest(one, other) for one, other in pairs)
    return {
        "taken": "sparse",
        "evidence": f"outputs are {apart:.1e} apart from the dense-stored twin's on {samples} inputs",
    }


def measure(model: Model, message: wire.Message) -> wire.Message:
    """Time `invoke()`: warm up, then until `samples` or `launch_s`, but never fewer than MIN_SAMPLES. Where power is
    read, go on untimed until `window_s` is full: sensors are slower than clocks."""
    window_s = float(message.get("window_s", 0.0))
    wanted, launch_s, warmup_s = wire.whole(message, "samples"), float(message["launch_s"]), float(message["warmup_s"])
    invoke, clock_ns = model.interpreter.invoke, time.perf_counter_ns
    gc.collect()
    gc.disable()
    # A slice of a launch that goes on is warm already.
    warmup_ns = _timed(invoke, clock_ns, MIN_WARMUP, sys.maxsize, warmup_s) if message.get("first", True) else []
    begin_ns = clock_ns()
    latency_ns = _timed(invoke, clock_ns, MIN_SAMPLES, wanted, launch_s)
    inferences, end_ns = len(latency_ns), clock_ns()
    while end_ns < begin_ns + window_s * 1e9:
        invoke()
        inferences, end_ns = inferences + 1, clock_ns()
    gc.enable()
    window = {"window_ns": [begin_ns, end_ns], "inferences": inferences}
    return {"type": "measured", "warmup_ns": warmup_ns, "latency_ns": latency_ns, **window}


def _timed(invoke: Any, clock_ns: Any, at_least: int, at_most: int, seconds: float) -> list[int]:
    taken: list[int] = []
    end_ns = clock_ns() + int(seconds * 1e9)
    while len(taken) < at_least or (len(taken) < at_most and clock_ns() < end_ns):
        started_ns = clock_ns()
        invoke()
        taken.append(clock_ns() - started_ns)
    return taken


def guarded_streams() -> tuple[BinaryIO, BinaryIO]:
    """Our end of the pipe, out of reach of stray prints: stdin is closed to others, stdout is stderr for them."""
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.dup2(2, 1)
    return inward, outward


def end_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends: where a runtime hangs, nobody here would see the end of
    the pipe. Where the kernel cannot, that end is all there is."""
    import ctypes

    with contextlib.suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        raise SystemExit(1)


def main(parent: int | None = None) -> int:
    """Serve one pipe until it ends.

    Args:
        parent: the process that started this one, to end with it.
    """
    if parent is not None:
        end_with(parent)
    inward, outward = guarded_streams()
    model: Model | None = None
    lean = _Lean()
    for line in inward:
        try:
            message = wire.decode(line)
            if message["type"] == "load":
                model = None  # two large models at once may be too much
                if message.get("lean"):
                    outward.write(lean.load(message))
                    continue
                model, _, answer = load(message)
            elif message["type"] == "plan":
                answer = plan(message)
            elif message["type"] == "run":
                outward.write(lean.run(message))
                continue
            elif message["type"] == "prepare":
                lean.prepare(message)
                answer = {"type": "prepared"}
            elif message["type"] == "measure" and model is not None:
                answer = measure(model, message)
            else:
                raise wire.WireError(f"a worker cannot {message['type']!r} now")
        except Exception as error:
            answer = _failed(error)
        outward.write(wire.encode(answer))
    return 0


class _Lean:
    """Does what takes much memory, and keeps nothing of it: in a child of this process each time."""

    def __init__(self) -> None:
        # What XNNPACK gave last, and for what: model, inputs and runtime.
        self._stock: tuple[list[str], list[Any]] | None = None

    def prepare(self, message: wire.Message) -> None:
        """Have here what each child needs."""
        import numpy  # noqa: F401

        backends.load_runtime(wire.text(message, "runtime"))

    def run(self, message: wire.Message) -> bytes:
        """The line that answers to it."""
        self.prepare(message)

        def work() -> bytes:
            try:
                return wire.encode(run(message))
            except Exception as error:
                return wire.encode(_failed(error))

        return in_child(work, end_with)

    def load(self, message: wire.Message) -> bytes:
        """The line that answers to it."""
        self.prepare(message)
        of = [wire.text(message, key) for key in ("model", "inputs", "runtime")]
        # Only quantised outputs are asked for again.
        kept = message.get("backend") == wire.XNNPACK and message["lean"]["weights"] != _FLOATS

        def known(backend: str) -> list[Any] | None:
            return self._stock[1] if backend == wire.XNNPACK and self._stock and self._stock[0] == of else None

        def work() -> bytes:
            try:
                _, outputs, answer = load(message, known)
            except Exception as error:
                outputs, answer = [], _failed(error)
            return pickle.dumps((wire.encode(answer), outputs if kept else []))

        line, outputs = pickle.loads(in_child(work, end_with))
        if outputs:
            self._stock = (of, outputs)
        return line  # type: ignore[no-any-return]


def _failed(error: Exception) -> wire.Message:
    """A runtime raises what it likes; the reason goes to the comparison."""
    if isinstance(error, (backends.Unsupported, backends.DelegateRefused)):
        return {"type": "failed", "kind": "unsupported", "reason": str(error)}
    return {"type": "failed", "kind": "error", "reason": f"{type(error).__name__}: {error}"}
