"""Data in archives of numpy's: arrays, or JPEG images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesparse.errors import InputRefused

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_HALVES = ("train", "test")
_PARTS = ("jpeg", "offset", "label")
_LAYOUT = (
    f"Expected are the arrays {', '.join(_ARRAYS)}; or, of JPEG images, train_jpeg (the bytes of all of them, one "
    "after the other), train_offset (where each begins, and the end), train_label, and the same three of test_."
)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The four arrays in a file of `numpy.savez`, by the names of `Data`; JPEG images as float32 from 0 to 255.

    Raises:
        InputRefused: no such file, no such archive, Python objects in it, arrays that are missing or damaged, or images
            that are none or differ in size.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputRefused(f"Expected an .npz file, found nothing at {path}.", hint="Check the path.") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputRefused(f"{path} cannot be read as an .npz file: {error}", hint=_LAYOUT) from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputRefused(f"Expected an .npz file, found one array in {path}.", hint=_LAYOUT)
    with archive:
        names = set(archive.files)
        if names >= set(_ARRAYS):
            return {name: _array(path, archive, name) for name in _ARRAYS}
        if not names >= {f"{half}_{part}" for half in _HALVES for part in _PARTS}:
            raise InputRefused(f"{path} holds {', '.join(sorted(names)) or 'nothing'}.", hint=_LAYOUT)
        found = {}
        for half in _HALVES:
            content, offsets, labels = (_array(path, archive, f"{half}_{part}") for part in _PARTS)
            found[f"x_{half}"] = _decoded(path, half, content, offsets)
            found[f"y_{half}"] = labels.reshape(-1)
        return found


def _array(path: Path, archive: Mapping[str, Any], name: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, MemoryError) as error:
        raise InputRefused(f"{name} in {path} cannot be read: {error}", hint=_LAYOUT) from None


def _decoded(path: Path, half: str, content: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.float32]:
    from edgesparse.prune.legacy_keras import tf

    if content.dtype != np.uint8 or content.ndim != 1:
        raise InputRefused(
            f"Expected {half}_jpeg of {path} as one row of bytes (uint8), found {content.dtype} {content.shape}.",
            hint=_LAYOUT,
        )
    whole = content.tobytes()
    rising = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 0
    if not rising or offsets[0] < 0 or offsets[-1] > len(whole) or not (offsets[1:] > offsets[:-1]).all():
        raise InputRefused(
            f"Expected {half}_offset of {path} as whole numbers that rise from 0 to {len(whole)}, the bytes of "
            f"{half}_jpeg.",
            hint=_LAYOUT,
        )
    ends = [*(int(each) for each in offsets[1:]), *([len(whole)] if int(offsets[-1]) < len(whole) else [])]
    images: list[NDArray[np.uint8]] = []
    for start, end in zip(offsets, ends, strict=False):
        try:
            images.append(tf.io.decode_jpeg(whole[int(start) : end]).numpy())
        except tf.errors.InvalidArgumentError as error:
            told = error.message.splitlines()[0].rpartition("}}")[2].split("[Op:")[0].strip()
            raise InputRefused(
                f"Image {len(images)} of {half}_jpeg in {path} is no JPEG image: {told}", hint=_LAYOUT
            ) from None
    if len({image.shape for image in images}) > 1:
        raise InputRefused(f"The images of {half}_jpeg in {path} differ in size.", hint="Resize them to one.")
    return np.asarray(images, np.float32)
