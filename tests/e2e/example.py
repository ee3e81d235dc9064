"""A user's own module: a model and its data, for commands that take `module:function`."""

from __future__ import annotations

from typing import Any

import numpy as np


def data() -> Any:
    """Four classes of noisy 16x16x3 images, told apart by which quarter is bright."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 160)
    x = generator.random((160, 16, 16, 3), np.float32) * 0.3
    for image, label in zip(x, y, strict=True):
        image[(label // 2) * 8 :][:8, (label % 2) * 8 :][:, :8] += 0.5
    return (x[:128], y[:128]), (x[128:], y[128:])


def model() -> Any:
    """Untrained: a 3x3 stem, a 1x1 and a 3x3 convolution, a Dense head."""
    from edgesparse.prune.legacy_keras import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(32, 1, activation="relu", name="mix")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="look")(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x), name="small")
