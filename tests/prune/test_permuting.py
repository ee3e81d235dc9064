"""Channels in another order: the function stays, and 2:4 keeps more of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesparse import patterns
from edgesparse.errors import RecipeError
from edgesparse.patterns import NM
from edgesparse.permutation import GROUP, best_order, kept_magnitude
from edgesparse.prune import Data, prune
from edgesparse.prune.permuting import permute
from tests.prune.conftest import recipe


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(0, 99))
def test_an_order_is_a_permutation_and_keeps_no_less(rows: int, groups: int, kept: int, seed: int) -> None:
    channels = groups * GROUP
    magnitudes = np.random.default_rng(seed).random((rows, channels), np.float32)
    order = best_order(magnitudes, kept)
    assert sorted(order) == list(range(channels))
    assert kept_magnitude(magnitudes[:, order], kept) >= kept_magnitude(magnitudes, kept) - 1e-6


def test_kept_magnitude_is_what_the_mask_keeps() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 24), np.float32)
    kept = np.abs(weights * patterns.mask(weights, NM(2, 4), None)).sum()
    assert kept_magnitude(np.abs(weights), 2) == pytest.approx(kept, rel=1e-5)


def test_two_groups_are_split_in_the_best_way() -> None:
    """Four strong channels in one group: two of them would go, and need not."""
    magnitudes = np.array([[9, 9, 9, 9, 1, 1, 1, 1]], np.float32)
    assert kept_magnitude(magnitudes, 2) == 20
    assert kept_magnitude(magnitudes[:, best_order(magnitudes, 2)], 2) == 36


def branched() -> Any:
    """A stem, a residual block with a depthwise convolution, a branch of another width, a dense head."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = layers.Input((8, 8, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", name="stem")(image)))
    y = layers.ReLU(6.0)(layers.Conv2D(32, 1, name="expand")(x))
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y))
    x = layers.Add()([x, layers.Conv2D(16, 1, name="project")(y)])
    x = layers.Concatenate()(
        [layers.Conv2D(8, 1, name="left")(x), layers.Conv2D(24, 3, padding="same", name="right")(x)]
    )
    x = layers.Conv2D(32, 3, name="joined")(x)
    x = layers.Dense(24, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x))
    generator = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights(
            [generator.uniform(0.5, 1.5, each.shape) * np.sign(each + 0.01) for each in layer.get_weights()]
        )
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.abs(each) for each in layer.get_weights()])
    return model


def test_the_function_stays_and_more_is_kept_where_the_order_is_free() -> None:
    from edgesparse.prune.legacy_keras import keras

    model = branched()
    pruned = ("expand", "project", "left", "right", "joined", "hidden", "head")
    inputs = np.random.default_rng(5).random((8, 8, 8, 3), np.float32)
    before, old = model.predict(inputs, verbose=0), {layer.name: layer.get_weights() for layer in model.layers}
    found = permute(model, pruned, NM(2, 4))
    np.testing.assert_allclose(model.predict(inputs, verbose=0), before, rtol=0, atol=1e-5)
    assert set(found) == set(pruned)
    free = {name: each for name, each in found.items() if not each.reason}
    assert set(free) == {"expand", "project", "left", "right", "hidden", "head"}
    # Those that read one space share its order: together they keep no less.
    for together in (("expand", "left", "right"), ("project",), ("hidden",), ("head",)):
        gains = [
            (found[name].after - found[name].before) * np.abs(old[name][0]).sum(dtype=np.float64) for name in together
        ]
        assert sum(gains) > 0
    assert "which is not followed" in found["joined"].reason
    for name, each in found.items():
        kernel = patterns.from_keras(model.get_layer(name).kernel.numpy())
        kept = np.abs(kernel * patterns.mask(kernel, NM(2, 4), None)).sum() / np.abs(kernel).sum()
        assert each.after == pytest.approx(kept, rel=1e-4)
    assert keras.models.clone_model(model) is not None


def test_a_recipe_asks_for_it_and_the_report_tells(model: Any, data: Data) -> None:
    report = prune(model, recipe("2:4", permute=True), data).report
    told = {layer.name: layer.permutation for layer in report.layers if layer.permutation}
    assert set(told) == {layer.name for layer in report.layers if layer.pruned}
    assert told["spatial"].after > told["spatial"].before
    assert told["hidden"].reason
    assert {layer.permutation for layer in prune(model, recipe("2:4"), data).report.layers} == {None}


def test_other_patterns_have_no_order() -> None:
    with pytest.raises(RecipeError, match="expected a pattern N:4, found unstructured"):
        recipe("unstructured", 0.5, permute=True)
