"""Keras 2 to TFLite: one file with dense weights, one with sparse encodings, of the same weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.convert.flatbuffer import FlatModel, read_model
from edgesparse.convert.layers import kernel_operators
from edgesparse.convert.opcodes import separate_versions
from edgesparse.errors import ModelError
from edgesparse.patterns import from_keras

Array = npt.NDArray[Any]

# Cosine of a kernel's row and the same row scaled, allowing for float32 rounding.
_SAME_DIRECTION = 0.9999
_KERNELS = ("kernel:0", "depthwise_kernel:0")


class Exporter:
    """Exports one model; traced once, whatever is asked for.

    The batch size is fixed at 1: with an open one the converter adds operators that compute shapes at run time, and
    these stop XNNPACK's sparse path.

    Args:
        model: a built `tf_keras` model with one input and one output.

    Raises:
        ModelError: the input has no fixed shape.
    """

    # How alike a kernel's rows must be to an operator's to be taken for the same.
    same_direction = _SAME_DIRECTION

    def __init__(self, model: Any) -> None:
        from edgesparse.prune.legacy_keras import tf

        self.model = model
        entry = model.inputs[0]
        spec = tf.TensorSpec([1, *entry.shape[1:]], entry.dtype, name=entry.name)
        if not spec.shape.is_fully_defined():
            raise ModelError(
                f"Expected an input of fixed shape, found {list(entry.shape[1:])} for {entry.name}.",
                hint="Build the model with a fixed input shape; only the batch may be open.",
            )
        infer = tf.function(lambda x: model(x, training=False), input_signature=[spec])
        # The converter saves what owns the variables. Were it the Keras model, every layer would be traced again.
        self._owner = tf.Module()
        self._owner.infer, self._owner.variables_of_model = infer, model.variables
        self._function = infer.get_concrete_function()

    def dense(self) -> bytes:
        """The .tflite file with every weight stored dense.

        Raises:
            ModelError: an operator that TFLite does not have, or zeros of the model that the file lost.
        """
        file = self._convert(optimizations=[])
        self.check_zeros(read_model(file))
        return file

    def sparse(self, dense: bytes) -> bytes:
        """The .tflite file with sparse encodings wherever the converter makes them: 30 % zeros or more.

        Args:
            dense: what :meth:`dense` gave.

        Raises:
            ModelError: as for :meth:`dense`, or weights that are not those of the dense file.
        """
        from edgesparse.prune.legacy_keras import tf

        file = self._convert(optimizations=[tf.lite.Optimize.EXPERIMENTAL_SPARSITY])
        file = separate_versions(file, dense)
        _check_same_weights(read_model(dense), read_model(file))
        return file

    def outputs(self, samples: Array) -> Array:
        """What the Keras model gives for golden inputs, (samples, *output shape)."""
        from edgesparse.prune.legacy_keras import tf

        return np.stack([self._function(tf.constant(sample)).numpy() for sample in samples])

    def layer_names(self, found: FlatModel) -> dict[int, str]:
        """The name of the layer behind an operator, by its place among those with a kernel, where it is known."""
        return {place: name for place, (name, _) in self._matched(found).items()}

    def check_zeros(self, found: FlatModel) -> None:
        """Batch normalisation is folded into kernels, which scales output channels and must keep every zero."""
        operators = kernel_operators(found)
        for place, (name, kernel) in self._matched(found).items():
            weights = found.weights(operators[place].inputs[1])
            lost = int(np.count_nonzero((kernel == 0) & (weights != 0)))
            if lost:
                raise ModelError(
                    f"Layer {name}: {lost} zeros of the pruned kernel are no zeros in the converted file.",
                    hint="Report this with the model: the converter changed the weights.",
                )

    def _matched(self, found: FlatModel) -> dict[int, tuple[str, Array]]:
        return match_layers(found, self.model, self.same_direction)

    def _adjust(self, converter: Any) -> None:
        """What a subclass asks of the converter besides."""

    def _convert(self, optimizations: list[Any]) -> bytes:
        from edgesparse.native_logs import quiet_native_logs
        from edgesparse.prune.legacy_keras import tf

        converter = tf.lite.TFLiteConverter.from_concrete_functions([self._function], self._owner)
        converter.optimizations = optimizations
        self._adjust(converter)
        try:
            with quiet_native_logs():
                return bytes(converter.convert())
        except Exception as error:  # the converter raises classes of its own, out of three modules
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ModelError(
                f"TensorFlow cannot convert the model {self.model.name} to TFLite: {reason}",
                hint="Replace the layer that it names by one that TFLite's built-in operators can express.",
            ) from error
        finally:
            logging.getLogger("absl").setLevel(logging.ERROR)  # the converter lowers it


def kernel_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The Conv2D, DepthwiseConv2D and Dense layers of a model; those of a model inside it are called "outer/inner".

    A layer in a quantising wrapper is that wrapper, which has its variables, under the layer's own name.
    """
    from edgesparse.prune.legacy_keras import keras

    for layer in model.layers:
        wrapped = getattr(layer, "layer", None)
        if wrapped is not None and _has_kernel(wrapped):
            yield f"{prefix}{wrapped.name}", layer
        elif isinstance(layer, keras.Model):
            yield from kernel_layers(layer, f"{prefix}{layer.name}/")
        elif _has_kernel(layer):
            yield f"{prefix}{layer.name}", layer


