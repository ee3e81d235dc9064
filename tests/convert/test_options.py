"""Recipes' other options, from training to the gate: channels in another order, one threshold over the model, the first
layer too, and training that knows of int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse.convert import convert
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import kernel_operators
from edgesparse.convert.parity import installed_runtimes
from edgesparse.explain.forewarning import forewarnings
from edgesparse.prune import Data, prune
from edgesparse.prune.layers import kernel, weighted_layers
from edgesparse.recipe import Quantize, Recipe
from tests.prune.conftest import CLASSES, data, recipe

__all__ = ["data"]

AWARE = Quantize(kind="int8", method="aware", epochs=1, learning_rate=1e-3)
RECIPES = {
    "order": recipe("2:4", permute=True),
    "global": recipe("block 4x1", 0.7, scope="global", first_layer=True),
    "global-aware": recipe("unstructured", 0.8, scope="global", first_layer=True, quantize=AWARE),
}


@pytest.fixture(scope="module")
def model() -> Any:
    """What TF-MOT can train aware of int8; "spatial" reads channels whose order is free."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(20, 1, use_bias=False, name="point")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="normalisation")(x))
    x = layers.Conv2D(24, 3, activation="relu", name="spatial")(x)
    built = keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(layers.Flatten()(x)))
    built.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return built


def named(name: str) -> Recipe:
    found = RECIPES[name]
    return msgspec.structs.replace(found, name=name, fine_tune=msgspec.structs.replace(found.fine_tune, epochs=1))


def test_no_option_of_a_recipe_makes_a_wrong_file(model: Any, data: Data, tmp_path: Path) -> None:
    results = {name: prune(model, named(name), data) for name in RECIPES}
    bundle = convert([model, *results.values()], tmp_path / "out", data=data)
    for name, result in results.items():
        variant = bundle.variant(name)
        rows = [row for row in variant.host_parity if row.runtime != "tf-keras"]
        assert len(rows) >= 3 * len(installed_runtimes())
        assert all(row.ok for row in rows), [(row.file, row.runtime, row.backend, row.reason) for row in rows]
        pruned = {layer.name for layer in result.report.layers if layer.pruned}
        assert ("first" in pruned) == named(name).first_layer
        file = read_model(bundle.file(variant.file))
        found = []
        for op, (layer, trained, _) in zip(kernel_operators(file), weighted_layers(result.model), strict=True):
            if layer in pruned:
                zeros = kernel(trained) == 0
                assert np.all(file.weights(op.inputs[1])[zeros] == 0)
                found.append(zeros.reshape(-1))
        assert np.concatenate(found).mean() > 0.49  # of one threshold over the model, a layer may keep all
    assert any(layer.permutation and not layer.permutation.reason for layer in results["order"].report.layers)
    assert forewarnings(bundle) == []
