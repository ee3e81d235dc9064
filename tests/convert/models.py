"""Tiny Keras models with masked random weights, exported once a session; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesparse.convert.flatbuffer import FlatModel, read_model

Mask = Callable[[str, tuple[int, ...]], Any]


@dataclass(frozen=True)
class Export:
    """A model and its two files."""

    model: Any
    dense: bytes
    sparse: bytes

    def read(self) -> tuple[FlatModel, FlatModel]:
        return read_model(self.dense), read_model(self.sparse)


def build(mask: Mask, seed: int = 0) -> Any:
    """stem, dw and pw (1x1), each with batch normalisation, c3 (3x3), fc1, fc2; kernels masked by name and shape."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    entry = keras.Input((12, 12, 1))
    x = layers.ZeroPadding2D(1)(entry)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False, name="stem")(x)))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False, name="pw")(x)))
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="c3")(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D()(x))
    x = layers.Dense(64, activation="relu", name="fc1")(x)
    model = keras.Model(entry, layers.Dense(10, name="fc2")(x), name="tiny")
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, each.shape) for each in weights])
        elif weights:
            kernel = generator.normal(size=weights[0].shape) * mask(layer.name, weights[0].shape)
            layer.set_weights([kernel, *weights[1:]])
    return model


def export(model: Any) -> Export:
    from edgesparse.convert.keras import Exporter

    exporter = Exporter(model)
    dense = exporter.dense()
    return Export(model, dense, exporter.sparse(dense))


def random_mask(density: float, seed: int = 1) -> Mask:
    generator = np.random.default_rng(seed)

    def mask(name: str, shape: tuple[int, ...]) -> Any:
        return generator.random(shape) < density if name in ("pw", "c3", "fc1", "fc2") else np.ones(shape)

    return mask
