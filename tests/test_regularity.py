"""The two measures, against what is known of masks that are drawn or made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from edgesparse.patterns import Array, mask, parse_pattern
from edgesparse.regularity import regularity, skippable


def drawn(pattern: str, sparsity: float = 0.5) -> Array:
    kernel = np.random.default_rng(1).normal(size=(256, 1, 1, 256))
    return mask(kernel, parse_pattern(pattern), sparsity)


def entropy(p: float) -> float:
    return float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def test_regularity_of_drawn_masks_is_what_probability_says() -> None:
    assert regularity(drawn("unstructured")) < 0.001
    # Of 4 rows, 3 repeat the one above and the first is drawn anew: they agree with a chance of 7/8.
    assert regularity(drawn("block 4x1")) == pytest.approx(1 - entropy(7 / 8), abs=0.02)
    assert regularity(drawn("block 16x1")) == pytest.approx(1 - entropy(31 / 32), abs=0.02)
    assert regularity(drawn("filter")) > 0.99
    # 2:4: a kept weight makes the next one in its group less likely to be kept.
    assert 0.01 < regularity(drawn("2:4")) < 0.1
    order = [regularity(drawn(name)) for name in ("unstructured", "2:4", "block 2x2", "block 16x1", "filter")]
    assert order == sorted(order)


def test_a_chessboard_is_as_regular_as_can_be() -> None:
    assert regularity(np.indices((16, 16)).sum(axis=0) % 2) == pytest.approx(1, abs=0.02)


@given(stn.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_regularity_is_a_share_and_the_same_for_the_zeros(kept: Array) -> None:
    assert 0 <= regularity(kept) <= 1
    assert regularity(kept) == pytest.approx(regularity(~kept))


def test_skippable_zeros() -> None:
    blocks = drawn("block 4x1")
    assert skippable(blocks, 4, 1) == skippable(blocks, 2, 1) == 1
    assert skippable(blocks, 8, 1) == pytest.approx(0.5, abs=0.03)
    assert skippable(drawn("unstructured"), 4, 1) == pytest.approx(0.5**3, abs=0.01)
    assert skippable(drawn("filter"), 16, 1) < 0.01
    assert skippable(drawn("filter"), 1, 256) == 1
    assert skippable(np.ones((4, 4)), 2, 2) == 0
    assert skippable(np.zeros((5, 3)), 2, 2) == 1


def test_skippable_zeros_at_a_ragged_edge() -> None:
    kernel = np.ones((3, 3))
    kernel[2, 2] = kernel[0, 0] = 0
    assert skippable(kernel, 2, 2) == 0.5
