"""Expanding TFLite's sparse encodings, against a plain encoder written here."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesparse.convert import encodings
from edgesparse.convert.encodings import Level, Sparsity, expand

EMPTY = np.zeros(0, np.int32)


def encode(
    dense: Any, block: tuple[int, ...], order: tuple[int, ...], formats: tuple[str, ...]
) -> tuple[Sparsity, Any]:
    """Walk the tree recursively: clear, slow, and nothing like `expand`."""
    blocked = tuple(dimension for dimension, size in enumerate(block) if size > 1)
    sizes = [size // each for size, each in zip(dense.shape, block, strict=True)] + [block[d] for d in blocked]
    segments: list[list[int]] = [[0] for _ in order]
    indices: list[list[int]] = [[] for _ in order]
    values: list[float] = []

    def at(place: dict[int, int]) -> float:
        position = [place[d] * block[d] for d in range(dense.ndim)]
        for number, dimension in enumerate(blocked):
            position[dimension] += place[dense.ndim + number]
        return float(dense[tuple(position)])

    def any_below(place: dict[int, int], level: int) -> bool:
        rest = order[level:]
        return any(
            at({**place, **dict(zip(rest, tail, strict=True))})
            for tail in itertools.product(*(range(sizes[dimension]) for dimension in rest))
        )

    def walk(place: dict[int, int], level: int) -> None:
        if level == len(order):
            values.append(at(place))
            return
        for position in range(sizes[order[level]]):
            below = {**place, order[level]: position}
            if formats[level] == "csr":
                if not any_below(below, level + 1):
                    continue
                indices[level].append(position)
            walk(below, level + 1)
        segments[level].append(len(indices[level]))

    walk({}, 0)
    levels = tuple(
        Level("dense", sizes[dimension], EMPTY, EMPTY)
        if kind == "dense"
        else Level("csr", 0, np.array(pointers, np.uint16), np.array(found, np.uint8))
        for dimension, kind, pointers, found in zip(order, formats, segments, indices, strict=True)
    )
    return Sparsity(order, blocked, levels), np.array(values, np.float32)


@st.composite
def encoded(draw: st.DrawFn) -> tuple[Any, Sparsity, Any]:
    rank = draw(st.integers(1, 3))
    block = tuple(draw(st.sampled_from([1, 2, 4])) for _ in range(rank))
    shape = tuple(size * draw(st.integers(1, 3)) for size in block)
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dense = (generator.normal(size=shape) * (generator.random(shape) < density)).astype(np.float32)
    blocked = sum(size > 1 for size in block)
    order = (*draw(st.permutations(range(rank))), *range(rank, rank + blocked))
    formats = tuple(draw(st.sampled_from(["dense", "csr"])) for _ in range(rank)) + ("dense",) * blocked
    return dense, *encode(dense, block, order, formats)


@given(encoded(), st.sampled_from([1, 1 << 18]))
def test_expands_what_was_encoded(case: tuple[Any, Sparsity, Any], values_at_once: int) -> None:
    dense, sparsity, values = case
    with patch.object(encodings, "_SLICE", values_at_once):
        assert np.array_equal(expand(dense.shape, sparsity, values), dense)


def test_a_large_tensor_is_expanded_in_little_more_than_itself() -> None:
    dense = np.zeros((2048, 2048), np.float32)
    dense[:, ::2] = 1
    sparsity, values = encodings.encode(dense)
    tracemalloc.start()
    assert np.array_equal(expand(dense.shape, sparsity, values), dense)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_bytes < 3 * dense.nbytes  # the coordinates of all values at once: nine times


def csr() -> tuple[Any, Sparsity, Any]:
    dense = np.array([[0, 1, 0, 0], [2, 0, 0, 3]], np.float32)
    return dense, *encode(dense, (1, 1), (0, 1), ("dense", "csr"))


def test_block_shape_is_outputs_by_inputs() -> None:
    dense = np.ones((4, 8), np.float32)
    sparsity, _ = encode(dense, (1, 4), (0, 1, 2), ("dense", "csr", "dense"))
    assert sparsity.block_shape(2) == (1, 4)


@pytest.mark.parametrize("values_at_once", [1, 1 << 18])
@pytest.mark.parametrize(
    ("segments", "indices", "says"),
    [
        ([0, 1], [1, 0, 3], "row pointers"),
        ([0, 2, 1], [1, 0, 3], "do not fit"),
        ([0, 1, 2], [1, 0, 3], "do not fit|describe 2 values, 3 are stored"),
        ([0, 1, 3], [1, 0, 4], "outside dimension 1"),
        ([0, 1, 2], [1, 0], "2 values, 3 are stored"),
    ],
)
def test_refuses_indices_that_contradict(
    segments: list[int], indices: list[int], says: str, values_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_SLICE", values_at_once)
    dense, sparsity, values = csr()
    level = Level("csr", 2, np.array(segments, np.int32), np.array(indices, np.int32))
    with pytest.raises(ValueError, match=says):
        expand(dense.shape, replace(sparsity, levels=(sparsity.levels[0], level)), values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"traversal_order": (0, 0)}, "traversal order"),
        ({"block_map": (0,)}, "traversal order"),
        ({"block_map": (5,), "traversal_order": (0, 1, 2)}, "block map"),
        ({"levels": ()}, "levels"),
        ({"levels": (Level("dense", 1 << 40, EMPTY, EMPTY),) * 2}, "does not fit shape"),
    ],
)
def test_refuses_descriptions_that_do_not_fit(change: dict[str, Any], says: str) -> None:
    dense, sparsity, values = csr()
    with pytest.raises(ValueError, match=says):
        expand(dense.shape, replace(sparsity, **change), values)
