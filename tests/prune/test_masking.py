"""TF-MOT's masks are ours, where both exist; the schedule ends where it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesparse import patterns
from edgesparse.patterns import NM, Block, Filter, Pattern, Unstructured
from edgesparse.prune.layers import engine_for
from edgesparse.recipe import Schedule


def tfmot_mask(weights: np.ndarray[Any, Any], sparsity: float = 0.0, **kind: Any) -> np.ndarray[Any, Any]:
    """The mask that TF-MOT's own, unchanged `Pruning` gives for Keras weights: outputs-first."""
    from edgesparse.prune.legacy_keras import pruning_impl, pruning_schedule, tf

    variable = tf.Variable(weights)
    kind = {"block_size": (1, 1), **kind}
    pruning = pruning_impl.Pruning(
        training_step_fn=lambda: tf.constant(1),
        pruning_vars=[(variable, tf.Variable(tf.ones_like(variable)), tf.Variable(0.0))],
        pruning_schedule=pruning_schedule.ConstantSparsity(sparsity, 1),
        block_pooling_type="AVG",
        **kind,
    )
    mask = pruning._maybe_update_block_mask(variable)[1].numpy()
    return np.asarray(patterns.from_keras(mask) != 0)


def our_mask(pattern: Pattern, weights: np.ndarray[Any, Any], sparsity: float, engine: str) -> np.ndarray[Any, Any]:
    from edgesparse.prune.legacy_keras import pruning_schedule, tf
    from edgesparse.prune.masking import PatternPruning

    variable = tf.Variable(weights)
    pruning = PatternPruning(
        pattern,
        engine,
        training_step_fn=lambda: tf.constant(1),
        pruning_vars=[(variable, tf.Variable(tf.ones_like(variable)), tf.Variable(0.0))],
        pruning_schedule=pruning_schedule.ConstantSparsity(sparsity, 1),
    )
    return np.asarray(patterns.from_keras(pruning._maybe_update_block_mask(variable)[1].numpy()) != 0)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "pattern", "sparsity", "kind"),
    [
        ((48, 32), Unstructured(), 0.8, {}),
        ((3, 3, 12, 20), Unstructured(), 0.35, {}),
        ((1, 1, 64, 128), Unstructured(), 0.9, {}),
        ((48, 32), NM(2, 4), 0.0, {"sparsity_m_by_n": (2, 4)}),
        ((48, 32), NM(1, 4), 0.0, {"sparsity_m_by_n": (3, 4)}),
        ((3, 3, 16, 10), NM(2, 4), 0.0, {"sparsity_m_by_n": (2, 4)}),
        ((48, 32), Block(16, 1), 0.7, {"block_size": (1, 16)}),
        ((48, 32), Block(1, 4), 0.7, {"block_size": (4, 1)}),
        ((48, 32), Block(2, 8), 0.5, {"block_size": (8, 2)}),
    ],
)
def test_tfmot_and_patterns_choose_the_same_weights(
    shape: tuple[int, ...], pattern: Pattern, sparsity: float, kind: dict[str, Any]
) -> None:
    weights = normal(*shape)
    ours = patterns.mask(patterns.from_keras(weights), pattern, sparsity)
    np.testing.assert_array_equal(tfmot_mask(weights, sparsity, **kind), ours)
    for engine in ("tfmot", "edgesparse"):
        np.testing.assert_array_equal(our_mask(pattern, weights, sparsity, engine), ours)


@pytest.mark.parametrize(
    ("weights", "pattern", "sparsity"),
    [
        (np.round(normal(30, 20), 1), Unstructured(), 0.8),  # full of ties: TF-MOT keeps them all
        (
            normal(24, 10) * np.array([1e-3, *[1] * 9], np.float32),
            Unstructured(),
            0.8,
        ),  # output 0 would lose everything
        (normal(24, 32) * np.array([*[1e-3] * 16, *[1] * 16], np.float32), Block(16, 1), 0.5),
        (normal(5, 3), Unstructured(), 0.9),  # 13.5 zeros: float32 and float64 round them apart
    ],
)
def test_where_tfmot_is_inexact_the_engines_still_agree(
    weights: np.ndarray[Any, Any], pattern: Pattern, sparsity: float
) -> None:
    ours = patterns.mask(patterns.from_keras(weights), pattern, sparsity)
    np.testing.assert_array_equal(our_mask(pattern, weights, sparsity, "tfmot"), ours)


def test_tfmot_pools_other_blocks_than_it_zeroes_where_they_are_ragged() -> None:
    """The reason why ragged Dense blocks are not given to it."""
    weights = normal(10, 32)
    ours = patterns.mask(patterns.from_keras(weights), Block(1, 4), 0.5)
    assert (tfmot_mask(weights, 0.5, block_size=(4, 1)) != ours).any()


@pytest.mark.parametrize(
    ("kind", "shape", "pattern", "engine"),
    [
        ("Conv2D", (20, 3, 3, 7), Unstructured(), "tfmot"),
        ("Dense", (20, 7), Unstructured(), "tfmot"),
        ("Conv2D", (20, 3, 3, 8), NM(2, 4), "tfmot"),
        ("Dense", (32, 16), Block(16, 1), "tfmot"),
        ("Dense", (30, 16), Block(16, 1), "edgesparse"),
        ("Dense", (32, 18), Block(4, 4), "edgesparse"),
        ("Dense", (16, 16), Block(16, 1), "edgesparse"),
        ("Conv2D", (32, 1, 1, 16), Block(16, 1), "edgesparse"),
        ("Dense", (32, 16), Filter(), "edgesparse"),
    ],
)
def test_engine(kind: str, shape: tuple[int, ...], pattern: Pattern, engine: str) -> None:
    assert engine_for(kind, shape, pattern) == engine
    if engine == "tfmot":  # and it really can
        keras_shape = (*shape[1:], shape[0])
        assert our_mask(pattern, normal(*keras_shape), 0.5, engine).shape == shape


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["polynomial", "constant"]),
    begin=st.floats(0, 0.9),
    length=st.floats(0, 1),
    updates=st.integers(1, 60),
    steps=st.integers(1, 300),
)
def test_last_update_falls_on_the_end_step_at_the_final_sparsity(
    kind: Any, begin: float, length: float, updates: int, steps: int
) -> None:
    from edgesparse.prune.legacy_keras import tf
    from edgesparse.prune.masking import schedule_for

    end = min(1.0, begin + length)
    schedule = schedule_for(Schedule(kind=kind, begin=begin, end=end, updates=updates), 0.8, steps)
    step = np.arange(1, steps + 1)
    due, sparsity = (np.broadcast_to(value.numpy(), step.shape) for value in schedule(tf.constant(step)))
    updated = step[due]
    assert updated[-1] == min(steps, max(1, round(begin * steps), round(end * steps)))
    assert updated[0] >= max(1, round(begin * steps))
    assert len(updated) <= updates
    assert sparsity[updated[-1] - 1] == np.float32(0.8)
    assert (np.diff(sparsity[due]) >= 0).all()
