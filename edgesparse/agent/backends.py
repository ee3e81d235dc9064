"""The TFLite runtimes and what each backend means to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgesparse.agent import lean

# Name of the distribution -> module that holds Interpreter and OpResolverType.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}
# Of the delegate's report.
REPORT_FORMAT = 1


# What a report says where the runtime did not ask the delegate.
REFUSED = "the runtime gives the kernels no graph whose shapes are computed at run time"


class Unsupported(Exception):
    """This runtime is not here, or does not know this backend."""


def load_runtime(name: str) -> tuple[Any, str]:
    """The runtime's interpreter module and its version.

    Raises:
        Unsupported: no such runtime, or it does not import here.
    """
    if name not in RUNTIMES:
        raise Unsupported(f"no runtime is called {name!r}; there are {', '.join(RUNTIMES)}")
    try:
        module = import_module(RUNTIMES[name])
    except ImportError as error:
        raise Unsupported(f"{name} does not import here: {error}") from None
    try:
        return module, version(name)
    except PackageNotFoundError:
        return module, getattr(import_module(RUNTIMES[name].split(".")[0]), "__version__", "unknown")


class DelegateRefused(Exception):
    """The kernels' delegate does not load here; says what it said."""


@dataclass(frozen=True)
class Delegate:
    """How the csr backend's kernels are loaded.

    Args:
        library: their path.
        options: theirs.
        alone: XNNPACK gets none of the rest.
        reading: what the model's file is in while they read it.
    """

    library: str
    options: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    reading: Callable[[], AbstractContextManager[None]] = nullcontext


def _builtin(runtime: Any, model: str, threads: int, delegate: Delegate | None) -> Any:
    """TFLite's own kernels: the op resolver that applies no delegate by default."""
    resolver = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return runtime.Interpreter(model_path=model, num_threads=threads, experimental_op_resolver_type=resolver)


def _xnnpack(runtime: Any, model: str, threads: int, delegate: Delegate | None) -> Any:
    """TFLite's default: XNNPACK takes what it can at allocate_tensors(), the built-in kernels the rest."""
    return runtime.Interpreter(model_path=model, num_threads=threads)


def _csr(runtime: Any, model: str, threads: int, delegate: Delegate | None) -> Any:
    """Our sparse kernels take what they are faster at, as the interpreter is made; XNNPACK and the built-in ones the
    rest."""
    if delegate is None:
        raise Unsupported("the kernels' library is not on this board")
    loaded, others = load_delegate(runtime, delegate), runtime.OpResolverType
    resolver = others.BUILTIN_WITHOUT_DEFAULT_DELEGATES if delegate.alone else others.AUTO
    options = {"num_threads": threads, "experimental_op_resolver_type": resolver}
    try:
        with ExitStack() as reading:  # which ends before a failed interpreter, and with it the mapped file, goes
            loaded = lean.Delegate(loaded, lambda: reading.enter_context(delegate.reading()))
            return runtime.Interpreter(model_path=model, experimental_delegates=[loaded], **options)
    except RuntimeError:
        # It gives a delegate no graph in which a shape is computed at run time: an error, where its own delegate just
        # gets nothing. What else may be wrong with the model is said again here.
        plain = _xnnpack(runtime, model, threads, None)
        plain.allocate_tensors()
        _report_refused(delegate)
        return plain


def _report_refused(delegate: Delegate) -> None:
    """In the delegate's place, which was not asked."""
    if place := delegate.options.get("report"):
        report = {"format": REPORT_FORMAT, "isa": "none", "nodes": [], "packing_ms": 0.0, "packed_bytes": 0}
        with open(place, "w") as file:
            json.dump({**report, "refused": REFUSED}, file)


BACKENDS: dict[str, Callable[[Any, str, int, Delegate | None], Any]] = {
    "builtin": _builtin,
    "xnnpack": _xnnpack,
    "csr": _csr,
}


def make_interpreter(runtime: Any, backend: str, model: str, threads: int, delegate: Delegate | None = None) -> Any:
    """An interpreter for a model file under a backend, tensors not yet allocated.

    Args:
        delegate: what the csr backend loads.

    Raises:
        Unsupported: no such backend. DelegateRefused: the kernels do not load.
    """
    if backend not in BACKENDS:
        raise Unsupported(f"no backend is called {backend!r} here; there are {', '.join(BACKENDS)}")
    return BACKENDS[backend](runtime, model, threads, delegate)


def load_delegate(runtime: Any, delegate: Delegate) -> Any:
    """The runtime's handle on the delegate.

    Raises:
        DelegateRefused: the file is missing or for another machine, or the delegate refuses an option.
    """
    load = getattr(runtime, "load_delegate", None)
    if load is None:
        raise DelegateRefused("this runtime loads no delegates")
    try:
        return load(delegate.library, dict(delegate.options))
    except (OSError, ValueError) as error:
        # The runtime puts a line of its own before what the delegate said.
        said = str(error).strip().splitlines() or ["it gave no reason"]
        raise DelegateRefused(said[-1]) from None


def read_report(path: str) -> dict[str, Any]:
    """What the delegate wrote about each operator while the interpreter was made.

    Raises:
        DelegateRefused: it wrote nothing, or a report of another version.
    """
    try:
        with open(path, "rb") as file:
            report = json.load(file)
    except (OSError, ValueError) as error:
        raise DelegateRefused(f"the kernels wrote no report: {error}") from None
    if not isinstance(report, dict) or report.get("format") != REPORT_FORMAT:
        found = report.get("format") if isinstance(report, dict) else report
        raise DelegateRefused(f"the kernels' report has format {found!r:.40}, this agent reads {REPORT_FORMAT}")
    return report
