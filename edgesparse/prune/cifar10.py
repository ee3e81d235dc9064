"""CIFAR-10 from the archives that its authors publish, wherever they lie, or fetched once by Keras.

Both layouts of the archive are read: Python's, whose pickles are read as arrays and nothing else, and the binary one.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgesparse.errors import InputRefused

VARIABLE = "EDGESPARSE_CIFAR10"
# As the authors name them and as Keras 2 and 3 do, archives and what they unpack to.
_NAMES = (
    "cifar-10-batches-py", "cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target", "cifar-10-python.tar.gz",
    "cifar-10-batches-bin", "cifar-10-binary.tar.gz",
)  # fmt: skip
_TRAIN, _TEST = tuple(f"data_batch_{number}" for number in range(1, 6)), "test_batch"
_PIXELS = 3 * 32 * 32
_HINT = (
    f"Put cifar-10-python.tar.gz, from its authors' page, into {{folder}}, say where it is with {VARIABLE}=FILE, or "
    "give --data npz:FILE."
)


def cifar10() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """50000 and 10000 colour images of 10 classes: (n, 32, 32, 3), float32 from 0 to 255, and class numbers.

    It is looked for at `EDGESPARSE_CIFAR10` (an archive or a directory) or, without that, under ~/.keras/datasets;
    where it is not, Keras fetches it there.

    Raises:
        InputRefused: it is not there and cannot be fetched, or is damaged.
    """
    if given := os.environ.get(VARIABLE):
        if not Path(given).exists():
            raise InputRefused(f"{VARIABLE} says that CIFAR-10 is at {given}, where nothing is.", hint="Mend the path.")
        return read(Path(given))
    folder = Path.home() / ".keras" / "datasets"
    found = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    return read(found or _fetched(folder))


def read(path: Path) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """CIFAR-10 as `cifar10`, from an archive or from the directory that one unpacks to.

    Raises:
        InputRefused: it is neither, or damaged.
    """
    try:
        batches = _in_directory(path) if path.is_dir() else _in_archive(path)
        missing = [name for name in (*_TRAIN, _TEST) if name not in batches]
        if missing:
            raise InputRefused(f"{path} lacks {', '.join(missing)} of CIFAR-10.", hint=_HINT.format(folder=path.parent))
        train = [batches[name] for name in _TRAIN]
    except (OSError, EOFError, KeyError, ValueError, TypeError, tarfile.TarError, pickle.UnpicklingError) as error:
        told = str(error).splitlines()[0].rstrip(":.") if str(error) else type(error).__name__
        raise InputRefused(
            f"{path} cannot be read as CIFAR-10: {told}.", hint=f"Remove it, then: {_HINT.format(folder=path.parent)}"
        ) from None
    x_train, y_train = (np.concatenate(each) for each in zip(*train, strict=True))
    return (x_train, y_train), batches[_TEST]


def _fetched(folder: Path) -> Path:
    from edgesparse.prune.legacy_keras import keras

    try:
        with redirect_stdout(sys.stderr):  # Keras's bar would spoil --json
            return Path(
                keras.utils.get_file(
                    "cifar-10-batches-py.tar.gz",
                    origin="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                    file_hash="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                )
            )
    except Exception as error:  # urllib's, and Keras's own, which is a bare one
        raise InputRefused(
            f"CIFAR-10 is not in {folder}, and could not be fetched: {error}.", hint=_HINT.format(folder=folder)
        ) from None


def _in_directory(path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    found = {}
    for file in sorted(path.rglob("*_batch*")):
        if reader := _reader(file.name):
            with file.open("rb") as stream:
                found[file.stem] = reader(stream)
    return found


def _in_archive(path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name)
            if (reader := _reader(name.name)) and (stream := archive.extractfile(member)):
                found[name.stem] = reader(stream)
    return found


def _reader(name: str) -> Callable[[IO[bytes]], tuple[NDArray[Any], NDArray[Any]]] | None:
    if Path(name).stem not in (*_TRAIN, _TEST):
        return None
    return {"": _pickled, ".bin": _binary}.get(Path(name).suffix)


def _pickled(stream: IO[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    batch = _Arrays(stream, encoding="bytes").load()
    return _images(np.asarray(batch[b"data"])), np.asarray(batch[b"labels"], np.int64)


def _binary(stream: IO[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = np.frombuffer(stream.read(), np.uint8).reshape(-1, 1 + _PIXELS)
    return _images(rows[:, 1:]), rows[:, 0].astype(np.int64)


def _images(rows: NDArray[Any]) -> NDArray[np.float32]:
    """(n, 3072) bytes, channel by channel, as (n, 32, 32, 3)."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.float32)


class _Arrays(pickle.Unpickler):
    """Reads pickles of numpy arrays, and refuses to call anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """The constructor of a pickled array or type."""
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return lambda text, encoding: text.encode("latin-1")
        raise pickle.UnpicklingError(f"it would call {module}.{name}, which is no array")
