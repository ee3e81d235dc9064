"""Keras 2 models in and out of files, and the refusal of everything that only looks like one."""

from __future__ import annotations

import json
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from edgesparse.errors import ModelError
from edgesparse.prune import specs

MODEL_FILE = "model.keras"
_ACCEPTED = "a .keras or .h5 file, a Keras SavedModel directory, a directory made by edgesparse, or module:function"
_HOW_TO_CONVERT = (
    "Build the same model with tf_keras instead of keras (or with tf.keras after setting TF_USE_LEGACY_KERAS=1 before "
    "TensorFlow is imported); save the trained weights from Keras 3 with model.save_weights('w.weights.h5'), load them "
    "with the new model's load_weights('w.weights.h5'), and save that as .keras."
)


def load_model(spec: str | Path) -> Any:
    """Load a Keras 2 model from a file or directory, or from `module:function` (the current directory is importable).

    Args:
        spec: a path to a .keras or .h5 file, a Keras SavedModel directory or a pruned model directory; or the name of a
            function without arguments that returns a `tf_keras` model.

    Raises:
        ModelError: nothing there, not a model, weights without a model, or a model of Keras 3.
        UsageError: the module or the function does not exist.
    """
    path = Path(spec)
    if not path.exists():
        if isinstance(spec, str) and specs.is_function_spec(spec):
            return check_keras2(specs.call(spec, "a Keras model"), spec)
        raise ModelError(f"No model at {path}: the file does not exist.", hint=f"Give {_ACCEPTED}.")
    if path.is_dir() and (path / MODEL_FILE).is_file():
        path = path / MODEL_FILE
    _refuse_unloadable(path)
    from edgesparse.prune.legacy_keras import keras

    try:
        model = keras.models.load_model(path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise ModelError(
            f"{path} could not be loaded as a Keras 2 model: {_first_line(error)}",
            hint="With layers of your own, give module:function: a function that imports them and returns the model.",
        ) from error
    return check_keras2(model, str(path))


def save_model(model: Any, path: Path) -> None:
    """Write a Keras 2 model as a .keras archive (layout, weights, compilation), the format that loads most reliably."""
    model.save(path, save_format="keras")


def check_keras2(model: Any, source: str) -> Any:
    """Return `model` if it is a built Keras 2 model of known layers, sequential or functional.

    Raises:
        ModelError: it is a Keras 3 model, no model, a subclassed model, or has no input shape yet.
    """
    families = {base.__module__.split(".")[0] for base in type(model).__mro__}
    if "keras" in families:
        raise _keras3_error(source, metadata.version("keras"))
    from edgesparse.prune.legacy_keras import keras

    if not isinstance(model, keras.Model):
        raise ModelError(
            f"Expected a Keras model from {source}, found {type(model).__name__}.", hint=f"Give {_ACCEPTED}."
        )
    if not (isinstance(model, keras.Sequential) or model._is_graph_network):
        raise ModelError(
            f"Expected a sequential or functional model, found the subclassed {type(model).__name__} in {source}: its "
            "layers cannot be wrapped for pruning.",
            hint="Rebuild it with the functional API: keras.Model(inputs, outputs).",
        )
    if not model.built or not model.inputs:
        raise ModelError(
            f"The model of {source} has no input shape yet, so no weights.",
            hint="Begin it with keras.Input(shape) or call model.build(shape).",
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"Expected a model with one input and one output, found {len(model.inputs)} and {len(model.outputs)} in "
            f"{source}."
        )
    return model


def _refuse_unloadable(path: Path) -> None:
    """Tell what kind of file this is before Keras does: its own messages mislead about files of another version."""
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelError(f"The directory {path} holds no model.", hint=f"Give {_ACCEPTED}.")
        if not (path / "keras_metadata.pb").is_file():
            raise ModelError(
                f"{path} is a SavedModel without Keras's layers (exported for inference, or by Keras 3): nothing in it "
                "can be pruned.",
                hint=_HOW_TO_CONVERT,
            )
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "config.json" not in names or "metadata.json" not in names:
                raise ModelError(f"{path} is a zip archive but no Keras model.", hint=f"Give {_ACCEPTED}.")
            try:
                version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            except (json.JSONDecodeError, KeyError, zipfile.BadZipFile) as error:
                raise ModelError(f"{path} is a damaged .keras archive: {_first_line(error)}") from error
        if version.startswith("3"):
            raise _keras3_error(str(path), version)
        if path.suffix != ".keras":
            raise ModelError(f"{path} is a .keras archive under another name.", hint="Rename it to end in .keras.")
    elif path.read_bytes()[:8] == b"\x89HDF\r\n\x1a\n":
        import h5py  # type: ignore[import-untyped]

        try:
            with h5py.File(path, "r") as file:
                version, has_model = str(file.attrs.get("keras_version", "")), "model_config" in file.attrs
        except OSError as error:
            raise ModelError(
                f"{path} is a damaged or truncated .h5 file: {_first_line(error)}", hint="Copy or save it again."
            ) from error
        if has_model and version.startswith("3"):
            raise _keras3_error(str(path), version)
        if not has_model:
            raise ModelError(
                f"{path} holds weights without a model.",
                hint="Give module:function, a function that builds the model, calls load_weights on it and returns it.",
            )
    else:
        raise ModelError(f"{path} is not a Keras model.", hint=f"Give {_ACCEPTED}.")


def _keras3_error(source: str, version: str) -> ModelError:
    return ModelError(
        f"Expected a Keras 2 model, found one of Keras {version} in {source}: TensorFlow Model Optimization prunes "
        "Keras 2 models only.",
        hint=_HOW_TO_CONVERT,
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
