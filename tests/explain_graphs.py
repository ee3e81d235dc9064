"""Small pruned networks, each with one thing that decides about sparse execution, as dense and as sparse files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from edgesparse.convert.flatbuffer import FILE_IDENTIFIER, read_model, schema


def write_graphs(folder: Path, only: Sequence[str] = ()) -> dict[str, Path]:
    """`<name>.tflite` and its twin `<name>.dense.tflite`, the same weights stored dense, for each graph or some."""
    files = {}
    for name, (build, pattern, zeros) in _graphs().items():
        if only and name not in only:
            continue
        model = build()
        _prune(model, pattern, zeros)
        sparse = _convert(model)
        files[name] = folder / f"{name}.tflite"
        files[name].write_bytes(sparse)
        (folder / f"{name}.dense.tflite").write_bytes(_expanded(sparse))
    if only:
        return files
    # Zeros without a sparse encoding.
    for suffix in (".tflite", ".dense.tflite"):
        (folder / f"plain{suffix}").write_bytes((folder / "fits.dense.tflite").read_bytes())
    return files | {"plain": folder / "plain.tflite"}


def _convert(model: Any) -> bytes:
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with quiet_native_logs():
        return bytes(converter.convert())


def _expanded(sparse: bytes) -> bytes:
    """The same model with its weights stored dense, a second conversion saved."""
    found = read_model(sparse)
    model = schema().ModelT.InitFromPackedBuf(sparse, 0)
    graph = model.subgraphs[0]
    for tensor in found.tensors:
        if tensor.sparsity is not None:
            graph.tensors[tensor.index].sparsity = None
            graph.tensors[tensor.index].buffer = _add_buffer(model, found.weights(tensor.index))
    for op in found.operators:
        if op.name == "DENSIFY":
            graph.tensors[op.outputs[0]].buffer = graph.tensors[op.inputs[0]].buffer
    graph.operators = [each for each, op in zip(graph.operators, found.operators, strict=True) if op.name != "DENSIFY"]
    for code in model.operatorCodes:
        if code.builtinCode == schema().BuiltinOperator.FULLY_CONNECTED:
            code.version = 1
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _add_buffer(model: Any, values: Any) -> int:
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _graphs() -> dict[str, tuple[Callable[[], Any], str, float]]:
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers

    def convolve(x: Any, filters: int, name: str) -> Any:
        return layers.ReLU(6.0)(layers.Conv2D(filters, 1, name=name)(x))

    def stem(x: Any, same: bool) -> Any:
        if same:
            return layers.ReLU(6.0)(layers.Conv2D(8, 3, 2, "same", name="stem")(x))
        return layers.ReLU(6.0)(layers.Conv2D(8, 3, 2, "valid", name="stem")(layers.ZeroPadding2D(1)(x)))

    def shrink(x: Any, same: bool) -> Any:
        if same:
            return layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 2, "same", name="dw2")(x))
        return layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 2, "valid", name="dw2")(layers.ZeroPadding2D(1)(x)))

    def flat(x: Any) -> Any:
        x = layers.GlobalAveragePooling2D()(x)
        return layers.Dense(8, name="fc2")(layers.Dense(32, activation="relu", name="fc1")(x))

    def kept(x: Any) -> Any:
        # With a fixed batch the converter drops Flatten, and the kept dimensions reach FULLY_CONNECTED.
        return layers.Dense(8, name="fc1")(layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x)))

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
        same: str = "",
    ) -> Callable[[], Any]:
        def build() -> Any:
            entry = keras.Input((16, 16, channels), batch_size=1)
            x = shrink(convolve(stem(entry, same == "stem"), 32, "pw1"), same == "dw2")
            x = convolve(x, 32, "pw2")
            x = middle(x) if middle else x
            x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 1, "same", name="dw3")(x))
            return keras.Model(entry, head(convolve(x, 32, "pw3")))

        return build

    def overlooked() -> Any:
        entry = keras.Input((16, 16, 3), batch_size=1)
        x = convolve(shrink(convolve(stem(entry, False), 32, "pw1"), False), 32, "pw2")
        beside = layers.Flatten()(layers.MaxPooling2D(2)(x))
        x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 1, "same", name="dw3")(layers.Add()([x, x])))
        return keras.Model(entry, [flat(convolve(x, 32, "pw3")), beside])

    return {
        "fits": (net(), "outputs", 0.8),
        "two_of_four": (net(), "2:4", 0.5),
        "same_stem": (net(same="stem"), "unstructured", 0.8),
        "same_padding": (net(same="dw2"), "unstructured", 0.8),
        "one_channel": (net(channels=1), "unstructured", 0.8),
        "pooled_kept": (net(head=kept), "unstructured", 0.8),
        "pooled_conv": (net(head=convolved), "unstructured", 0.8),
        "no_pooling": (net(head=unpooled), "unstructured", 0.8),
        "squeeze_excite": (net(squeeze), "unstructured", 0.8),
        "concat": (net(lambda x: layers.Concatenate()([x, x])), "unstructured", 0.8),
        "concat_few_zeros": (net(lambda x: layers.Concatenate()([x, x])), "unstructured", 0.6),
        "branch": (net(branch), "unstructured", 0.8),
        "blocks_of_inputs": (net(), "inputs", 0.8),
        "overlooked": (overlooked, "unstructured", 0.8),
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
