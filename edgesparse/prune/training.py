"""Training and judging Keras models: one `model.fit`, heard through a callback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesparse.errors import ModelError
from edgesparse.prune.checkpoints import Checkpoint, State
from edgesparse.prune.data import Data, class_numbers

if TYPE_CHECKING:
    from edgesparse.recipe import FineTune


@dataclass(frozen=True)
class EpochDone:
    """One epoch of training has ended.

    `loss` and `accuracy` are of the training samples during the epoch (`accuracy` is None where the model was compiled
    without one); `sparsity` is the share of zeros in the layers being pruned, 0 in ordinary training; `note` says what
    else there is to say.
    """

    epoch: int
    of: int
    loss: float
    accuracy: float | None
    sparsity: float
    note: str = ""


@dataclass(frozen=True)
class Trained:
    """How a training ended: after how many epochs, and why before the last one, "" if not."""

    epochs: int
    reason: str = ""


@dataclass(frozen=True)
class Stopper:
    """When to stop early: after `patience` epochs without a lower loss on `x`, `y`, from training step `since` on."""

    patience: int
    since: int
    x: Any
    y: Any


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
    checkpoint: Checkpoint | None = None,
    stopper: Stopper | None = None,
    start: int = 0,
) -> Trained:
    """Train a compiled Keras model in place, reproducibly, and without a word on the console.

    Seeds Python's, numpy's and TensorFlow's global generators anew for each epoch, from `seed` and its number:
    shuffling and dropout draw from them, so that an epoch is the same whatever ran before it in this process.

    Args:
        model: compiled.
        data: its training half is trained on.
        epochs, batch_size, seed: of the training.
        progress: told at the end of each epoch, after `callbacks`.
        callbacks: Keras's.
        sparsity: asked at the end of each epoch.
        checkpoint: where each epoch's end is kept, and taken up again if it is there.
        stopper: when to stop early; the weights are then those of the best epoch.
        start: epochs that count as done: training goes on where one of as many left these weights.

    Raises:
        ModelError: the loss became NaN or infinite.
    """
    from edgesparse.prune.legacy_keras import keras

    ended: dict[str, float] = {}

    def on_batch_end(batch: int, logs: dict[str, float]) -> None:
        if not np.isfinite(logs["loss"]):
            raise ModelError(
                f"Training diverged: the loss is {logs['loss']} after {batch + 1} batches of an epoch.",
                hint="Lower the learning rate (fine_tune.learning_rate in a recipe); look for bad values in the data.",
            )

    # Metrics and optimiser slots that only the first step made would have TensorFlow trace the whole step twice.
    model.optimizer.build(model.trainable_variables)
    model.evaluate(data.x_train[:1], data.y_train[:1], verbose=0)
    hear = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ended.update(logs), on_batch_end=on_batch_end
    )
    draws = any(isinstance(each, keras.__internal__.layers.BaseRandomLayer) for each in model._flatten_layers())
    state = State() if checkpoint is None else checkpoint.load(model)
    if start > state.epoch:
        state = State(epoch=start)
        model.optimizer.iterations.assign(start * -(-len(data.x_train) // batch_size))
    elif state.epoch and progress is not None:
        note = "taken up again from the checkpoint"
        progress(EpochDone(state.epoch, epochs, state.loss, state.accuracy, sparsity(), note))
    while state.epoch < epochs and not state.reason:
        keras.utils.set_random_seed((seed + 1_000_003 * state.epoch) % 2**32)
        if draws:  # the counters of random operators live in the traced step
            model.train_function = None
        model.fit(
            data.x_train,
            data.y_train,
            batch_size=batch_size,
            initial_epoch=state.epoch,
            epochs=state.epoch + 1,
            verbose=0,
            callbacks=[*callbacks, hear],
        )
        accuracy = next((float(value) for name, value in ended.items() if name.endswith("accuracy")), None)
        state = replace(state, epoch=state.epoch + 1, loss=float(ended["loss"]), accuracy=accuracy)
        if stopper is not None and int(model.optimizer.iterations) >= stopper.since:
            state = _judge(model, state, stopper)
        if checkpoint is not None:
            checkpoint.save(model, state)
        if progress is not None:
            progress(EpochDone(state.epoch, epochs, state.loss, accuracy, sparsity(), state.reason))
    if state.best:
        model.set_weights(state.best)
    return Trained(state.epoch, state.reason)


def _judge(model: Any, state: State, stopper: Stopper) -> State:
    """The state after an epoch that could have been the best one."""
    found = model.evaluate(stopper.x, stopper.y, batch_size=256, verbose=0)
    loss = float(found[0] if isinstance(found, list) else found)
    if loss < state.best_loss:
        return replace(state, best_loss=loss, best=model.get_weights(), waited=0)
    waited = state.waited + 1
    if waited < stopper.patience:
        return replace(state, waited=waited)
    best = state.epoch - waited
    reason = f"stopped: no lower loss on held-back samples since epoch {best}, whose weights are kept"
    return replace(state, waited=waited, reason=reason)


def split_for(data: Data, settings: FineTune, since: int) -> tuple[Data, Stopper]:
    """The data without what is held back of its training half, and the rule that judges on that.

    Args:
        data: the test half stays as it is, and is not looked at.
        settings: `early_stop`, `validation` and the seed of the choice.
        since: the training step from which on epochs are judged.
    """
    count = held_back(data, settings)
    order = np.random.default_rng(settings.seed).permutation(len(data.x_train))
    back, kept = order[:count], np.sort(order[count:])
    stopper = Stopper(settings.early_stop, since, data.x_train[back], data.y_train[back])
    return Data(data.x_train[kept], data.y_train[kept], data.x_test, data.y_test), stopper


def held_back(data: Data, settings: FineTune) -> int:
    """How many samples of the training half early stopping is judged on; 0 without it."""
    if not settings.early_stop:
        return 0
    return min(max(1, round(settings.validation * len(data.x_train))), len(data.x_train) - 1)


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
    steps = training_steps(data, settings)
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


def labels_for(model: Any, data: Data) -> Data:
    """The data with labels as the model's loss takes them: one-hot rows or class numbers.

    Args:
        model: compiled, or not, which takes either.
        data: checked against it.
    """
    loss = getattr(model, "loss", None)
    name = str(loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__))
    name = name.lower().replace("_", "")
    one_hot = data.y_train.ndim == 2 and data.y_train.shape[1] > 1
    if name == "categoricalcrossentropy" and not one_hot:
        rows = np.eye(model.output_shape[-1], dtype=np.float32)
        return replace(data, y_train=rows[class_numbers(data.y_train)], y_test=rows[class_numbers(data.y_test)])
    if name == "sparsecategoricalcrossentropy" and one_hot:
        return replace(data, y_train=class_numbers(data.y_train), y_test=class_numbers(data.y_test))
    return data


def training_steps(data: Data, settings: FineTune) -> int:
    """How many batches `fit` trains on in all, unless it stops early."""
    return settings.epochs * -(-(len(data.x_train) - held_back(data, settings)) // settings.batch_size)


def _gives_probabilities(model: Any, data: Data) -> bool:
    scores = model.predict(data.x_train[:16], verbose=0)
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def evaluate(model: Any, data: Data) -> float:
    """Share of the held-out samples whose highest score is their class (top-1), 0..1."""
    scores = model.predict(data.x_test, batch_size=256, verbose=0)
    return float(np.mean(scores.argmax(axis=1) == class_numbers(data.y_test)))
