"""The TFLite runtimes and what each backend means to them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Name of the distribution -> module that holds Interpreter and OpResolverType.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}


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


def _builtin(runtime: Any, model: str, threads: int) -> Any:
    """TFLite's own kernels: the op resolver that applies no delegate by default."""
    resolver = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return runtime.Interpreter(model_path=model, num_threads=threads, experimental_op_resolver_type=resolver)


def _xnnpack(runtime: Any, model: str, threads: int) -> Any:
    """TFLite's default: XNNPACK takes what it can at allocate_tensors(), the built-in kernels the rest."""
    return runtime.Interpreter(model_path=model, num_threads=threads)


BACKENDS: dict[str, Callable[[Any, str, int], Any]] = {"builtin": _builtin, "xnnpack": _xnnpack}


def make_interpreter(runtime: Any, backend: str, model: str, threads: int) -> Any:
    """An interpreter for a model file under a backend, tensors not yet allocated.

    Raises:
        Unsupported: no such backend.
    """
    if backend not in BACKENDS:
        raise Unsupported(f"no backend is called {backend!r} here; there are {', '.join(BACKENDS)}")
    return BACKENDS[backend](runtime, model, threads)
