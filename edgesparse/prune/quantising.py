"""Quantisation-aware training with TF-MOT: weights and activations are rounded in the forward pass, zeros stay zeros.

TF-MOT wraps every layer; batch normalisation stays a layer of its own and is folded by the converter, with a scale for
each output. The structure follows from the model alone, so a trained one is kept as its float model and an array of
each variable.

Method: B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018, as implemented by TF-MOT; its scheme for pruned models keeps each weight zero that is zero when training begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgesparse.errors import EdgesparseError, ModelError
from edgesparse.prune.checkpoints import Checkpoint
from edgesparse.prune.data import Data, check_against
from edgesparse.prune.training import EpochDone, compile_for, fit, labels_for
from edgesparse.recipe import Recipe

WEIGHTS_FILE = "aware.npz"
_POST_TRAINING = 'Write method = "post-training" under [quantize].'


def train_aware(
    model: Any,
    data: Data,
    recipe: Recipe,
    *,
    progress: Callable[[EpochDone], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Any:
    """A copy of a trained float model, trained on with rounded weights and activations; its zeros hold.

    Args:
        model: a `tf_keras` model; stays as it is.
        data: to train on.
        recipe: its `quantize` says how long; loss, optimiser, batch size and seed are those of fine-tuning.
        progress: told at the end of each epoch.
        checkpoint: as of `fit`.

    Raises:
        ModelError: TF-MOT cannot quantise a layer of it, or training diverged. InputRefused: data that does not fit it.
    """
    tuning = msgspec.structs.replace(
        recipe.fine_tune, epochs=recipe.quantize.epochs, learning_rate=recipe.quantize.learning_rate, early_stop=0
    )
    check_against(data, model.input_shape, model.output_shape)
    data = labels_for(model, data)
    aware = wrap(model)
    zeros = {name: kernel == 0 for name, kernel in kernels(aware)}
    share = _share_of_zeros(zeros)
    compile_for(aware, model, data, tuning)
    fit(
        aware,
        data,
        epochs=tuning.epochs,
        batch_size=tuning.batch_size,
        seed=tuning.seed,
        progress=progress,
        sparsity=lambda: share,
        checkpoint=checkpoint,
    )
    for name, kernel in kernels(aware):
        if not np.isfinite(kernel).all():
            raise ModelError(
                f"Quantisation-aware training diverged: layer {name} holds NaN or infinity.",
                hint=f"Lower quantize.learning_rate of recipe {recipe.name} (it is {recipe.quantize.learning_rate}).",
            )
        if kernel[zeros[name]].any():
            raise EdgesparseError(
                f"Quantisation-aware training filled zeros of layer {name}.",
                hint="This is a defect of edgesparse; please report it with the recipe and the layer's shape.",
            )
    return aware


def wrap(model: Any) -> Any:
    """The model with TF-MOT's quantising wrapper around each layer, which has arrays of its own.

    Raises:
        ModelError: TF-MOT cannot quantise a layer of it.
    """
    from edgesparse.prune.legacy_keras import keras, tfmot_combine, tfmot_quantization

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    try:
        annotated = tfmot_quantization.quantize_annotate_model(copy)
        return tfmot_quantization.quantize_apply(annotated, tfmot_combine.Default8BitPrunePreserveQuantizeScheme())
    except (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"TensorFlow Model Optimization cannot train {model.name} aware of quantisation: {lines[0]}",
            hint=_POST_TRAINING,
        ) from error


def kernels(aware: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Name and float kernel, in Keras's order, of each layer under a wrapper."""
    for wrapper in aware.layers:
        if (layer := getattr(wrapper, "layer", None)) is None:
            continue
        for variable in wrapper.weights:
            if variable.name.rpartition("/")[2] in ("kernel:0", "depthwise_kernel:0"):
                yield layer.name, variable.numpy()


def save_aware(aware: Any, path: Path) -> None:
    """Write every variable of a model of `wrap`."""
    np.savez(path, **{str(number): array for number, array in enumerate(aware.get_weights())})


def load_aware(model: Any, path: Path) -> Any:
    """What `save_aware` wrote, of the float model given.

    Raises:
        ModelError: the file is damaged, or of another model.
    """
    aware = wrap(model)
    try:
        with np.load(path, allow_pickle=False) as archive:
            aware.set_weights([archive[str(number)] for number in range(len(archive.files))])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="Make it again with: edgesparse prune --force") from error
    return aware


def _share_of_zeros(zeros: dict[str, np.ndarray[Any, Any]]) -> float:
    """Over the layers that have any."""
    pruned = [each for each in zeros.values() if each.any()]
    return sum(int(each.sum()) for each in pruned) / max(sum(each.size for each in pruned), 1)
