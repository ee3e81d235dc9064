"""Small pruned networks, each with one thing that decides about sparse execution, as dense and as sparse files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_graphs(folder: Path) -> dict[str, Path]:
    """`<name>.tflite` and its twin `<name>.dense.tflite`, the same weights stored dense, for each graph."""
    from edgesparse.convert.keras import Exporter

    files = {}
    for name, (build, pattern, zeros) in _graphs().items():
        model = build()
        _prune(model, pattern, zeros)
        exporter = Exporter(model)
        dense = exporter.dense()
        (folder / f"{name}.dense.tflite").write_bytes(dense)
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(exporter.sparse(dense))
    # Zeros without a sparse encoding.
    for suffix in (".tflite", ".dense.tflite"):
        (folder / f"plain{suffix}").write_bytes((folder / "fits.dense.tflite").read_bytes())
    return files | {"plain": folder / "plain.tflite"}


def _graphs() -> dict[str, tuple[Callable[[], Any], str, float]]:
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers

    def convolve(x: Any, filters: int, name: str) -> Any:
        return layers.ReLU(6.0)(layers.Conv2D(filters, 1, name=name)(x))

    def stem(x: Any) -> Any:
        return layers.ReLU(6.0)(layers.Conv2D(8, 3, 2, "valid", name="stem")(layers.ZeroPadding2D(1)(x)))

    def shrink(x: Any, same: bool) -> Any:
        if same:
            return layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 2, "same", name="dw2")(x))
        return layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 2, "valid", name="dw2")(layers.ZeroPadding2D(1)(x)))

    def flat(x: Any) -> Any:
        x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
        return layers.Dense(8, name="fc2")(layers.Dense(32, activation="relu", name="fc1")(x))

    def straight(x: Any) -> Any:
        x = layers.GlobalAveragePooling2D()(x)
        return layers.Dense(8, name="fc2")(layers.Dense(32, activation="relu", name="fc1")(x))

    def convolved(x: Any) -> Any:
        return layers.Flatten()(layers.Conv2D(16, 1, name="head")(layers.GlobalAveragePooling2D(keepdims=True)(x)))

    def unpooled(x: Any) -> Any:
        return layers.Dense(8, name="fc1")(layers.Flatten()(x))

    def squeeze(x: Any) -> Any:
        s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        s = layers.Conv2D(8, 1, activation="relu", name="se1")(s)
        return layers.Multiply()([x, layers.Conv2D(32, 1, activation="sigmoid", name="se2")(s)])

    def branch(x: Any) -> Any:
        return layers.Concatenate()([x, convolve(x, 16, "side")])

    def net(
        middle: Callable[[Any], Any] | None = None,
        head: Callable[[Any], Any] = flat,
        *,
        channels: int = 3,
        same: bool = False,
    ) -> Callable[[], Any]:
        def build() -> Any:
            entry = keras.Input((16, 16, channels))
            x = shrink(convolve(stem(entry), 32, "pw1"), same)
            x = convolve(x, 32, "pw2")
            x = middle(x) if middle else x
            x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 1, "same", name="dw3")(x))
            return keras.Model(entry, head(convolve(x, 32, "pw3")))

        return build

    return {
        "fits": (net(), "unstructured", 0.8),
        "blocks_of_outputs": (net(), "outputs", 0.8),
        "few_zeros": (net(), "unstructured", 0.64),
        "just_enough": (net(), "unstructured", 0.68),
        "two_of_four": (net(), "2:4", 0.5),
        "same_padding": (net(same=True), "unstructured", 0.8),
        "one_channel": (net(channels=1), "unstructured", 0.8),
        "pooled_straight": (net(head=straight), "unstructured", 0.8),
        "pooled_conv": (net(head=convolved), "unstructured", 0.8),
        "no_pooling": (net(head=unpooled), "unstructured", 0.8),
        "squeeze_excite": (net(squeeze), "unstructured", 0.8),
        "concat": (net(lambda x: layers.Concatenate()([x, x])), "unstructured", 0.8),
        "concat_few_zeros": (net(lambda x: layers.Concatenate()([x, x])), "unstructured", 0.6),
        "branch": (net(branch), "unstructured", 0.8),
        "prelu": (net(lambda x: layers.PReLU(shared_axes=[1, 2])(x)), "unstructured", 0.8),
        "swish": (net(lambda x: layers.Activation("swish")(x)), "unstructured", 0.8),
        "blocks_of_inputs": (net(), "inputs", 0.8),
    }


def _prune(model: Any, pattern: str, zeros: float) -> None:
    """Random weights that keep activations near one, so that wrong outputs show; 1x1 and Dense kernels are pruned."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        weights = layer.get_weights()
        if not weights:
            continue
        kernel, depthwise = weights[0], "dw" in layer.name
        prune = not depthwise and layer.name != "stem"
        fan = 9 if depthwise else int(np.prod(kernel.shape[:-1])) or 1
        fresh = generator.normal(size=kernel.shape) * np.sqrt(1.6 / (fan * (1 - zeros if prune else 1)))
        if prune and kernel.ndim > 1:
            fresh *= _mask(fresh.reshape(-1, kernel.shape[-1]), pattern, zeros).reshape(kernel.shape)
        layer.set_weights([fresh, *(generator.normal(size=w.shape, scale=0.3) for w in weights[1:])])


def _mask(kernel: Any, pattern: str, zeros: float) -> Any:
    """True where a kernel (inputs, outputs) keeps its weight."""
    inputs, outputs = kernel.shape
    size = np.abs(kernel)
    if pattern == "outputs":
        size = np.repeat(size.reshape(inputs, -1, 4).mean(axis=2), 4, axis=1)
    elif pattern == "inputs":
        size = np.repeat(size.reshape(-1, 4, outputs).mean(axis=1), 4, axis=0)
    elif pattern == "2:4":
        groups = size.reshape(-1, 4, outputs)
        return (np.argsort(np.argsort(groups, axis=1), axis=1) >= 2).reshape(inputs, outputs)
    return size > np.quantile(size, zeros)
