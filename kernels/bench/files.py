"""Where the harness finds models and the delegate."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesparse.errors import EXIT_INTERRUPTED, EdgesparseError, UsageError
from edgesparse.networks import Spec, build
from edgesparse.networks.specs import stored_sparsely

LIBRARY = "libedgesparse_delegate.so"
BUILD = Path(__file__).resolve().parents[1] / "build"


@dataclass(frozen=True)
class ModelFiles:
    """The same weights twice: zeros stored as zeros, and left out (None where nothing is pruned)."""

    zeros: Path
    sparse: Path | None

    @property
    def smallest(self) -> Path:
        """What a user of the delegate would ship."""
        return self.sparse or self.zeros


def find_model(spec: Spec, directory: Path | None) -> ModelFiles:
    """The files of a spec: from a directory that holds `SPEC.zeros.tflite` and `SPEC.sparse.tflite`, or built, once.

    Raises:
        UsageError: the directory does not hold them. ModelError: it cannot be built.
    """
    encodings = ("zeros", "sparse") if stored_sparsely(spec) else ("zeros",)
    if directory is None:
        places = {name: build(spec, name, progress=say) for name in encodings}
    else:
        places = {name: directory / f"{spec}.{name}.tflite" for name in encodings}
    for place in places.values():
        if not place.is_file():
            raise UsageError(f"Expected {place}, found nothing there.", hint="Leave --models-dir out to build it.")
    return ModelFiles(places["zeros"], places.get("sparse"))


def find_delegate(given: Path | None) -> Path:
    """The library: as given, `EDGESPARSE_DELEGATE`, or the newest one built for this machine.

    Raises:
        UsageError: there is none.
    """
    named = given or (Path(os.environ["EDGESPARSE_DELEGATE"]) if os.environ.get("EDGESPARSE_DELEGATE") else None)
    places = [named] if named else [BUILD / arch / LIBRARY for arch in ("host", platform.machine())]
    built = [place for place in places if place.is_file()]
    if built:
        return max(built, key=lambda place: place.stat().st_mtime).resolve()
    looked = " or ".join(str(place) for place in places)
    raise UsageError(f"Expected the delegate at {looked}, found nothing there.", hint="Build it: make kernels")


def say(text: str) -> None:
    """Talk goes to stderr, data to stdout."""
    print(f"· {text}", file=sys.stderr, flush=True)


def run_program(main: Callable[[], int]) -> int:
    """A program's exit code; Ctrl-C ends it without a traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def fail(error: EdgesparseError) -> int:
    """An expected failure is a sentence and an exit code."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