def _has_kernel(layer: Any) -> bool:
    from edgesparse.prune.legacy_keras import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense)


def outputs_first(layer: Any) -> Array:
    """A layer's kernel in TFLite's layout: (out, in), (out, kh, kw, in), or (1, kh, kw, out) for a depthwise one."""
    # Found by its name: a wrapper's layer has its rounded kernel as an attribute.
    variable = next(each for each in layer.weights if each.name.rpartition("/")[2] in _KERNELS)
    kernel = variable.numpy()
    if variable.name.endswith(_KERNELS[1]):
        return np.asarray(kernel.reshape(1, *kernel.shape[:2], -1))
    return from_keras(kernel)


def match_layers(found: FlatModel, model: Any, same_direction: float = _SAME_DIRECTION) -> dict[int, tuple[str, Array]]:
    """The Keras layer's name and kernel behind each operator with one, by its place among these, where it is known.

    It is the layer whose kernel the operator has, up to a scale per output channel, which is what folding a batch
    normalisation does. Of several such, it is the one that the name of the operator's output mentions (the converter
    joins the names of all that it fused), else the first that no operator has yet: the graph's output is renamed.
    """
    kernels = [(name, outputs_first(layer)) for name, layer in kernel_layers(model)]
    matched: dict[int, tuple[str, Array]] = {}
    for place, op in enumerate(kernel_operators(found)):
        weights = found.weights(op.inputs[1])
        joined = "/" + found.tensors[op.outputs[0]].name.replace(";", "/") + "/"
        same = [(name, kernel) for name, kernel in kernels if _same_up_to_scales(kernel, weights, same_direction)]
        named = [(name, kernel) for name, kernel in same if f"/{name}/" in joined or f"/quant_{name}/" in joined]
        taken = {name for name, _ in matched.values()}
        free = [(name, kernel) for name, kernel in same if name not in taken]
        if same:
            matched[place] = (named or free or same)[0]
    return matched


def _same_up_to_scales(kernel: Array, weights: Array, same_direction: float) -> bool:
    if kernel.shape != weights.shape:
        return False
    axis = -1 if kernel.ndim == 4 and kernel.shape[0] == 1 else 0  # a depthwise kernel has its outputs last
    one = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).astype(np.float64)
    other = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    products = np.abs((one * other).sum(axis=1))
    return bool((products >= same_direction * norms).all())


def _check_same_weights(dense: FlatModel, sparse: FlatModel) -> None:
    ones, others = kernel_operators(dense), kernel_operators(sparse)
    same = [op.name for op in ones] == [op.name for op in others] and all(
        np.array_equal(dense.weights(one.inputs[1]), sparse.weights(other.inputs[1]))
        for one, other in zip(ones, others, strict=True)
    )
    if not same:
        raise ModelError(
            "The sparse file does not hold the weights of the dense one: the converter changed them.",
            hint="Report this with the model.",
        )
