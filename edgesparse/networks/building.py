"""From a spec to its two .tflite files. Importing this costs seconds: TensorFlow."""

from __future__ import annotations

from typing import Any

from edgesparse.convert.keras import Exporter
from edgesparse.networks.graphs import make_graph
from edgesparse.networks.specs import Spec, stored_sparsely
from edgesparse.networks.weights import fill, random_inputs
from edgesparse.prune.legacy_keras import tf

MANY_VARIABLES = 50
CALIBRATION_INPUTS = 2


def build_files(spec: Spec) -> dict[str, bytes]:
    """The model with its zeros stored as zeros ("zeros") and, where there are any, stored sparsely ("sparse").

    Raises:
        ModelError: TensorFlow cannot convert it.
    """
    model = make_graph(spec.network)
    fill(model, spec.zeros, spec.seed)
    exporter = _EXPORTERS[spec.weights](model)
    zeros = exporter.dense()
    return {"zeros": zeros, "sparse": exporter.sparse(zeros)} if stored_sparsely(spec) else {"zeros": zeros}


class FrozenExporter(Exporter):
    """Converts from constants instead of variables, which the converter would save and restore one by one: the files
    hold the same weights in a quarter of the time. A few large ones are faster as variables."""

    def __init__(self, model: Any) -> None:
        # Not at the top of the file, where it would come before what makes TensorFlow use Keras 2.
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        super().__init__(model)
        if len(model.variables) < MANY_VARIABLES:
            return
        self._function = convert_variables_to_constants_v2(self._function)
        self._owner = tf.Module()
        self._owner.infer = self._function


class _HalfExporter(FrozenExporter):
    """Stores weights as float16; a DEQUANTIZE, or a DENSIFY and a DEQUANTIZE, makes them float32 again."""

    def _adjust(self, converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT, *converter.optimizations]
        converter.target_spec.supported_types = [tf.float16]


class _Int8Exporter(FrozenExporter):
    """Quantises weights and activations, the model's input and output too, after a few random inputs."""

    def _adjust(self, converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        samples = random_inputs(tuple(self.model.input_shape[1:]), CALIBRATION_INPUTS, 0)
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8


_EXPORTERS = {"float32": FrozenExporter, "float16": _HalfExporter, "int8": _Int8Exporter}
