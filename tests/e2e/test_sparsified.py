"""Files as TensorFlow's converter leaves them, of many kinds: sparsified, explained, and compared on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse import bench, sparsify
from edgesparse.boards.types import load_type
from edgesparse.explain import explain
from edgesparse.sparsify import make_recipe

pytestmark = pytest.mark.timeout(900)


def convolutions() -> Any:
    """A stem, a separable convolution with a residual connection, a 3x3 one, and two dense layers."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3), batch_size=1)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(image)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.Add()([x, layers.Conv2D(32, 1)(y)])
    x = layers.Flatten()(layers.MaxPool2D()(layers.Conv2D(64, 3, activation="relu")(x)))
    return keras.Model(image, layers.Dense(8, activation="softmax")(layers.Dense(64, activation="relu")(x)))


def two_of_each() -> Any:
    """Two inputs and two outputs."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    image, vector = keras.Input((8, 8, 16), batch_size=1, name="image"), keras.Input((12,), batch_size=1, name="vector")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(32, 3)(layers.Conv2D(32, 3, activation="relu")(image)))
    x = layers.Concatenate()([x, layers.Dense(32, activation="relu")(vector)])
    return keras.Model([image, vector], [layers.Dense(16)(x), layers.Dense(32)(x)])


def recurrent() -> Any:
    from edgesparse.prune.legacy_keras import keras

    steps = keras.Input((6, 16), batch_size=1)
    return keras.Model(steps, keras.layers.Dense(48)(keras.layers.LSTM(32)(steps)))


def converted(model: Any, kind: str) -> bytes:
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    generator = np.random.default_rng(2)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int8"):
        shapes = [tuple(each.shape) for each in model.inputs]
        converter.representative_dataset = lambda: (
            [generator.random(shape, np.float32) for shape in shapes] for _ in range(4)
        )
    if kind == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet_native_logs():
        return bytes(converter.convert())


@pytest.fixture(autouse=True)
def agent_stopped(own_state: None) -> Iterator[None]:
    """The agent that a test leaves on this machine."""
    yield
    subprocess.run([sys.executable, "-m", "edgesparse.cli", "agent", "stop", "--force"], check=False)


@pytest.mark.parametrize(
    ("make", "kind", "pattern", "density"),
    [
        (convolutions, "float32", "16x1", 0.6),
        (convolutions, "float16", "unstructured", 0.6),
        (convolutions, "int8", "16x4", 0.6),
        (convolutions, "int8 inside", "unstructured", 0.6),
        (convolutions, "dynamic", "1x4", 0.6),
        (two_of_each, "float32", "1x4", 0.6),
        # 6144 weights of the LSTM stay; of the 1536 behind it a quarter does.
        (recurrent, "float32", "unstructured", (6144 + 384) / (6144 + 1536)),
    ],
)
def test_every_kind_of_file_goes_all_the_way(
    make: Any, kind: str, pattern: str, density: float, tmp_path: Path
) -> None:
    from edgesparse.prune.legacy_keras import keras

    keras.utils.set_random_seed(11)
    (tmp_path / "model.tflite").write_bytes(converted(make(), kind))
    bundle = sparsify(tmp_path / "model.tflite", make_recipe(pattern, 0.75), tmp_path / "out")
    dense, pruned = bundle.manifest.variants
    assert pruned.density < density + 0.01
    assert pruned.file.bytes <= dense.file.bytes
    for variant in (dense, pruned):
        for board in ("local", "raspberrypi5"):
            found = explain(bundle.file(variant.file), load_type(board))
            assert not {"wrong", "fails"} & {found.path(backend) for backend in found.summaries}
    run = bench(bundle, rounds=(1, 1), samples=5, time_limit_s=60)
    cells = [row for variant in run.comparison().variants for row in variant.backends]
    assert len(cells) == 6
    assert all(cell.status == "ok" and cell.parity and cell.parity["ok"] for cell in cells), cells
