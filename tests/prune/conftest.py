"""A network that trains in a second, with one layer of each kind that pruning treats differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesparse.prune import Data
from edgesparse.recipe import FineTune, Recipe, Schedule

CLASSES = 4


@pytest.fixture(scope="session")
def data() -> Data:
    """Four classes of noisy 8x8x3 images, told apart by which quarter is bright."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, 160)
    images = generator.normal(0, 0.3, (160, 8, 8, 3)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
    return Data(images[:128], labels[:128], images[128:], labels[128:])


@pytest.fixture(scope="session")
def model() -> Any:
    """Compiled, untrained; in some layers blocks of 16 and groups of 4 come out even, in others ragged."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(10, 3, strides=2, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(20, 1, activation="relu", name="point")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(24, 3, activation="relu", name="spatial")(x)
    x = layers.BatchNormalization(name="normalisation")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    built = keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x), name="tiny")
    built.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return built


def recipe(pattern: str, sparsity: float | None = None, **changes: Any) -> Recipe:
    """A recipe of 16 steps: 2 epochs of the tiny data."""
    nm = ":" in pattern
    schedule = Schedule(kind="constant", updates=3) if nm else Schedule(updates=4)
    settings: dict[str, Any] = {"schedule": schedule, "fine_tune": FineTune(epochs=2, batch_size=16)}
    return Recipe(name="test", pattern=pattern, sparsity=sparsity, **{**settings, **changes})
