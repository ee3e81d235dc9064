"""Each kind of export once a session: TensorFlow is imported once and converts a handful of tiny models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.convert.models import Export, build, export, random_mask


@pytest.fixture(scope="session")
def unstructured() -> Export:
    """80 % zeros without structure in pw, c3, fc1 and fc2."""
    return export(build(random_mask(0.2)))


@pytest.fixture(scope="session")
def blocks() -> Export:
    """fc1 in blocks of 1x4 (4 inputs of one output), pw with 20 % zeros, too few to be stored sparsely; fc2 dense."""
    generator = np.random.default_rng(2)

    def mask(name: str, shape: tuple[int, ...]) -> Any:
        if name == "fc1":
            return np.repeat(generator.random((shape[0] // 4, shape[1])) < 0.2, 4, axis=0)
        return generator.random(shape) < 0.8 if name == "pw" else np.ones(shape)

    return export(build(mask))


@pytest.fixture(scope="session")
def wide() -> Export:
    """One Dense layer large enough for 32-bit row pointers and 16-bit indices."""
    from edgesparse.prune.legacy_keras import keras

    model = keras.Sequential([keras.Input((600,)), keras.layers.Dense(300, name="fc")])
    layer = model.layers[0]
    generator = np.random.default_rng(3)
    kernel = generator.normal(size=(600, 300)) * (generator.random((600, 300)) < 0.5)
    layer.set_weights([kernel, generator.normal(size=300)])
    return export(model)


@pytest.fixture(scope="session")
def int8_blocks() -> tuple[bytes, bytes]:
    """A Dense layer in blocks of 1x16, quantised to int8: dense file and sparse file, from the converter alone."""
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import keras, tf

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, use_bias=False, name="fc")])
    generator = np.random.default_rng(4)
    mask = np.repeat(generator.random((4, 32)) < 0.3, 16, axis=0)
    model.layers[0].set_weights([generator.normal(size=(64, 32)) * mask])
    files = []
    for more in ([], [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT, *more]
        converter.representative_dataset = lambda: ([each] for each in generator.random((8, 1, 64), np.float32))
        with quiet_native_logs():
            files.append(bytes(converter.convert()))
    return files[0], files[1]
