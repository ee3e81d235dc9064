"""Random weights with random zeros of an exact density, scaled so that signals neither fade nor explode.

A kernel is drawn as He et al. (Delving Deep into Rectifiers, 2015) say for ReLU, its variance divided by its density
so that zeros cost no signal. Which weights are zero is drawn apart from their values. Batch normalisation gets the
statistics of one batch of random inputs, as training would have left them, so the outputs say something about every
layer before them and a parity check means something.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse import patterns
from edgesparse.networks.specs import Zeros
from edgesparse.prune.layers import weighted_layers
from edgesparse.prune.legacy_keras import keras

Array = npt.NDArray[Any]

# Pixels of the images whose statistics batch normalisation gets: 8 images of 224 x 224, whose smallest feature map
# gives a few hundred values. Fewer would make the network amplify every rounding.
CALIBRATION_PIXELS = 8 * 224 * 224

# The least magnitude of a weight that is kept, before scaling.
SMALLEST = 1e-3


def fill(model: Any, zeros: Zeros, seed: int) -> None:
    """Set every weight of a model.

    Pruned are Conv2D, 1x1 or not, but the first, and Dense, the head too; never a depthwise convolution, nor a layer
    that the pattern does not fit.

    Args:
        model: a built Keras model.
        zeros: their pattern and share.
        seed: the same seed gives the same weights.
    """
    weighted = [layer for _, layer, _ in weighted_layers(model)]
    stem = next((layer for layer in weighted if _is_convolution(layer)), None)
    for number, layer in enumerate(weighted):
        dense = layer is stem or isinstance(layer, keras.layers.DepthwiseConv2D)
        _fill_layer(layer, Zeros() if dense else zeros, np.random.default_rng([seed, number]))
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            _fill_normalisation(layer, np.random.default_rng([seed, number, 1]))
    _calibrate(model, seed)
    _scale_head(model, weighted[-1], seed)


def random_mask(shape: tuple[int, ...], zeros: Zeros, generator: np.random.Generator) -> patterns.Mask | None:
    """Which weights of a kernel, outputs first, stay; None where none goes."""
    if zeros.pattern is None or patterns.misfit(shape, zeros.pattern):
        return None
    return patterns.mask(generator.random(shape, np.float32), zeros.pattern, zeros.sparsity)


def random_inputs(shape: tuple[int, ...], count: int, seed: int) -> Array:
    """`count` inputs of unit variance."""
    return np.random.default_rng([seed, 0xC0]).standard_normal((count, *shape), np.float32)


def _is_convolution(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)


def _fill_layer(layer: Any, zeros: Zeros, generator: np.random.Generator) -> None:
    kernel, *others = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    fan_in = kernel[..., 0, 0].size if depthwise else kernel[..., 0].size
    values = generator.standard_normal(kernel.shape, np.float32)
    # One in some ten million is 0, which would be a hole in a block; and none may be after rounding to float16.
    values = np.copysign(np.maximum(np.abs(values), np.float32(SMALLEST)), values)
    mask = None if depthwise else random_mask(patterns.from_keras(kernel).shape, zeros, generator)
    if mask is not None:
        values = np.where(patterns.to_keras(mask), values, np.float32(0))
        fan_in *= patterns.density(mask)
    biases = [generator.normal(0, 0.1, other.shape) for other in others]
    layer.set_weights([values * np.float32(np.sqrt(2 / fan_in)), *biases])


def _fill_normalisation(layer: Any, generator: np.random.Generator) -> None:
    scale = [generator.uniform(0.8, 1.2, layer.gamma.shape)] if layer.scale else []
    # A mean above 0: behind ReLU, normalised signals of mean 0 amplify every rounding from layer to layer (Yang et al.,
    # A Mean Field Theory of Batch Normalization, 2019), so that two correct kernels would differ by 4e-5 in ResNet-50.
    centre = [generator.normal(0.5, 0.1, layer.beta.shape)] if layer.center else []
    layer.set_weights([*scale, *centre, *layer.get_weights()[-2:]])


def _calibrate(model: Any, seed: int) -> None:
    """Moving statistics become those of one batch: a momentum of 0 forgets what was there."""
    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalisations:
        return
    before = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    model(_calibration_inputs(model, seed), training=True)
    for layer, momentum in zip(normalisations, before, strict=True):
        layer.momentum = momentum


def _calibration_inputs(model: Any, seed: int) -> Array:
    shape = model.input_shape[1:]
    pixels = shape[0] * shape[1] if len(shape) == 3 else CALIBRATION_PIXELS // 8
    return random_inputs(shape, max(CALIBRATION_PIXELS // pixels, 2), seed)


def _scale_head(model: Any, head: Any, seed: int) -> None:
    """Give the last layer's sums unit variance: no class drowns the others, whatever the pooling left of the signal."""
    inputs = _calibration_inputs(model, seed)[:8]
    features = keras.Model(model.input, head.input)(inputs, training=False).numpy()
    kernel, *others = head.get_weights()
    sums = features.reshape(len(inputs), -1) @ kernel.reshape(-1, kernel.shape[-1])
    head.set_weights([kernel / np.float32(sums.std()), *others])
