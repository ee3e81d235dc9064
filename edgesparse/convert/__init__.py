"""Keras models to a bundle: .tflite files, dense and sparse, that every stock runtime runs with the same outputs."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesparse import __version__
from edgesparse.convert.bundle import Bundle, read_bundle
from edgesparse.errors import BundleError
from edgesparse.files import sha256_of
from edgesparse.kernels import find_library

if TYPE_CHECKING:
    from edgesparse.convert.sources import Source

__all__ = ["Bundle", "convert", "read_bundle"]

TOOLCHAIN = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "tflite-runtime", "numpy")


def convert(
    models: Sequence[Any],
    out: str | Path,
    *,
    data: Any = None,
    name: str | None = None,
    force: bool = False,
    keep_going: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Convert models to TFLite, dense and sparse, hold every file against the golden outputs, and bundle them.

    Args:
        models: pruned models (directories, or what `prune` returned), and the dense one where there is one (a path,
            `module:function` or a tf_keras model), each also as (name, model). Without a dense one, the first pruned
            model stored dense is the baseline.
        out: directory for the bundle; an earlier bundle there is replaced once the new one is whole, and kept when it
            was made from the same inputs by the same versions.
        data: held-out data for accuracy and golden inputs: "digits", "module:function" or the arrays.
        name: the bundle's name; the name of `out` where None.
        force: convert even if the bundle is up to date.
        keep_going: keep files that fail the parity gate and record the failures, rather than raise.
        progress: told what is being done.

    Raises:
        UsageError, ModelError, RecipeError: models, recipes or data that cannot be used.
        ParityError: a file does not give the golden outputs under a runtime and backend; names them.
        BundleError: `out` is something else than a bundle, or cannot be written.
    """
    from edgesparse.convert.bundle import staged
    from edgesparse.convert.sources import read_sources

    out = Path(out)
    name = name or out.absolute().name
    sources = read_sources(models)
    if data is not None:
        from edgesparse.prune.data import as_data, load_data

        data = load_data(data) if isinstance(data, str) else as_data(data, "data")
    versions = toolchain()
    key = _key(sources, data, name, versions)
    existing = None if force else up_to_date(out, key, keep_going)
    if existing is not None:
        return existing

    from edgesparse.convert.building import build  # TensorFlow

    with staged(out) as directory:
        say = progress or (lambda text: None)
        build(directory, sources, data, name=name, key=key, toolchain=versions, keep_going=keep_going, say=say)
    return read_bundle(out)


def toolchain() -> dict[str, str]:
    """The versions that decide what comes out."""
    found = {"python": platform.python_version()}
    for package in TOOLCHAIN:
        with suppress(PackageNotFoundError):  # tflite-runtime has no wheels for some Pythons
            found[package] = version(package)
    library = find_library()
    if library is not None:  # it is checked against the golden outputs, so another one means checking again
        found["kernels"] = sha256_of(library)[:16]
    return found


def _key(sources: Sequence[Source], data: Any, name: str, toolchain: dict[str, str]) -> str:
    """A hash of all that goes into a bundle."""
    parts: list[str] = [__version__, name, json.dumps(toolchain, sort_keys=True)]
    parts += [f"{source.name} {source.digest()}" for source in sources]
    if data is not None:
        parts.append(data.digest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def up_to_date(out: Path, key: str, keep_going: bool) -> Bundle | None:
    """The bundle at `out` if it is whole, was made from the same and would pass the gate."""
    try:
        bundle = read_bundle(out)
    except BundleError:  # none there, damaged, or of another version: made again
        return None
    failed = any(not row.ok for variant in bundle.manifest.variants for row in variant.host_parity)
    if bundle.manifest.key != key or (failed and not keep_going):
        return None
    return replace(bundle, reused=True)
