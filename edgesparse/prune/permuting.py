"""Reorders the channels inside a Keras model so that N:4 keeps more magnitude, and leaves its function as it is.

Channels that have to stay in one order together form a space: what a layer puts out, all that passes it on channel by
channel, everything that is added to it, and every kernel that reads it. A space has one permutation: the outputs of
those that make it, their biases and normalisations, and the inputs of those that read it. A space that reaches the
model's input or output, or a layer that mixes channels in another way, stays.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgesparse.errors import EdgesparseError
from edgesparse.patterns import NM, from_keras
from edgesparse.permutation import GROUP, best_order, kept_magnitude

# Layers that pass channels on one by one, some with weights for each.
_PASSING = (
    "Activation", "AveragePooling2D", "BatchNormalization", "DepthwiseConv2D", "Dropout", "ELU", "GaussianDropout",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "LeakyReLU", "MaxPooling2D", "ReLU", "SpatialDropout2D",
    "UpSampling2D", "ZeroPadding2D", "Cropping2D", "PReLU",
)  # fmt: skip
_JOINING = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
_KERNELS = ("Conv2D", "Dense")

# Float rounding of sums in another order.
_TOLERANCE = 1e-4


@dataclass
class Space:
    """Channels of one order. `fixed` says why it stays; "" where it need not."""

    size: int
    fixed: str = ""
    makers: list[Any] = field(default_factory=list)
    passers: list[Any] = field(default_factory=list)
    readers: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """How much magnitude one layer keeps under the pattern.

    Attributes:
        before, after: share of the layer's magnitude, 0..1, in the order that was and in the one found.
        reason: why the order stayed; "" where it was free.
    """

    before: float
    after: float
    reason: str


def permute(model: Any, names: Collection[str], pattern: NM) -> dict[str, Kept]:
    """Reorder a model's channels in place, for the layers that N:4 is to prune.

    Args:
        model: a functional or sequential `tf_keras` model of float weights; its function stays, but for rounding.
        names: of the layers to be pruned.
        pattern: N:4.

    Returns:
        What each of them keeps, by name.

    Raises:
        EdgesparseError: the reordered model computes something else, a defect.
    """
    before = _outputs(model)
    found: dict[str, Kept] = {}
    for space in spaces(model):
        readers = [layer for layer in space.readers if layer.name in names]
        if not readers:
            continue
        magnitudes = [np.abs(from_keras(layer.kernel.numpy())).reshape(-1, space.size) for layer in readers]
        reason = space.fixed or ("" if space.size >= 2 * GROUP else f"it has {space.size} channels, one group")
        order = np.arange(space.size)
        if not reason:
            order = best_order(np.concatenate(magnitudes), pattern.n)
            _apply(space, order)
        for layer, each in zip(readers, magnitudes, strict=True):
            total = max(float(each.sum(dtype=np.float64)), 1e-30)
            shares = [kept_magnitude(each[:, one], pattern.n) / total for one in (np.arange(space.size), order)]
            found[layer.name] = Kept(shares[0], shares[1], reason)
    after = _outputs(model)
    if not np.allclose(before, after, rtol=0, atol=_TOLERANCE * max(1e-30, float(np.abs(before).max()))):
        raise EdgesparseError(
            f"Reordering channels changed what {model.name} computes, by {np.abs(before - after).max():.2g}.",
            hint="This is a defect of edgesparse; please report it with the model. Leave permute out meanwhile.",
        )
    return found


def spaces(model: Any) -> list[Space]:
    """The spaces of channels of a model, in the order in which its layers make them."""
    from edgesparse.prune.legacy_keras import keras

    of: dict[int, Space] = {}  # by tensor
    every: list[Space] = []

    def space_of(tensor: Any) -> Space:
        if id(tensor) not in of:
            of[id(tensor)] = Space(int(tensor.shape[-1] or 0))
            every.append(of[id(tensor)])
        return of[id(tensor)]

    def join(one: Space, other: Space) -> Space:
        if one is other:
            return one
        one.fixed = one.fixed or other.fixed
        if one.size != other.size:
            one.fixed = one.fixed or "it is joined with channels of another number"
        one.makers += other.makers
        one.passers += other.passers
        one.readers += other.readers
        for tensor in [key for key, value in of.items() if value is other]:
            of[tensor] = one
        every.remove(other)
        return one

    for layer in model.layers:
        kind = type(layer).__name__
        if len(layer.inbound_nodes) > 1:
            for node in layer.inbound_nodes:
                for tensor in (*_flat(node.input_tensors), *_flat(node.outputs)):
                    space_of(tensor).fixed = f"{layer.name} is called several times"
            continue
        inputs, outputs = _flat(layer.input), _flat(layer.output)
        if isinstance(layer, keras.layers.InputLayer):
            for tensor in outputs:
                space_of(tensor).fixed = "the model's input comes in this order"
        elif kind in _KERNELS and getattr(layer, "groups", 1) == 1:
            space_of(inputs[0]).readers.append(layer)
            space_of(outputs[0]).makers.append(layer)
        elif kind in _PASSING and _passes(layer):
            joined = join(space_of(inputs[0]), space_of(outputs[0]))
            joined.passers += [layer] if layer.weights else []
        elif kind in _JOINING:
            joined = space_of(outputs[0])
            for tensor in inputs:
                joined = join(space_of(tensor), joined)
        elif kind in ("Flatten", "Reshape") and int(outputs[0].shape[-1] or 0) == int(inputs[0].shape[-1] or -1):
            join(space_of(inputs[0]), space_of(outputs[0]))
        else:
            for tensor in (*inputs, *outputs):
                space_of(tensor).fixed = f"its channels go through {layer.name} ({kind}), which is not followed"
    for tensor in _flat(model.outputs):
        space_of(tensor).fixed = "the model's output goes out in this order"
    return every


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _passes(layer: Any) -> bool:
    kind = type(layer).__name__
    if kind == "DepthwiseConv2D":
        return bool(layer.depth_multiplier == 1)
    if kind == "Activation":
        return bool(layer.activation.__name__ != "softmax")
    if kind == "BatchNormalization":
        axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
        return bool(axis in (-1, len(layer.input.shape) - 1))
    return True


def _apply(space: Space, order: Any) -> None:
    for layer in space.makers:
        layer.set_weights([each[..., order] for each in layer.get_weights()])
    for layer in space.passers:
        layer.set_weights([_along_channels(each, order) for each in layer.get_weights()])
    for layer in space.readers:
        kernel, *others = layer.get_weights()
        layer.set_weights([np.take(kernel, order, axis=-2), *others])


def _along_channels(weights: Any, order: Any) -> Any:
    """Weights for each channel: the last axis, or the one before in a depthwise kernel, whose last is 1."""
    return weights[..., order, :] if weights.ndim == 4 and weights.shape[-1] == 1 else weights[..., order]


def _outputs(model: Any) -> Any:
    shape = [1 if size is None else size for size in model.input_shape[1:]]
    samples = np.random.default_rng(0).random((4, *shape), np.float32)
    return model.predict(samples, verbose=0)
