"""A tiny model as the real converter writes it: dense and sparse files of the same weights, inputs and golden
outputs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

TinyFiles = dict[str, bytes]


def npz(*arrays: Any) -> bytes:
    """The arrays as an .npz file with the names "0", "1", …"""
    buffer = io.BytesIO()
    np.savez(buffer, **{str(number): array for number, array in enumerate(arrays)})
    return buffer.getvalue()


def make_tiny_files() -> TinyFiles:
    """`dense` and `sparse` .tflite bytes, `inputs` and `golden` .npz bytes."""
    from edgesparse.prune.legacy_keras import keras, tf

    keras.utils.set_random_seed(7)
    image = keras.Input((16, 16, 3), batch_size=1)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    x = keras.layers.Conv2D(32, 1, activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(10)(x))
    random = np.random.default_rng(7)
    model.set_weights([w * (random.random(w.shape) > 0.8) if w.ndim > 1 else w for w in model.get_weights()])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    dense = converter.convert()
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    inputs = random.random((4, 1, 16, 16, 3)).astype(np.float32)
    golden = np.stack([model(sample).numpy() for sample in inputs])
    return {"dense": dense, "sparse": converter.convert(), "inputs": npz(inputs), "golden": npz(golden)}
