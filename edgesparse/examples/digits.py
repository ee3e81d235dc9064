"""Handwritten digits: real scans from scikit-learn, and a small MobileNet-style network that learns them in a minute.

The network is laid out so that XNNPACK's sparse inference accepts it: a 3x3 stride-2 start and depthwise strides with
explicit padding, 1x1 convolutions in between that hold nearly all the work, and at the end global average pooling,
Flatten and Dense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgesparse.prune.data import Data
from edgesparse.prune.training import EpochDone, fit, training_steps
from edgesparse.recipe import FineTune

HELD_OUT = 450
SEED = 0
EPOCHS = 8
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
# (output channels, stride) of each pair of depthwise 3x3 and pointwise 1x1, after a first convolution to 16x16x32
PAIRS = ((128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
# A third of that work, most of it in the last convolution.
SMALL_PAIRS = ((64, 1), (256, 2), (256, 1))


def data() -> Data:
    """1347 digits to train on and 450 held out, stratified, always the same: float32 32x32x3 in 0..1, labels 0..9.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, as in scikit-learn.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    grey = zoom(digits.images / 16.0, (1, 4, 4), order=1, mode="nearest", grid_mode=True).astype(np.float32)
    images = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    labels = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    return Data(x_train, y_train, x_test, y_test)


def model(pairs: Sequence[tuple[int, int]] = PAIRS) -> Any:
    """The untrained network: a functional Keras 2 model, 32x32x3 to 10 probabilities; 17 million multiply-adds with
    `PAIRS`, 6 million with `SMALL_PAIRS`."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers

    def normalised(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x)

    image = layers.Input((32, 32, 3), name="image")
    # Padding of its own, on every side: Keras's stride-2 SAME pads one side only, which XNNPACK runs dense.
    x = layers.ZeroPadding2D(1, name="first_pad")(image)
    x = normalised(layers.Conv2D(32, 3, strides=2, padding="valid", use_bias=False, name="first")(x), "first")
    for number, (channels, stride) in enumerate(pairs, 1):
        name = f"depthwise{number}"
        if stride == 2:
            x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid" if stride == 2 else "same"
        x = normalised(layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=name)(x), name)
        name = f"pointwise{number}"
        x = normalised(layers.Conv2D(channels, 1, use_bias=False, name=name)(x), name)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classifier")(x), name="digits")


def lenet() -> Any:
    """An untrained fully connected network, 192 inputs (8x8 pixels, 3 channels), 300, 100 and 10, that learns digits in
    seconds: LeNet-300-100, on which the lottery ticket hypothesis was first told."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    image = layers.Input((32, 32, 3), name="image")
    x = layers.Flatten(name="flatten")(layers.AveragePooling2D(4, name="shrink")(image))
    x = layers.Dense(300, activation="relu", name="hidden1")(x)
    x = layers.Dense(100, activation="relu", name="hidden2")(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classifier")(x), name="lenet")


def train(progress: Callable[[EpochDone], None] | None = None, pairs: Sequence[tuple[int, int]] = PAIRS) -> Any:
    """Train the network on its data, the same way every time; returns the compiled model (about 60 CPU seconds, 25 with
    `SMALL_PAIRS`)."""
    from edgesparse.prune.legacy_keras import keras

    samples = data()
    keras.utils.set_random_seed(SEED)  # the initial weights; `fit` seeds the shuffling itself
    network = model(pairs)
    tuning = FineTune(epochs=EPOCHS, batch_size=BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, training_steps(samples, tuning))
    network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    fit(network, samples, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=SEED, progress=progress)
    return network
