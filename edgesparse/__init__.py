"""edgesparse: prune a model, ship it to an edge board, prove on the board whether it got faster.

The names below are the library; each is imported when it is first used, so that `import edgesparse` costs nothing and
the
agent, which carries this file to boards without TensorFlow, stays light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgesparse.bench import bench
    from edgesparse.check import check
    from edgesparse.convert import Bundle, convert
    from edgesparse.deploy import deploy
    from edgesparse.errors import EdgesparseError
    from edgesparse.explain import explain
    from edgesparse.lab import lab
    from edgesparse.lottery import lottery
    from edgesparse.prune import prune
    from edgesparse.prune.preparing import prepare
    from edgesparse.recipe import Recipe, load_recipe
    from edgesparse.report.comparing import compare_runs
    from edgesparse.sensitivity import sensitivity
    from edgesparse.sparsify import sparsify
    from edgesparse.store import Run

_HOME_OF = {
    "Bundle": "edgesparse.convert",
    "EdgesparseError": "edgesparse.errors",
    "Recipe": "edgesparse.recipe",
    "Run": "edgesparse.store",
    "bench": "edgesparse.bench",
    "check": "edgesparse.check",
    "compare_runs": "edgesparse.report.comparing",
    "convert": "edgesparse.convert",
    "deploy": "edgesparse.deploy",
    "explain": "edgesparse.explain",
    "lab": "edgesparse.lab",
    "load_recipe": "edgesparse.recipe",
    "lottery": "edgesparse.lottery",
    "prepare": "edgesparse.prune.preparing",
    "prune": "edgesparse.prune",
    "sensitivity": "edgesparse.sensitivity",
    "sparsify": "edgesparse.sparsify",
}

__all__ = [
    "Bundle",
    "EdgesparseError",
    "Recipe",
    "Run",
    "__version__",
    "bench",
    "check",
    "compare_runs",
    "convert",
    "deploy",
    "explain",
    "lab",
    "load_recipe",
    "lottery",
    "prepare",
    "prune",
    "sensitivity",
    "sparsify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgesparse' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Several functions have the name of the module that they live in. `edgesparse.prune` is always the function: the
    import
    system, which would put the module there once it is imported, is not heard."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOME_OF or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
