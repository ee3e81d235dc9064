"""The bundle: a directory with the variants of one model, sample inputs with their golden outputs, and a manifest.

Everything in it is named by path, size and SHA-256 in `manifest.json`, and the bundle itself by the SHA-256 of that
file. No TensorFlow here: deploying and measuring read bundles, and must stay quick.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from edgesparse.errors import BundleError, UsageError
from edgesparse.files import replacing, sha256_of

# History of the manifest. A change that an older reader would misread raises the number.
#   1  first.
#   2  variants of int8 weights: `precision`; the gate's `steps`, `share` and `note`. Manifests of version 1 are read.
#   3  `trained`: accuracies of the Keras model on the way. Manifests of versions 1 and 2 are read.
VERSION = 3
MANIFEST = "manifest.json"
DENSE = "dense"
FLOAT = "float32"
# A layer's reason in the dense variant of a file that came otherwise: sparse, or with an input of no fixed size.
CAME_SPARSE = "stored sparsely in the file that was given, and dense here"
CAME_OPEN = "the file that was given has an input of no fixed size, which here is the data's"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAKE_AGAIN = "Make the bundle again with `edgesparse convert`."


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the bundle; `path` is relative to it, with forward slashes."""

    path: str
    sha256: str
    bytes: int


class Layer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operator's kernel as the file stores it.

    `shape` is TFLite's, outputs first; `density` the share of non-zeros, `weights` their number before pruning; `bytes`
    what values and sparse indices take; `reason` why it is not stored as its pattern promised, or was not pruned.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    pattern: str
    density: float
    weights: int
    bytes: int
    encoding: str
    reason: str


class HostParity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file under one runtime and backend on the host, against the golden outputs.

    Of quantised outputs, `steps` is how many quantisation steps the farthest is off, `share` how many are not equal,
    and `note` says so where a runtime rounds otherwise than the one that the golden outputs are of.
    """

    file: str
    runtime: str
    version: str
    backend: str
    ok: bool
    max_abs_error: float | None
    tolerance: float | None
    reason: str
    steps: int | None = None
    share: float | None = None
    note: str = ""


class Trained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Top-1 of the Keras model on held-out samples, 0..1: before pruning, with all zeros at once and no fine-tuning
    (None where that was not measured), and after fine-tuning."""

    before: float
    pruned: float | None
    tuned: float
    samples: int


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variant. `twin` is the same weights stored dense: outputs equal to its, bit for bit, betray a dense path. It
    is the file itself where int8 weights are pruned, which are never stored otherwise.

    `precision` is "float32", "float16", "int8" (weights, activations, inputs and outputs) or "dynamic" (int8 weights
    only). `accuracy` is that of the file; `trained` those of the Keras model that it was made from.
    """

    name: str
    file: File
    twin: File | None
    golden: File
    recipe: File | None
    pattern: str
    sparsity: float | None
    density: float
    accuracy: float | None
    accuracy_samples: int
    layers: list[Layer]
    host_parity: list[HostParity]
    precision: str = FLOAT
    trained: Trained | None = None

    @property
    def came(self) -> str:
        """How the dense variant of `sparsify` differs from the file that was given; "as it came" where it does not."""
        reasons = {layer.reason for layer in self.layers}
        told = {CAME_SPARSE: "stored dense", CAME_OPEN: "its input of the data's size"}
        return ", ".join(text for reason, text in told.items() if reason in reasons) or "as it came"

    @property
    def files(self) -> list[File]:
        """Every file of this variant alone."""
        return [file for file in (self.file, self.twin, self.golden, self.recipe) if file is not None]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`. `key` is the hash of all that went in: with the same one, converting again changes nothing."""

    version: int
    name: str
    edgesparse: str
    created: str
    key: str
    toolchain: dict[str, str]
    inputs: File
    variants: list[Variant]

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON types."""
        return dict(msgspec.to_builtins(self))


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: its directory.
        manifest: what is in it.
        id: SHA-256 of `manifest.json`.
        reused: `convert` found it there, made from the same inputs, and left it alone.
    """

    path: Path
    manifest: Manifest
    id: str
    reused: bool = False

    @property
    def files(self) -> list[File]:
        """Every file that the manifest names, each once."""
        named = [self.manifest.inputs, *(file for variant in self.manifest.variants for file in variant.files)]
        return list({file.path: file for file in named}.values())

    def file(self, file: File | str) -> Path:
        """Where a file of the bundle is.

        Raises:
            BundleError: the path leads out of the bundle.
        """
        return _inside(self.path, file if isinstance(file, str) else file.path)

    def variant(self, name: str) -> Variant:
        """A variant by name.

        Raises:
            UsageError: there is none of this name; lists those that exist.
        """
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.manifest.variants)
        raise UsageError(f"The bundle {self.path} has no variant {name!r}.", hint=f"It has {names}.")


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and verify every file in it.

    Raises:
        BundleError: no bundle there, a manifest of another version or with unknown keys, a file that is missing,
            differs from its hash, or lies outside the directory.
    """
    directory = Path(path)
    try:
        raw = (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"Expected a bundle, found no {MANIFEST} in {directory}.", hint="Make one with `edgesparse convert`."
        ) from None
    bundle = Bundle(directory, parse_manifest(directory / MANIFEST, raw), hashlib.sha256(raw).hexdigest())
    for file in bundle.files:
        _verify(directory, file)
    return bundle


def describe(directory: Path, path: str) -> File:
    """The manifest's entry for a file that lies in `directory`."""
    return File(path=path, sha256=sha256_of(directory / path), bytes=(directory / path).stat().st_size)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a directory."""
    (directory / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A temporary directory beside `out` that takes its place, synced and in one rename, once the block ends well.

    Nothing is left of it when the block fails. An earlier bundle at `out` is replaced; anything else there is refused.

    Raises:
        BundleError: `out` exists and is no bundle, or cannot be written.
    """
    _check_replaceable(out)
    with ExitStack() as stack:
        try:
            staging = stack.enter_context(replacing(out))
        except OSError as error:
            raise BundleError(
                f"No bundle can be written to {out}: {error.strerror}.", hint="Give another directory."
            ) from None
        yield staging


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir())):
        return
    if out.exists():
        raise BundleError(
            f"{out} exists and is no bundle, so it is not replaced.", hint="Give another directory, or remove it."
        )


