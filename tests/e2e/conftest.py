"""A bundle made by the real path, once: a small CNN, pruned twice, converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesparse.convert import Bundle, convert
from edgesparse.prune import Data
from edgesparse.recipe import FineTune, Recipe
from tests.sshd import sshd

__all__ = ["sshd"]

TUNING = FineTune(epochs=1, batch_size=32, learning_rate=1e-3)
RECIPES = (
    Recipe(name="unstructured", pattern="unstructured", sparsity=0.8, fine_tune=TUNING),
    Recipe(name="block-4x1", pattern="block 4x1", sparsity=0.75, fine_tune=TUNING),
)


def small_data() -> Data:
    """Four classes of noisy 16x16x3 images, told apart by which quarter is bright."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 160)
    x = generator.random((160, 16, 16, 3), np.float32) * 0.3
    for image, label in zip(x, y, strict=True):
        image[(label // 2) * 8 :][:8, (label % 2) * 8 :][:, :8] += 0.5
    return Data(x[:128], y[:128], x[128:], y[128:])


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """dense, unstructured and block-4x1 of one small CNN."""
    from edgesparse.prune import prune
    from edgesparse.prune.legacy_keras import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(32, 1, activation="relu", name="mix")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="look")(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x), name="small")
    data, root = small_data(), tmp_path_factory.mktemp("e2e")
    pruned: list[Path | object] = [prune(model, recipe, data, out=root / recipe.name).path for recipe in RECIPES]
    return convert([model, *pruned], root / "bundle", data=data, name="small")
