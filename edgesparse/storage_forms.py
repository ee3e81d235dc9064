"""Ways to store a sparse kernel, byte for byte: plain, CSR, BSR, N:M, and whole filters. Pure.

Kernels come outputs first, (outputs, inputs) or (outputs, height, width, inputs). Every form is really made, as arrays
that `decode` turns into the very same tensor, so its bytes are those of the arrays and nothing is estimated.

CSR and BSR are those that TFLite's files hold (`edgesparse.convert.encodings`): a row is what one output, or one row of
blocks, has of the inputs at one tap; indices and row pointers are as wide as their largest value asks: 1, 2 or 4 bytes.
N:M holds N values for each M inputs, and for each value its place among the M in ceil(log2 M) bits, packed: the form of
Mishra et al., Accelerating Sparse Deep Neural Networks, 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.convert.encodings import Sparsity, encode, expand

Array = npt.NDArray[Any]

VALUES = "values"
INDICES = "indices"
POINTERS = "row pointers"
WIDE = 4  # bytes of an index or pointer in the libraries that have one width only (SciPy, cuSPARSE)


@dataclass(frozen=True, eq=False)
class Stored:
    """One kernel in one form.

    Attributes:
        form: "plain", "CSR", "BSR 2x2", "2:4" or "filters".
        shape: of the kernel.
        arrays: all that is stored: `VALUES`, `INDICES`, `POINTERS`.
    """

    form: str
    shape: tuple[int, ...]
    arrays: Mapping[str, Array]
    _sparsity: Sparsity | None = field(default=None, repr=False)
    _sides: tuple[int, int] = field(default=(1, 1), repr=False)

    @property
    def bytes(self) -> dict[str, int]:
        """What each array takes."""
        return {name: self.arrays[name].nbytes if name in self.arrays else 0 for name in (VALUES, INDICES, POINTERS)}

    @property
    def total_bytes(self) -> int:
        """What all of them take together."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def wide_bytes(self) -> int:
        """The same with every index and pointer `WIDE` bytes wide; places among M inputs stay packed."""
        packed = self.form not in ("CSR", "filters") and not self.form.startswith("BSR")
        return sum(
            array.nbytes if packed or name == VALUES else array.size * WIDE for name, array in self.arrays.items()
        )


def plain(kernel: Array) -> Stored:
    """Every weight, zeros too."""
    return Stored("plain", kernel.shape, {VALUES: kernel.copy()})


def csr(kernel: Array) -> Stored:
    """Single non-zeros, with the input that each belongs to."""
    return _blocks("CSR", kernel, 1, 1)


def bsr(kernel: Array, rows: int, cols: int) -> Stored:
    """Blocks of `rows` outputs by `cols` inputs that are not all zero, whole; ragged ones are filled up with zeros."""
    return _blocks(f"BSR {rows}x{cols}", kernel, rows, cols)


def n_of_m(kernel: Array, n: int, m: int) -> Stored | None:
    """`n` values of each `m` consecutive inputs, zeros among them where there are fewer; None if somewhere are more."""
    groups = _padded(kernel, 1, m).reshape(-1, m)
    kept = groups != 0
    if (kept.sum(axis=1) > n).any():
        return None
    # Non-zeros come first in their order, then as many zeros as are needed to make n.
    places = np.sort(np.argsort(~kept, axis=1, kind="stable")[:, :n], axis=1)
    values = np.take_along_axis(groups, places, axis=1)
    bits = (places.reshape(-1, 1) >> np.arange(_bits(m))) & 1
    return Stored(f"{n}:{m}", kernel.shape, {VALUES: values, INDICES: np.packbits(bits.astype(bool).reshape(-1))})


def filters(kernel: Array) -> Stored:
    """The outputs that are not all zero, whole, and which they are."""
    flat = kernel.reshape(len(kernel), -1)
    kept = np.flatnonzero((flat != 0).any(axis=1))
    kind = np.uint8 if len(kernel) <= 1 << 8 else np.uint16 if len(kernel) <= 1 << 16 else np.int32
    return Stored("filters", kernel.shape, {VALUES: flat[kept], INDICES: kept.astype(kind)})


def decode(stored: Stored) -> Array:
    """The kernel that was stored; zeros come back as +0."""
    values, shape = stored.arrays[VALUES], stored.shape
    if stored.form == "plain":
        return values.copy()
    dense = np.zeros(shape, values.dtype)
    if stored.form == "filters":
        dense.reshape(shape[0], prod(shape[1:]))[stored.arrays[INDICES]] = values
        return dense
    if stored._sparsity is not None:
        rows, cols = stored._sides
        padded = (_up(shape[0], rows), *shape[1:-1], _up(shape[-1], cols))
        whole = expand(padded, stored._sparsity, values)
    else:
        m = int(stored.form.split(":")[1])
        bits = np.unpackbits(stored.arrays[INDICES], count=values.size * _bits(m)).reshape(-1, _bits(m))
        places = (bits.astype(np.int64) << np.arange(_bits(m))).sum(axis=1).reshape(values.shape)
        padded = (*shape[:-1], _up(shape[-1], m))
        whole = np.zeros((prod(padded) // m, m), values.dtype)
        np.put_along_axis(whole, places, values, axis=1)
        whole = whole.reshape(padded)
    cut: Array = whole[: shape[0], ..., : shape[-1]]
    return cut


def _blocks(form: str, kernel: Array, rows: int, cols: int) -> Stored:
    sparsity, values = encode(_padded(kernel, rows, cols), rows, cols)
    level = next(level for level in sparsity.levels if level.format == "csr")
    arrays = {VALUES: values, INDICES: level.indices, POINTERS: level.segments}
    return Stored(form, kernel.shape, arrays, sparsity, (rows, cols))


def _padded(kernel: Array, rows: int, cols: int) -> Array:
    ends = [(0, 0)] * kernel.ndim
    ends[0], ends[-1] = (0, -len(kernel) % rows), (0, -kernel.shape[-1] % cols)
    return np.pad(kernel, ends)


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def _bits(m: int) -> int:
    return (m - 1).bit_length()
