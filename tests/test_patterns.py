from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgesparse import patterns
from edgesparse.errors import ModelError, RecipeError
from edgesparse.patterns import NM, Block, Filter, Unstructured, mask, parse_pattern, zero_units

# Few different values, so that ties are the rule rather than the exception.
WEIGHTS = hnp.arrays(
    np.float32,
    st.one_of(
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(1, 3), st.integers(1, 7)),
    ),
    elements=st.sampled_from([0.0, 0.5, -0.5, 1.0, -2.0, 3.25, 0.125]),
)
BLOCKS = (
    st.tuples(st.integers(1, 4), st.integers(1, 4)).filter(lambda side: side != (1, 1)).map(lambda side: Block(*side))
)
NMS = st.integers(2, 5).flatmap(lambda m: st.integers(1, m - 1).map(lambda n: NM(n, m)))
PATTERNS = st.one_of(st.just(Unstructured()), BLOCKS, NMS, st.just(Filter()))
SPARSITIES = st.floats(0, 0.99)


def fitting(weights: Any, pattern: patterns.Pattern) -> bool:
    return patterns.misfit(weights.shape, pattern) is None


def units(shape: tuple[int, ...], pattern: patterns.Pattern) -> list[list[tuple[Any, ...]]]:
    """By brute force: the index sets that are zeroed together, grouped by the outputs that they belong to."""
    rows, cols = (pattern.rows, pattern.cols) if isinstance(pattern, Block) else (1, 1)
    taps = list(np.ndindex(shape[1:-1]))
    grouped: list[list[tuple[Any, ...]]] = []
    for top in range(0, shape[0], rows):
        outputs = slice(top, top + rows)
        if isinstance(pattern, Filter):
            grouped.append([(outputs,)])
        else:
            grouped.append(
                [(outputs, *tap, slice(left, left + cols)) for tap in taps for left in range(0, shape[-1], cols)]
            )
    return grouped


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_units_go_whole_and_in_the_exact_number(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if not fitting(weights, pattern) or isinstance(pattern, NM):
        return
    kept = mask(weights, pattern, sparsity)
    grouped = units(weights.shape, pattern)
    flags = [[kept[unit].all() for unit in row] for row in grouped]
    assert all(kept[unit].all() or not kept[unit].any() for row in grouped for unit in row)
    total = sum(len(row) for row in flags)
    zeros = total - sum(map(sum, flags))
    if isinstance(pattern, Filter):
        assert zeros == min(round(sparsity * total), total - 1)
    else:
        assert zeros == min(round(sparsity * total), total - len(flags))
        assert all(any(row) for row in flags), "an output lost everything"


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_masking_what_is_masked_changes_nothing(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if fitting(weights, pattern):
        kept = mask(weights, pattern, sparsity)
        assert np.array_equal(mask(weights * kept, pattern, sparsity), kept)


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_the_strong_stay(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    """No zeroed unit is stronger than a kept one, save for those that keep an output alive."""
    if not fitting(weights, pattern) or isinstance(pattern, NM):
        return
    kept = mask(weights, pattern, sparsity)

    def strength(part: Any) -> float:
        return float(np.linalg.norm(part) if isinstance(pattern, Filter) else np.abs(part).mean())

    zeroed, spare = [], []
    for row in units(weights.shape, pattern):
        strengths = [(strength(weights[unit].astype(np.float64)), bool(kept[unit].all())) for unit in row]
        zeroed += [value for value, keep in strengths if not keep]
        staying = sorted(value for value, keep in strengths if keep)
        spare += staying if isinstance(pattern, Filter) else staying[:-1]
    if zeroed and spare:
        # With an output revived, others gave way, but never a stronger unit before a weaker one of an output that has
        # several.
        assert min(spare) >= min(zeroed) - 1e-9
        revived = not isinstance(pattern, Filter) and any(
            sum(kept[unit].all() for unit in row) == 1 for row in units(weights.shape, pattern)
        )
        if not revived:
            assert min(spare) >= max(zeroed) - 1e-9


@settings(deadline=None)
@given(WEIGHTS, NMS)
def test_n_of_m_keeps_the_n_largest_of_every_group(weights: Any, pattern: NM) -> None:
    if not fitting(weights, pattern):
        return
    kept = mask(weights, pattern, None)
    rows = weights.reshape(-1, weights.shape[-1])
    for row, row_kept in zip(rows, kept.reshape(rows.shape), strict=True):
        for left in range(0, len(row), pattern.m):
            group, group_kept = np.abs(row[left : left + pattern.m]), row_kept[left : left + pattern.m]
            assert (len(group), group_kept.sum()) == (pattern.m, pattern.n)
            if (~group_kept).any():
                assert group[group_kept].min() >= group[~group_kept].max()
    assert patterns.conforms(weights * kept, pattern)


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_what_is_masked_conforms(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if fitting(weights, pattern):
        nonzero = np.where(weights == 0, np.float32(1), weights)
        assert patterns.conforms(nonzero * mask(nonzero, pattern, sparsity), pattern)


def test_what_does_not_conform_is_told() -> None:
    weights = np.ones((4, 8), np.float32)
    weights[0, 0] = 0
    assert not patterns.conforms(weights, Block(2, 1))
    assert not patterns.conforms(weights, Filter())
    assert not patterns.conforms(weights, NM(2, 4))
    assert not patterns.conforms(np.zeros((4, 6)), NM(2, 4))
    assert patterns.first_violation(np.zeros((4, 6)), NM(2, 4)) == "2 inputs are left over from groups of 4"
    assert patterns.conforms(weights, Unstructured())


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, st.data())
def test_any_mask_comes_back_with_every_output_alive(
    weights: Any, pattern: patterns.Pattern, data: st.DataObject
) -> None:
    if not fitting(weights, pattern):
        return
    given = data.draw(hnp.arrays(np.bool_, weights.shape, elements=st.sampled_from([False, False, True])))
    alive = patterns.keep_outputs_alive(weights, given, pattern)
    grouped = units(weights.shape, pattern)
    before = [[bool(given[unit].any()) for unit in row] for row in grouped]
    after = [[bool(alive[unit].any()) for unit in row] for row in grouped]
    assert all(alive[unit].all() == alive[unit].any() for row in grouped for unit in row)
    if isinstance(pattern, Filter):
        assert alive.any()
        assert sum(map(sum, after)) == max(sum(map(sum, before)), 1)
    else:
        assert alive.reshape(len(alive), -1).any(axis=1).all()
        assert sum(map(sum, after)) == max(sum(map(sum, before)), len(grouped))
    if all(map(any, before)):
        assert after == before


def by_brute_force(weights: Any, pattern: patterns.Pattern, sparsity: float) -> Any:
    """The definition, one unit at a time: weakest first, of equals the last; never the best that an output has left."""
    kept = np.ones(weights.shape, bool)
    grouped = units(weights.shape, pattern)
    if isinstance(pattern, Filter):
        grouped = [[unit for row in grouped for unit in row]]
    ranked = []
    for row in grouped:
        scores = [np.abs(weights[unit].astype(np.float64)) for unit in row]
        strengths = [np.sqrt((part**2).sum()) if isinstance(pattern, Filter) else part.mean() for part in scores]
        best = strengths.index(max(strengths))
        ranked += [
            (strength, place != best, unit) for place, (strength, unit) in enumerate(zip(strengths, row, strict=True))
        ]
    zeros = round(sparsity * len(ranked))
    order = sorted(range(len(ranked)), key=lambda place: (ranked[place][0], -place))
    for place in [place for place in order if ranked[place][1]][:zeros]:
        kept[ranked[place][2]] = False
    return kept


@settings(deadline=None, max_examples=300)
@given(WEIGHTS, st.one_of(st.just(Unstructured()), BLOCKS, st.just(Filter())), SPARSITIES)
def test_masks_are_those_of_the_definition(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if fitting(weights, pattern):
        assert np.array_equal(mask(weights, pattern, sparsity), by_brute_force(weights, pattern, sparsity))


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_a_mask_taken_for_weights_gives_itself(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if fitting(weights, pattern):
        kept = mask(weights, pattern, sparsity)
        assert np.array_equal(mask(kept.astype(np.float32), pattern, sparsity), kept)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8])
@pytest.mark.parametrize("pattern", [Unstructured(), Block(2, 2), NM(2, 4), Filter()])
def test_the_type_of_the_weights_does_not_matter(kind: Any, pattern: patterns.Pattern) -> None:
    weights = np.random.default_rng(0).integers(-128, 128, (12, 3, 3, 8))  # int8's -128 has no positive counterpart
    expected = mask(weights.astype(np.float32), pattern, 0.7)
    assert np.array_equal(mask(weights.astype(kind), pattern, 0.7), expected)


def test_a_known_case_of_every_pattern() -> None:
    weights = np.array([[1, 9, 2, 8], [7, 3, 6, 4]], np.float32)
    assert mask(weights, Unstructured(), 0.5).tolist() == [[False, True, False, True], [True, False, True, False]]
    assert mask(weights, Block(2, 1), 0.5).tolist() == [[False, True, False, True]] * 2
    assert mask(weights, Block(1, 2), 0.5).tolist() == [[True, True, False, False], [True, True, False, False]]
    assert mask(weights, NM(1, 4), None).tolist() == [[False, True, False, False], [True, False, False, False]]
    assert mask(weights, Filter(), 0.5).tolist() == [[True] * 4, [False] * 4]


def test_blocks_of_a_convolution_lie_within_one_tap() -> None:
    weights = np.ones((2, 3, 3, 4), np.float32)
    weights[:, 1, 2, 2:] = 0.1
    kept = mask(weights, Block(2, 2), 1 / 18)
    assert np.argwhere(~kept).tolist() == [[0, 1, 2, 2], [0, 1, 2, 3], [1, 1, 2, 2], [1, 1, 2, 3]]


def test_a_ragged_block_is_judged_by_its_mean() -> None:
    weights = np.array([[1.0, 1.0, 1.5]], np.float32)  # blocks of 2: a mean of 1 and, ragged, of 1.5
    assert mask(weights, Block(1, 2), 0.5).tolist() == [[False, False, True]]


def test_an_output_that_would_die_keeps_its_best() -> None:
    weights = np.array([[9, 8, 7, 6], [0.1, 0.3, 0.2, 0.1]], np.float32)
    assert mask(weights, Unstructured(), 0.5).tolist() == [[True, True, True, False], [False, True, False, False]]


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4, 5)])
def test_keras_order_and_back(shape: tuple[int, ...]) -> None:
    kernel = np.arange(np.prod(shape)).reshape(shape)
    canonical = patterns.from_keras(kernel)
    assert canonical.shape[0] == shape[-1] and canonical.shape[-1] == shape[-2]
    assert canonical[1, ..., 2].tolist() == kernel[..., 2, 1].tolist()
    assert np.array_equal(patterns.to_keras(canonical), kernel)


