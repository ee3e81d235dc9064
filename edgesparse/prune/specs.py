"""`module:function`: how a user names Python code of their own."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from edgesparse.errors import UsageError

_SPEC = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


def is_function_spec(spec: str) -> bool:
    """Whether `spec` reads `module:function`."""
    return _SPEC.fullmatch(spec) is not None


def call(spec: str, purpose: str) -> Any:
    """Import the module, from the current directory too, and call the function without arguments.

    Args:
        spec: `module:function`.
        purpose: what the function is to return, for the error: "a Keras model".

    Raises:
        UsageError: the module does not exist or has no such function. What the user's own code raises is left as it is:
            its traceback is what they need.
    """
    matched = _SPEC.fullmatch(spec)
    if matched is None:
        raise UsageError(
            f"Expected module:function returning {purpose}, found {spec!r}.", hint="Example: mymodel:build"
        )
    name, function = matched["module"], matched["function"]
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise UsageError(
            f"No module named {error.name!r} (looked in {here} and in the installed packages).",
            hint=f"Run the command in the directory that holds {name.split('.')[0]}.py.",
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        public = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise UsageError(
            f"Module {name} has no function {function!r}.",
            hint=f"It has: {', '.join(public) or 'no function at all'}.",
        )
    return found()
