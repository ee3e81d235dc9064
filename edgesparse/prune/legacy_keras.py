"""TensorFlow, Keras 2 and TensorFlow Model Optimization, imported in the one order that works, and quietly.

Importing this module costs seconds: import it inside the functions that need it. TF-MOT handles Keras 2 models only,
which live on as `tf_keras`; `TF_USE_LEGACY_KERAS` makes `tf.keras` mean the same, but only when it is set before
TensorFlow first builds Keras, so it is set here before anything else is imported.
"""

from __future__ import annotations

import logging
import os
import warnings

from edgesparse.native_logs import quiet_native_logs

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_native_logs(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tf_keras as keras
    from tensorflow_model_optimization.experimental import combine as tfmot_combine
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule, pruning_wrapper
    from tensorflow_model_optimization.quantization import keras as tfmot_quantization
    from tensorflow_model_optimization.sparsity import keras as tfmot_sparsity

    tf.config.list_physical_devices()  # looks for accelerators now, while its remarks are held back
tf.get_logger().setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = [
    "keras",
    "pruning_impl",
    "pruning_schedule",
    "pruning_wrapper",
    "tf",
    "tfmot_combine",
    "tfmot_quantization",
    "tfmot_sparsity",
]


def versions() -> dict[str, str]:
    """The versions that decide what training and pruning give, by distribution name."""
    from importlib.metadata import version

    from edgesparse import __version__

    names = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")
    return {"edgesparse": __version__, **{name: version(name) for name in names}}