@pytest.mark.parametrize("text", ["unstructured", "filter", "block 16x1", "block 2x4", "2:4", "1:16"])
def test_a_pattern_reads_and_writes(text: str) -> None:
    assert str(parse_pattern(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "block 0x4",
        "block 4",
        "4:2",
        "5:4",
        "0:4",
        "4:4",
        "",
        "blocks 2x2",
        "block 1x1",
        "random",
        "block " + "9" * 5000 + "x1",
    ],
)
def test_an_impossible_pattern_is_refused(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_pattern(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("shape", "pattern", "reason"),
    [
        ((10, 64), Block(16, 1), "needs 16 outputs, the layer has 10"),
        ((64, 3), NM(2, 4), "needs a multiple of 4 inputs, the layer has 3"),
        ((30, 6), NM(2, 4), "needs a multiple of 4 inputs, the layer has 6"),
        ((8, 3, 3, 10), NM(1, 4), "needs a multiple of 4 inputs, the layer has 10"),
        ((64, 3), Block(1, 4), "needs 4 inputs"),
        ((1, 8), Filter(), "single output"),
        ((3, 3, 3), Unstructured(), "3 dimensions"),
        ((4, 0), Unstructured(), "no weights"),
        ((8, 4), Block(1, 4), "all that an output has (4 in all)"),
        ((8, 1), Unstructured(), "all that an output has (1 in all)"),
    ],
)
def test_a_misfit_has_a_reason(shape: tuple[int, ...], pattern: patterns.Pattern, reason: str) -> None:
    assert reason in (patterns.misfit(shape, pattern) or "")
    with pytest.raises(RecipeError, match="does not fit"):
        mask(np.ones(shape), pattern, 0.5)


def test_weights_that_are_not_finite_and_sparsities_out_of_range_are_refused() -> None:
    for value in (np.nan, -np.inf):
        with pytest.raises(ModelError, match=rf"finite weights, found 1 .* the first is {value} at \(1, 0\)"):
            mask(np.array([[2.0, 1.0], [value, 1.0]]), Unstructured(), 0.5)
    for sparsity in (1.0, -0.1, None):
        with pytest.raises(RecipeError, match="sparsity"):
            mask(np.ones((4, 4)), Unstructured(), sparsity)


@pytest.mark.parametrize("pattern", [Unstructured(), Block(16, 1), NM(2, 4), Filter()])
def test_a_large_kernel_takes_no_time_worth_naming(pattern: patterns.Pattern) -> None:
    weights = np.random.default_rng(0).standard_normal((512, 3, 3, 512), np.float32)
    started = time.perf_counter()
    mask(weights, pattern, 0.8)
    assert time.perf_counter() - started < 3


def test_zero_units_are_counted_in_whole_blocks_ragged_ones_too() -> None:
    weights = np.zeros((10, 1, 1, 6), np.int8)
    assert zero_units(weights, Block(8, 4)) == 1.0
    weights[9, 0, 0, 5] = 1  # the ragged corner
    assert zero_units(weights, Block(8, 4)) == 0.75
    assert zero_units(weights, Filter()) == 0.9
    assert zero_units(weights[:0], Block(8, 4)) == 0.0


@settings(deadline=None)
@given(WEIGHTS, PATTERNS, SPARSITIES)
def test_large_kernels_are_masked_part_by_part_alike(weights: Any, pattern: patterns.Pattern, sparsity: float) -> None:
    if not fitting(weights, pattern):
        return
    whole = mask(weights, pattern, sparsity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_PART", 5)
        assert np.array_equal(mask(weights, pattern, sparsity), whole)


@settings(deadline=None)
@given(WEIGHTS, SPARSITIES)
def test_single_weights_go_as_a_full_sort_says(weights: Any, sparsity: float) -> None:
    if not fitting(weights, Unstructured()):
        return
    scores = patterns._scores(weights, Unstructured())
    expected = patterns._revive(scores, patterns._strongest(scores, round(sparsity * scores.size)))
    assert np.array_equal(mask(weights, Unstructured(), sparsity), expected.reshape(weights.shape))


@settings(deadline=None)
@given(
    hnp.arrays(
        np.int8,
        st.tuples(st.integers(1, 9), st.integers(2, 9)),
        elements=st.sampled_from([*range(-128, -120), 0, 1, 64, 127]),
    ),
    st.none() | st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=9, max_size=9),
    SPARSITIES,
    st.sampled_from([5, 1 << 20]),
)
def test_single_int8_weights_go_as_a_full_sort_says(weights: Any, scales: Any, sparsity: float, part: int) -> None:
    """Scales make equals of different magnitudes, and outputs of nothing but zeros."""
    scale = None if scales is None else np.array(scales[: len(weights)], np.float32)
    scores = patterns._scores(weights, Unstructured(), scale)
    expected = patterns._revive(scores, patterns._strongest(scores, round(sparsity * scores.size)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "_PART", part)
        for counted in (0, 1 << 20):
            patch.setattr(patterns, "_COUNTED", counted)
            assert np.array_equal(mask(weights, Unstructured(), sparsity, scale), expected)


@settings(deadline=None)
@given(WEIGHTS, NMS)
def test_small_groups_are_compared_as_large_ones_are_sorted(weights: Any, pattern: NM) -> None:
    if not fitting(weights, pattern):
        return
    for each in (weights, (32 * weights).astype(np.int8)):
        compared = mask(each, pattern, None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(patterns, "_COMPARED", 0)
            assert np.array_equal(mask(each, pattern, None), compared)


@pytest.mark.parametrize("pattern", [Unstructured(), Block(2, 2), Filter()], ids=str)
def test_quantised_weights_are_as_strong_as_their_scales_make_them(pattern: patterns.Pattern) -> None:
    generator = np.random.default_rng(3)
    steps = generator.integers(-127, 128, (8, 3, 3, 8)).astype(np.int8)
    scale = generator.uniform(0.01, 1, 8).astype(np.float32)
    kept = mask(steps, pattern, 0.5, scale)
    assert np.array_equal(kept, mask(steps * scale.reshape(-1, 1, 1, 1), pattern, 0.5))
    assert not np.array_equal(kept, mask(steps, pattern, 0.5))


def test_a_block_needs_no_word_before_it() -> None:
    assert parse_pattern("16x1") == parse_pattern("block 16x1") == Block(16, 1)
