"""The graphs of the benchmark networks, as Keras models without meaningful weights.

MobileNet V1 and V2 and ResNet-50 are those of `keras.applications`, unchanged: what a user who starts there has.
ResNet-18 (He et al., Deep Residual Learning for Image Recognition, 2015) is built the same way.
"""

from __future__ import annotations

from typing import Any

from edgesparse.networks.specs import Network
from edgesparse.prune.legacy_keras import keras

CLASSES = 1000


def make_graph(network: Network) -> Any:
    """A fresh Keras model of this network; all its weights are still to be set."""
    keras.backend.clear_session()  # so that names do not count on from the model before
    if network.family == "mlp":
        return _mlp(network.size)
    shape = (network.size, network.size, 3)
    if network.family == "resnet18":
        return _resnet18(shape)
    applications = {
        "mobilenetv1": keras.applications.MobileNet,
        "mobilenetv2": keras.applications.MobileNetV2,
        "resnet50": keras.applications.ResNet50,
    }
    model = applications[network.family](weights=None, input_shape=shape, classes=CLASSES)
    return _conforming(model) if network.conforming else model


def _mlp(size: int) -> Any:
    entry = keras.Input((size,))
    x = entry
    for number in range(3):
        x = keras.layers.Dense(size, activation="relu", name=f"dense_{number + 1}")(x)
    return keras.Model(entry, x, name=f"mlp_{size}")


def _resnet18(shape: tuple[int, int, int]) -> Any:
    layers = keras.layers

    def normalised(x: Any, name: str, filters: int, size: int, stride: int = 1, padding: str = "same") -> Any:
        x = layers.Conv2D(filters, size, stride, padding, use_bias=False, name=f"{name}_conv")(x)
        return layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)

    entry = keras.Input(shape)
    x = layers.ZeroPadding2D(3)(entry)
    x = layers.ReLU()(normalised(x, "conv1", 64, 7, 2, "valid"))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for stage, filters in enumerate((64, 128, 256, 512), start=2):
        for block in (1, 2):
            name = f"conv{stage}_block{block}"
            stride = 2 if stage > 2 and block == 1 else 1
            shortcut = normalised(x, f"{name}_0", filters, 1, stride) if stride == 2 else x
            x = layers.ReLU()(normalised(x, f"{name}_1", filters, 3, stride))
            x = normalised(x, f"{name}_2", filters, 3)
            x = layers.ReLU()(layers.Add()([shortcut, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(entry, layers.Dense(CLASSES, activation="softmax", name="predictions")(x), name="resnet18")


def _conforming(model: Any) -> Any:
    """The same network with what XNNPACK's sparse inference asks for.

    Strided convolutions are padded by 1 on every side and VALID; and MobileNet V1's head is Flatten and Dense instead
    of a 1x1 convolution, which several versions of XNNPACK compute wrongly behind the pooling once they run sparse.
    """
    config = model.get_config()
    entries = config["layers"]
    for place, entry in enumerate(entries):
        if entry["class_name"] == "ZeroPadding2D":
            entry["config"]["padding"] = 1
        if entry["class_name"] == "Conv2D" and tuple(entry["config"]["strides"]) == (2, 2):
            stem = place
    name = f"{entries[stem]['name']}_pad"
    pad = {**keras.layers.serialize(keras.layers.ZeroPadding2D(1, name=name)), "name": name}
    pad["inbound_nodes"] = entries[stem]["inbound_nodes"]
    entries[stem]["inbound_nodes"] = [[[name, 0, 0, {}]]]
    entries[stem]["config"]["padding"] = "valid"
    entries.insert(stem, pad)
    padded = keras.Model.from_config(config)
    pooled = next(layer for layer in padded.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    x = pooled.output if len(pooled.output.shape) == 2 else keras.layers.Flatten()(pooled.output)
    head = keras.layers.Dense(CLASSES, activation="softmax", name="predictions_dense")
    return keras.Model(padded.input, head(x), name=f"{model.name}_conforming")
