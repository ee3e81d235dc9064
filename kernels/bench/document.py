"""The one JSON document of a benchmark: what was measured, on what, under what conditions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernels.bench import machine

# History. A change that an older reader would misread raises the number.
#   1  first.
FORMAT = 1

Document = dict[str, Any]


def documented(kind: str, delegate: Path | None, fill: Callable[[Document], None]) -> Document:
    """A document around what `fill` measures and puts into it."""
    document: Document = {"format": FORMAT, "kind": kind, "machine": machine.about()}
    if delegate is not None:
        document["delegate"] = machine.library(delegate)
    document["before"] = machine.conditions("before")
    fill(document)
    document["after"] = machine.conditions("after")
    document["warnings"] = machine.warnings(document["machine"], document["before"], document["after"])
    return document


def print_json(document: Any) -> None:
    """On stdout."""
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")
