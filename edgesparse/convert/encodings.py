"""TFLite's sparse encodings: their description, and expanding one to a dense array.

A sparse tensor of rank n is a tree. Its levels are the tensor's dimensions, and a level n + k for each blocked
dimension `block_map[k]`, walked in `traversal_order`; each level is dense or compressed (row pointers and indices), and
the stored values are the leaves (the format of Kjolstad et al., "The Tensor Algebra Compiler", 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
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
    rank = len(shape)
    coordinates: dict[int, Array] = {}
    nodes = 1
    for traversed, level in zip(sparsity.traversal_order, sparsity.levels, strict=True):
        if level.format == "dense":
            if nodes * level.size > np.prod(shape, dtype=np.int64):
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
    position = []
    for dimension, (size, block) in enumerate(zip(shape, sparsity.block_shape(rank), strict=True)):
        at = coordinates[dimension] * block
        if dimension in sparsity.block_map:
            at = at + coordinates[rank + sparsity.block_map.index(dimension)]
        if at.size and (at.min() < 0 or at.max() >= size):
            raise ValueError(f"an index lies outside dimension {dimension} of size {size}")
        position.append(at)
    dense = np.zeros(shape, dtype=values.dtype)
    dense[tuple(position)] = values
    return dense


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
