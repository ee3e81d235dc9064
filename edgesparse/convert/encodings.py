"""TFLite's sparse encodings: their description, making one of a dense array, and expanding it again.

A sparse tensor of rank n is a tree. Its levels are the tensor's dimensions, and a level n + k for each blocked
dimension `block_map[k]`, walked in `traversal_order`; each level is dense or compressed (row pointers and indices), and
the stored values are the leaves (the format of Kjolstad et al., "The Tensor Algebra Compiler", 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Level:
    """One level: `format` "dense" with `size` positions under each node, or "csr" with `segments` and `indices`."""

    format: str
    size: int
    segments: Array
    indices: Array


@dataclass(frozen=True, eq=False)
class Sparsity:
    """The description of one sparse tensor; `levels` are in traversal order, outermost first."""

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...]
    levels: tuple[Level, ...]

    @property
    def index_bytes(self) -> int:
        """Bytes that row pointers and indices take in the file."""
        return sum(level.segments.nbytes + level.indices.nbytes for level in self.levels)

    def block_shape(self, rank: int) -> tuple[int, ...]:
        """The size of a block along each dimension of the tensor; 1 where there are no blocks."""
        shape = [1] * rank
        for traversed, level in zip(self.traversal_order, self.levels, strict=True):
            if traversed >= rank:
                shape[self.block_map[traversed - rank]] = level.size
        return tuple(shape)


def expand(shape: tuple[int, ...], sparsity: Sparsity, values: Array) -> Array:
    """The dense array of `shape` that these stored values stand for.

    Raises:
        ValueError: the description contradicts itself, the shape or the number of values; says how.
    """
    _check(len(shape), sparsity)
    outer, block = sparsity.levels[0], sparsity.block_shape(len(shape))[0]
    rows = outer.format == "dense" and sparsity.traversal_order[0] == 0 and (outer.size - 1) * block < shape[0]
    if not rows or values.size <= _SLICE:
        return _expand(shape, sparsity, values)
    dense = np.zeros(shape, values.dtype)
    step, end = max(1, _SLICE * outer.size // values.size), 0
    for first in range(0, outer.size, step):  # the coordinates of all values take many times what is stored
        part, start, end = _part(sparsity, first, min(first + step, outer.size))
        some = dense[first * block : (first + step) * block]
        some[:] = _expand(some.shape, part, values[start:end])
    if end != values.size:
        raise ValueError(f"the indices describe {end} values, {values.size} are stored")
    return dense


def _part(sparsity: Sparsity, first: int, last: int) -> tuple[Sparsity, int, int]:
    """The tree below some positions of its outermost, dense level, and which of the values are its own."""
    levels: list[Level] = []
    start, end = 0, 1  # of the nodes of the level above
    for level in sparsity.levels:
        if not levels:
            levels.append(Level("dense", last - first, _NONE, _NONE))
            start, end = first, last
        elif level.format == "dense":
            levels.append(level)
            start, end = start * level.size, end * level.size
        else:
            segments = level.segments[start : end + 1].astype(np.int64)
            if segments.size != end + 1 - start:
                raise ValueError(f"{level.segments.size} row pointers are there, {end + 1} are expected at least")
            start, end = int(segments[0]), int(segments[-1])
            levels.append(Level("csr", level.size, segments - start, level.indices[start:end]))
    return Sparsity(sparsity.traversal_order, sparsity.block_map, tuple(levels)), start, end


def _expand(shape: tuple[int, ...], sparsity: Sparsity, values: Array) -> Array:
    rank, blocks = len(shape), sparsity.block_shape(len(shape))
    # Where blocks do not divide a dimension, the last one reaches beyond it.
    padded = [-(-size // block) * block for size, block in zip(shape, blocks, strict=True)]
    coordinates: dict[int, Array] = {}
    nodes = 1
    for traversed, level in zip(sparsity.traversal_order, sparsity.levels, strict=True):
        if level.format == "dense":
            if nodes * level.size > np.prod(padded, dtype=np.int64):
                raise ValueError(f"dimension {traversed} of size {level.size} does not fit shape {list(shape)}")
            counts = np.full(nodes, level.size, dtype=np.int64)
            below = np.tile(np.arange(level.size, dtype=np.int64), nodes)
        else:
            counts, below = _compressed(traversed, level, nodes)
        coordinates = {dimension: np.repeat(found, counts) for dimension, found in coordinates.items()}
        coordinates[traversed] = below
        nodes = below.size
    if nodes != values.size:
        raise ValueError(f"the indices describe {nodes} values, {values.size} are stored")
    position, inside = [], np.ones(values.size, bool)
    for dimension, (size, block) in enumerate(zip(shape, blocks, strict=True)):
        at = coordinates[dimension] * block
        if dimension in sparsity.block_map:
            at = at + coordinates[rank + sparsity.block_map.index(dimension)]
        if at.size and (at.min() < 0 or at.max() >= padded[dimension]):
            raise ValueError(f"an index lies outside dimension {dimension} of size {size}")
        inside &= at < size
        position.append(at)
    dense = np.zeros(shape, dtype=values.dtype)
    dense[tuple(at[inside] for at in position)] = values[inside]
    return dense


def encode(array: Array, rows: int = 1, cols: int = 1, dtype: npt.DTypeLike = None) -> tuple[Sparsity, Array]:
    """Single values (CSR), or aligned blocks of `rows` outputs by `cols` inputs, that are not all zero.

    The inputs are the compressed level, under every output and tap; a block's values come last, outputs first.

    Args:
        array: a kernel, outputs first: (outputs, inputs) or (outputs, height, width, inputs).
        rows, cols: divide the outputs and the inputs.
        dtype: of the stored values; the array's own where None.

    Returns:
        The description, and the stored values, flat.
    """
    blocks = _blocks(array, rows, cols)
    kept = _kept(blocks)
    segments = np.concatenate([[0], np.cumsum(np.count_nonzero(kept, axis=-1))])
    stored = int(segments[-1])
    indices = np.empty(stored, _width(_largest_index(kept)))
    values = np.empty((stored, rows * cols), dtype or array.dtype)
    done = 0
    for first in _slices(kept):  # whose coordinates take many times what is stored
        some = kept[first]
        found = np.nonzero(some.reshape(-1, some.shape[-1]))[1]
        place = slice(done, done := done + found.size)
        indices[place] = found
        values[place] = np.moveaxis(blocks[first], 1, -2)[some].reshape(-1, rows * cols)
    levels = [Level("dense", size, _NONE, _NONE) for size in kept.shape[:-1]]
    levels.append(Level("csr", kept.shape[-1], _narrow(segments), indices))
    sides = [(0, rows), (array.ndim - 1, cols)]
    levels += [Level("dense", side, _NONE, _NONE) for _, side in sides if side > 1]
    block_map = tuple(dimension for dimension, side in sides if side > 1)
    return Sparsity(tuple(range(len(levels))), block_map, tuple(levels)), values.reshape(-1)


def encoded_bytes(array: Array, rows: int = 1, cols: int = 1, dtype: npt.DTypeLike = None) -> int:
    """What values, row pointers and indices of :func:`encode` take, without making them."""
    kept = _kept(_blocks(array, rows, cols))
    stored, nodes = int(np.count_nonzero(kept)), kept.size // max(kept.shape[-1], 1)
    indices = stored * _width(_largest_index(kept)).itemsize + (nodes + 1) * _width(stored).itemsize
    return stored * rows * cols * np.dtype(dtype or array.dtype).itemsize + indices


_NONE = np.zeros(0, np.int32)
_SLICE = 1 << 18


def _blocks(array: Array, rows: int, cols: int) -> Array:
    """(outputs / rows, rows, *taps, inputs / cols, cols)."""
    return array.reshape(array.shape[0] // rows, rows, *array.shape[1:-1], array.shape[-1] // cols, cols)


def _kept(blocks: Array) -> npt.NDArray[np.bool_]:
    """Which blocks hold a non-zero: (outputs / rows, *taps, inputs / cols)."""
    # Of float16 numpy's own way takes several times as long.
    nonzero: npt.NDArray[np.bool_] = (blocks.view(np.uint16) << 1 if blocks.dtype == np.float16 else blocks) != 0
    rows = nonzero.any(axis=1) if blocks.shape[1] > 1 else nonzero[:, 0]
    # Along the short last axis numpy's own way would take ten times as long.
    return reduce(np.logical_or, (rows[..., column] for column in range(rows.shape[-1])))


def _largest_index(kept: npt.NDArray[np.bool_]) -> int:
    """The largest of the stored positions along the inputs."""
    return int(np.flatnonzero(kept.any(axis=tuple(range(kept.ndim - 1)))).max(initial=0))


def _slices(kept: npt.NDArray[np.bool_]) -> Iterator[slice]:
    """Slices of the first dimension, each of some _SLICE elements."""
    step = max(1, _SLICE * len(kept) // max(kept.size, 1))
    return (slice(start, start + step) for start in range(0, len(kept), step))


def _narrow(numbers: Array) -> Array:
    return numbers.astype(_width(int(numbers.max(initial=0))))


def _width(largest: int) -> np.dtype[Any]:
    """The narrowest type that TFLite has for row pointers and indices."""
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.int32)


def _check(rank: int, sparsity: Sparsity) -> None:
    order, blocked = sparsity.traversal_order, sparsity.block_map
    if sorted(order) != list(range(rank + len(blocked))):
        raise ValueError(f"traversal order {list(order)} does not fit rank {rank} with {len(blocked)} block dimensions")
    if len(set(blocked)) != len(blocked) or any(not 0 <= dimension < rank for dimension in blocked):
        raise ValueError(f"block map {list(blocked)} does not fit rank {rank}")
    if len(sparsity.levels) != len(order):
        raise ValueError(f"{len(sparsity.levels)} levels are described, {len(order)} are expected")


def _compressed(traversed: int, level: Level, nodes: int) -> tuple[Array, Array]:
    """How many positions are stored below each node of the level above, and which."""
    segments, indices = level.segments.astype(np.int64), level.indices.astype(np.int64)
    if segments.size != nodes + 1:
        raise ValueError(f"dimension {traversed} has {segments.size} row pointers, {nodes + 1} are expected")
    counts = np.diff(segments)
    if segments[0] != 0 or segments[-1] != indices.size or (counts < 0).any():
        raise ValueError(f"the row pointers of dimension {traversed} do not fit its {indices.size} indices")
    return counts, indices