def parse_manifest(path: Path, raw: bytes) -> Manifest:
    """The manifest in the bytes of a file.

    Raises:
        BundleError: another version, unknown keys, wrong types or names.
    """
    try:
        found: Any = msgspec.json.decode(raw)
        version = found.get("version") if isinstance(found, dict) else None
        if version not in range(1, VERSION + 1) or isinstance(version, bool):
            raise BundleError(
                f"{path} has version {version!r}; this edgesparse reads version {VERSION}.",
                hint="Install the edgesparse that made it, or make the bundle again with `edgesparse convert`.",
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:  # also what it raises for unknown keys and wrong types
        raise BundleError(f"{path} is no valid manifest: {error}.", hint=_MAKE_AGAIN) from None
    names = [variant.name for variant in manifest.variants]
    if not names or names[0] != DENSE or len(set(names)) != len(names) or not all(map(is_name, names)):
        raise BundleError(
            f"{path}: expected variants of different names, {DENSE!r} first, found {', '.join(names) or 'none'}.",
            hint=_MAKE_AGAIN,
        )
    return manifest


def is_name(name: str) -> bool:
    """Whether a variant may be called this: letters, digits, dots, dashes and underscores, 100 at most."""
    return _NAME.fullmatch(name) is not None


def _verify(directory: Path, file: File) -> None:
    path = _inside(directory, file.path)
    if not path.is_file():
        raise BundleError(f"The bundle {directory} lacks its file {file.path}.", hint=_MAKE_AGAIN)
    size = path.stat().st_size
    if size != file.bytes:
        raise BundleError(
            f"{path} has {size} bytes, the manifest says {file.bytes}: the bundle is damaged.", hint=_MAKE_AGAIN
        )
    sha256 = sha256_of(path)
    if sha256 != file.sha256:
        raise BundleError(
            f"{path} has SHA-256 {sha256[:12]}…, the manifest says {file.sha256[:12]}…: the bundle is damaged.",
            hint=_MAKE_AGAIN,
        )


def _inside(directory: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    target = directory / path
    if path.startswith("/") or ".." in parts or not parts or not target.resolve().is_relative_to(directory.resolve()):
        raise BundleError(
            f"The bundle {directory} names {path!r}, which lies outside of it.",
            hint="Do not use this bundle; get it again from where it was made.",
        )
    return target
