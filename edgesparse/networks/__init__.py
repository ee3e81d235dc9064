"""Benchmark networks with random weights, a seed and zeros of an exact density.

How fast a model runs does not depend on what it has learnt, so these need no training and no data:

    edgesparse.networks.write("mobilenetv2-224", "model.tflite", "block 16x1", 0.8)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from edgesparse.errors import UsageError
from edgesparse.networks.specs import (
    WEIGHT_TYPES,
    Network,
    Spec,
    Zeros,
    make_zeros,
    names,
    parse_network,
    parse_variant,
    stored_sparsely,
)

__all__ = [
    "ENCODINGS",
    "Network",
    "Spec",
    "Zeros",
    "build",
    "cache_dir",
    "make_zeros",
    "names",
    "parse_network",
    "parse_variant",
    "write",
]

# How zeros are stored: as plain zeros in dense tensors, or left out (DENSIFY and sparsity metadata).
ENCODINGS = ("zeros", "sparse")

# What decides the bytes of a model, besides its spec.
_SOURCES = ("networks", "patterns.py", "prune/layers.py", "convert/keras.py", "convert/opcodes.py")
_TOOLCHAIN = ("tensorflow", "tf-keras", "numpy")


def cache_dir() -> Path:
    """Where built models are kept; EDGESPARSE_CACHE names another cache directory."""
    root = os.environ.get("EDGESPARSE_CACHE")
    return (Path(root).expanduser() if root else platformdirs.user_cache_path("edgesparse")) / "networks"


def build(spec: Spec, encoding: str = "sparse", *, progress: Callable[[str], None] | None = None) -> Path:
    """The .tflite file of a benchmark model, from the cache where it is there.

    Args:
        spec: network, zeros, seed and type of weights.
        encoding: "zeros" or "sparse"; one build makes both.
        progress: told when a model has to be built.

    Returns:
        A file of the cache: copy it, do not change it.

    Raises:
        UsageError: no such encoding, or "sparse" for a model without zeros.
        ModelError: TensorFlow cannot convert it.
    """
    if encoding not in ENCODINGS:
        raise UsageError(f"There is no encoding {encoding!r}.", hint=f"There are {', '.join(ENCODINGS)}.")
    if encoding == "sparse" and not stored_sparsely(spec):
        raise UsageError(f"{spec} has no zeros that are stored sparsely.", hint="Take the encoding zeros.")
    place = _place(spec, encoding)
    if not place.exists():
        if progress:
            progress(f"building {spec}")
        from edgesparse.networks.building import build_files  # TensorFlow

        for name, content in build_files(spec).items():
            fresh = _place(spec, name)
            _write(fresh, content)
            for stale in fresh.parent.glob(f"{spec}.{name}-*.tflite"):  # of another version: they are large
                if stale != fresh:
                    stale.unlink(missing_ok=True)
    return place


def write(
    network: str,
    out: str | Path,
    pattern: str = "dense",
    sparsity: float | None = None,
    encoding: str | None = None,
    *,
    weights: str = "float32",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Spec:
    """Build a benchmark model and write it to a file of your own.

    Args:
        network: a name and a size, such as "mobilenetv2-224"; `names` lists the usual ones.
        out: the .tflite file; one that is there is replaced.
        pattern: "dense", "unstructured", "block RxC" (outputs x inputs) or "N:M".
        sparsity: the share of zeros of each pruned layer; None for dense and N:M.
        encoding: "sparse" or "zeros"; None for sparse where there are zeros.
        weights: "float32", "float16" or "int8" (the activations too).
        seed: the same seed gives the same weights.
        progress: told when a model has to be built.

    Returns:
        What was built.

    Raises:
        UsageError, RecipeError: a name or value that there is not. ModelError: TensorFlow cannot convert it.
    """
    if weights not in WEIGHT_TYPES:
        raise UsageError(f"There are no weights of type {weights!r}.", hint=f"There are {', '.join(WEIGHT_TYPES)}.")
    spec = Spec(parse_network(network), make_zeros(pattern, sparsity), seed, weights)
    built = build(spec, encoding or ("sparse" if stored_sparsely(spec) else "zeros"), progress=progress)
    _write(Path(out), built.read_bytes())
    return spec


def _place(spec: Spec, encoding: str) -> Path:
    key = hashlib.sha256(f"{_version()}\n{spec}\n{spec.seed}".encode()).hexdigest()[:16]
    return cache_dir() / f"{spec}.{encoding}-{key}.tflite"


@cache
def _version() -> str:
    """A hash of the code and the packages that make a model."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = package / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name in _TOOLCHAIN:
        with suppress(PackageNotFoundError):
            digest.update(f"{name} {version(name)}\n".encode())
    return digest.hexdigest()


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
