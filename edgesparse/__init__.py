"""edgesparse: prune a model, ship it to an edge board, prove on the board whether it got faster.

The names below are the library; each is imported when it is first used, so that `import edgesparse` costs nothing and the
agent, which carries this file to boards without TensorFlow, stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgesparse.bench import bench
    from edgesparse.convert import Bundle, convert
    from edgesparse.deploy import deploy
    from edgesparse.errors import EdgesparseError
    from edgesparse.explain import explain
    from edgesparse.prune import prune
    from edgesparse.recipe import Recipe, load_recipe
    from edgesparse.store import Run

_HOME_OF = {
    "Bundle": "edgesparse.convert",
    "EdgesparseError": "edgesparse.errors",
    "Recipe": "edgesparse.recipe",
    "Run": "edgesparse.store",
    "bench": "edgesparse.bench",
    "convert": "edgesparse.convert",
    "deploy": "edgesparse.deploy",
    "explain": "edgesparse.explain",
    "load_recipe": "edgesparse.recipe",
    "prune": "edgesparse.prune",
}

__all__ = ["Bundle", "EdgesparseError", "Recipe", "Run", "__version__", "bench", "convert", "deploy", "explain", "load_recipe", "prune"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'edgesparse' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # `edgesparse.prune` the function, not the package of the same name
    return value
