"""Training and judging Keras models: one `model.fit`, heard through a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesparse.errors import ModelError
from edgesparse.prune.data import Data, class_numbers

if TYPE_CHECKING:
    from edgesparse.recipe import FineTune


@dataclass(frozen=True)
class EpochDone:
    """One epoch of training has ended.

    `loss` and `accuracy` are of the training samples during the epoch (`accuracy` is None where the model was compiled
    without one); `sparsity` is the share of zeros in the layers being pruned, 0 in ordinary training.
    """

    epoch: int
    of: int
    loss: float
    accuracy: float | None
    sparsity: float


def fit(
    model: Any,
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    progress: Callable[[EpochDone], None] | None = None,
    callbacks: Sequence[Any] = (),
    sparsity: Callable[[], float] = lambda: 0.0,
) -> None:
    """Train a compiled Keras model in place, reproducibly, and without a word on the console.

    Seeds Python's, numpy's and TensorFlow's global generators with `seed`: shuffling and dropout draw from them.
    `sparsity` is asked at the end of each epoch, after `callbacks`.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    from edgesparse.prune.legacy_keras import keras

    def on_epoch_end(epoch: int, logs: dict[str, float]) -> None:
        if progress is not None:
            accuracy = next((float(value) for name, value in logs.items() if name.endswith("accuracy")), None)
            progress(EpochDone(epoch + 1, epochs, float(logs["loss"]), accuracy, sparsity()))

    def on_batch_end(batch: int, logs: dict[str, float]) -> None:
        if not np.isfinite(logs["loss"]):
            raise ModelError(
                f"Training diverged: the loss is {logs['loss']} after {batch + 1} batches of an epoch.",
                hint="Lower the learning rate (fine_tune.learning_rate in a recipe); look for bad values in the data.",
            )

    # Metrics and optimiser slots that only the first step made would have TensorFlow trace the whole step twice.
    model.optimizer.build(model.trainable_variables)
    model.evaluate(data.x_train[:1], data.y_train[:1], verbose=0)
    keras.utils.set_random_seed(seed)
    tell = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end, on_batch_end=on_batch_end)
    model.fit(
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, tell],
    )


def compile_for(model: Any, original: Any, data: Data, settings: FineTune) -> None:
    """Compile `model` for fine-tuning: the original's loss and metrics where it has them, the recipe's optimiser.

    The learning rate falls from the recipe's to zero along half a cosine (Loshchilov and Hutter, SGDR, 2017): at a
    constant one the result would be judged wherever the last steps happened to throw it. An original that was never
    compiled is taken for a classifier: cross-entropy, of probabilities or of logits, whichever its outputs are, and
    accuracy.
    """
    from edgesparse.prune.legacy_keras import keras

    optimizers = keras.optimizers
    kinds = {"adam": optimizers.Adam, "adamw": optimizers.AdamW, "rmsprop": optimizers.RMSprop, "sgd": optimizers.SGD}
    options = {"momentum": 0.9} if settings.optimizer == "sgd" else {}
    steps = training_steps(data, settings.epochs, settings.batch_size)
    rate = optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    optimizer = kinds[settings.optimizer](rate, **options)
    config = original.get_compile_config()
    if config and config.get("loss") is not None:
        wanted = ("loss_weights", "metrics", "weighted_metrics")
        kept = keras.saving.deserialize_keras_object({key: config[key] for key in wanted if key in config})
        model.compile(optimizer, original.loss, **kept)
        return
    one_hot = data.y_train.ndim == 2 and data.y_train.shape[1] > 1
    losses = keras.losses
    kind = losses.CategoricalCrossentropy if one_hot else losses.SparseCategoricalCrossentropy
    model.compile(optimizer, kind(from_logits=not _gives_probabilities(original, data)), ["accuracy"])


def training_steps(data: Data, epochs: int, batch_size: int) -> int:
    """How many batches `fit` trains on in all."""
    return epochs * -(-len(data.x_train) // batch_size)


def _gives_probabilities(model: Any, data: Data) -> bool:
    scores = model.predict(data.x_train[:16], verbose=0)
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def evaluate(model: Any, data: Data) -> float:
    """Share of the held-out samples whose highest score is their class (top-1), 0..1."""
    scores = model.predict(data.x_test, batch_size=256, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == class_numbers(data.y_test)))
