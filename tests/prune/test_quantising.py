"""Quantisation-aware training after pruning: zeros hold, and what was trained is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.convert import convert
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.keras import outputs_first
from edgesparse.convert.layers import kernel_operators
from edgesparse.errors import ModelError, RecipeError
from edgesparse.prune import Data, Pruned, prune
from edgesparse.prune.quantising import WEIGHTS_FILE, kernels, load_aware, train_aware
from edgesparse.recipe import Quantize
from tests.prune.conftest import recipe

AWARE = Quantize(kind="int8", method="aware", epochs=1, learning_rate=1e-3)
LAYERS = ("point", "spatial", "hidden", "head")


@pytest.fixture(scope="module")
def folding() -> Any:
    """Batch normalisation right behind a convolution, where TF-MOT has it folded."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(10, 3, strides=2, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(20, 1, use_bias=False, name="point")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="normalisation")(x))
    x = layers.Conv2D(24, 3, activation="relu", name="spatial")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(layers.Flatten()(x))
    built = keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x), name="folding")
    built.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return built


@pytest.fixture(scope="module")
def aware(folding: Any, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    """Ragged in three layers: 20 and 4 outputs for rows of 8."""
    out = tmp_path_factory.mktemp("aware") / "pruned"
    return prune(folding, recipe("block 8x4", 0.6, quantize=AWARE, exclude=("head",)), data, out=out)


def test_every_zero_of_the_pruned_model_is_one_after_training(aware: Pruned) -> None:
    trained = dict(kernels(aware.aware))
    for name in LAYERS[:-1]:
        before = aware.model.get_layer(name).kernel.numpy()
        assert (before == 0).mean() > 0.5
        assert np.array_equal(before == 0, trained[name] == 0)
        assert not np.array_equal(before, trained[name])
    assert aware.report.accuracy_aware is not None


def test_what_was_trained_is_saved_and_found_again(aware: Pruned, folding: Any, data: Data) -> None:
    assert aware.path is not None
    assert (aware.path / WEIGHTS_FILE).is_file()
    again = prune(folding, aware.recipe, data, out=aware.path)
    assert again.reused
    for one, other in zip(aware.aware.get_weights(), again.aware.get_weights(), strict=True):
        assert np.array_equal(one, other)
    (aware.path / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is damaged"):
        load_aware(aware.model, aware.path / WEIGHTS_FILE)
    assert not prune(folding, aware.recipe, data, out=aware.path).reused


def test_the_zeros_are_in_the_file_and_dense_is_trained_likewise(
    aware: Pruned, folding: Any, data: Data, tmp_path: Path
) -> None:
    said: list[str] = []
    bundle = convert([folding, aware], tmp_path / "out", data=data, progress=said.append)
    assert [variant.name for variant in bundle.manifest.variants] == ["dense", "dense-int8-aware", "test"]
    assert "training dense-int8-aware aware of quantisation, 1 epochs" in said
    found = read_model(bundle.file("test.tflite"))
    names = [layer.name for layer in bundle.variant("test").layers]
    assert set(LAYERS) <= set(names)
    for name, op in zip(names, kernel_operators(found), strict=True):
        weights = found.weights(op.inputs[1])
        assert weights.dtype == np.int8
        if name in LAYERS[:-1]:
            assert not weights[outputs_first(aware.model.get_layer(name)) == 0].any()


def test_a_model_that_cannot_be_trained_so_is_refused_before_it_is_pruned(model: Any, data: Data) -> None:
    """Its batch normalisation stands behind a ReLU."""
    told: list[Any] = []
    with pytest.raises(ModelError, match=r"cannot train tiny aware of quantisation: Layer normalisation") as caught:
        prune(model, recipe("unstructured", 0.5, quantize=AWARE), data, progress=told.append)
    assert 'method = "post-training"' in caught.value.hint
    assert not told


def test_training_that_diverges_is_named(folding: Any, data: Data) -> None:
    broken = Data(data.x_train * np.float32("nan"), data.y_train, data.x_test, data.y_test)
    with pytest.raises(ModelError, match="diverged"):
        train_aware(folding, broken, recipe("unstructured", 0.5, quantize=AWARE))


def test_a_pattern_left_to_the_board_needs_one(model: Any, data: Data) -> None:
    with pytest.raises(RecipeError, match="leaves the size of its blocks to a board"):
        prune(model, recipe("block", 0.5), data)
