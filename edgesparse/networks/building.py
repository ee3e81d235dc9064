"""From a spec to its two .tflite files. Importing this costs seconds: TensorFlow."""

from __future__ import annotations

from typing import Any

from edgesparse.convert.keras import Exporter
from edgesparse.networks.graphs import make_graph
from edgesparse.networks.specs import Spec, is_dense
from edgesparse.networks.weights import fill
from edgesparse.prune.legacy_keras import tf

MANY_VARIABLES = 50


def build_files(spec: Spec) -> dict[str, bytes]:
    """The model with its zeros stored as zeros ("zeros") and, where there are any, stored sparsely ("sparse").

    Raises:
        ModelError: TensorFlow cannot convert it.
    """
    model = make_graph(spec.network)
    fill(model, spec.zeros, spec.seed)
    exporter = (_FrozenExporter if spec.weights == "float32" else _HalfExporter)(model)
    zeros = exporter.dense()
    return {"zeros": zeros} if is_dense(spec.zeros) else {"zeros": zeros, "sparse": exporter.sparse(zeros)}


class _FrozenExporter(Exporter):
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


class _HalfExporter(_FrozenExporter):
    """Stores weights as float16; a DEQUANTIZE, or a DENSIFY and a DEQUANTIZE, makes them float32 again."""

    def _adjust(self, converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT, *converter.optimizations]
        converter.target_spec.supported_types = [tf.float16]
