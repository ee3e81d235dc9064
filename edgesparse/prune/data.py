"""The data that pruning fine-tunes and is judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesparse.errors import InputRefused
from edgesparse.prune import specs

_SHAPES = "((x_train, y_train), (x_test, y_test)), a dict with these four names, or an edgesparse.prune.Data"
_BUILT_IN = {"digits": "edgesparse.examples.digits:data", "cifar10": "edgesparse.prune.cifar10:cifar10"}
NPZ = "npz:"


@dataclass(frozen=True)
class Data:
    """Labelled samples of a classifier, split in two.

    `x_*` are (n, *input shape); `y_*` are (n,) class numbers or (n, classes) one-hot rows. The test half is held out:
    it is never trained on, and every accuracy that edgesparse reports is of it.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]

    def digest(self) -> str:
        """SHA-256, in hex, of all four arrays: values, shapes and types."""
        hashed = hashlib.sha256()
        for field in fields(self):
            hash_array(hashed, getattr(self, field.name))
        return hashed.hexdigest()


def hash_array(hashed: hashlib._Hash, array: NDArray[Any]) -> None:
    """Feed type, shape and values of `array` into a running hash."""
    hashed.update(f"{array.dtype.str}{array.shape}".encode())
    hashed.update(np.ascontiguousarray(array).data)


def load_data(spec: str) -> Data:
    """Load data by name, from a file, or from `module:function`, which returns the two pairs, a dict, or a `Data`.

    "digits" is scikit-learn's handwritten digits, real 8x8 scans enlarged to 32x32x3, 450 of 1797 held out. "cifar10"
    is CIFAR-10, 0 to 255, from where `cifar10.cifar10` finds it. "npz:FILE" is a file that numpy wrote: see
    `images.read_npz`.

    Raises:
        UsageError: no such function. InputRefused: no such file, data that cannot be had, or something else in it than
            expected: arrays that are missing, lengths that do not match, values that are not finite.
    """
    if spec.startswith(NPZ):
        from edgesparse.prune.images import read_npz

        return as_data(read_npz(Path(spec.removeprefix(NPZ))), spec.removeprefix(NPZ))
    if spec not in _BUILT_IN and not specs.is_function_spec(spec):
        raise InputRefused(
            f"Expected data as one of {', '.join(_BUILT_IN)}, as npz:FILE or as module:function, found {spec!r}.",
            hint=f"A function without arguments that returns {_SHAPES}.",
        )
    return as_data(specs.call(_BUILT_IN.get(spec, spec), _SHAPES), spec)


def as_data(found: Any, source: str) -> Data:
    """Make a `Data` of what a user's function returned, and check that it holds together.

    Raises:
        InputRefused: it does not.
    """
    names = [field.name for field in fields(Data)]
    if isinstance(found, Data):
        arrays = [getattr(found, name) for name in names]
    elif isinstance(found, Mapping):
        if missing := [name for name in names if name not in found]:
            raise InputRefused(f"The dict of {source} lacks {', '.join(missing)}; it has {', '.join(map(str, found))}.")
        arrays = [found[name] for name in names]
    else:
        try:
            (x_train, y_train), (x_test, y_test) = found
        except (TypeError, ValueError) as error:
            raise InputRefused(f"Expected {source} to return {_SHAPES}; it returned {type(found).__name__}.") from error
        arrays = [x_train, y_train, x_test, y_test]
    data = Data(*(np.asarray(array) for array in arrays))
    for half, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        for name, array in ((f"x_{half}", x), (f"y_{half}", y)):
            if array.ndim == 0 or array.dtype.kind not in "biuf":
                raise InputRefused(
                    f"Expected {name} of {source} to be an array of numbers, found {array.dtype} {array.shape}."
                )
        if len(x) == 0 or len(x) != len(y):
            raise InputRefused(
                f"Expected as many x_{half} as y_{half}, and some, in {source}; found {len(x)} and {len(y)}."
            )
        for name, array in ((f"x_{half}", x), (f"y_{half}", y)):
            if not np.isfinite(array).all():
                raise InputRefused(f"Expected finite numbers in {name} of {source}, found NaN or infinity.")
    return data


def check_against(data: Data, input_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]) -> None:
    """Check that a classifier with these shapes (batch first) can be trained on `data`.

    Raises:
        InputRefused: naming the array, the shape that the model wants and the shape found.
    """
    for name, x in (("x_train", data.x_train), ("x_test", data.x_test)):
        wanted = input_shape[1:]
        if x.ndim != len(input_shape) or any(w not in (None, f) for w, f in zip(wanted, x.shape[1:], strict=True)):
            raise InputRefused(
                f"Expected {name} in the model's input shape {_show(wanted)}, found {_show(x.shape[1:])}.",
                hint="Resize the data, or build the model for it.",
            )
    classes = output_shape[-1]
    if len(output_shape) != 2 or classes is None or classes < 2:
        raise InputRefused(
            f"Expected a classifier's output, two scores or more; the model's is {_show(output_shape[1:])}.",
            hint="Give a model whose last layer is Dense(classes).",
        )
    for name, y in (("y_train", data.y_train), ("y_test", data.y_test)):
        if y.ndim == 2 and y.shape[1] == classes:
            continue
        if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != 1):
            raise InputRefused(
                f"Expected {name} as class numbers or {classes} one-hot columns; found shape {_show(y.shape)}."
            )
        if (y != np.floor(y)).any() or y.min() < 0 or y.max() >= classes:
            raise InputRefused(
                f"Expected whole class numbers from 0 to {classes - 1} in {name}; found {y.min()} to {y.max()}."
            )


def class_numbers(y: NDArray[Any]) -> NDArray[np.int64]:
    """Labels of any accepted form as (n,) class numbers."""
    flat = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y))
    return flat.astype(np.int64)


def _show(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"
