"""Keras 2 to int8 TFLite: weights in plain dense int8 tensors, in which every pruned weight is exactly 0.

No sparsity metadata and no DENSIFY: runtimes refuse int8 files with them, or read them wrongly. Weights are symmetric,
so that the zero point is 0; kernels that skip zeros find them by looking.

Post-training, the ranges of the activations are those over samples; after quantisation-aware training they are in the
model. Of kind "dynamic" only the weights are int8.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from edgesparse.convert.flatbuffer import FlatModel
from edgesparse.convert.keras import Array, Exporter
from edgesparse.convert.layers import kernel_operators
from edgesparse.errors import ModelError
from edgesparse.recipe import Quantize

# Cosine of a kernel's row and the same row rounded to int8; a layer whose rows share one scale rounds its small rows
# hard.
_SAME_DIRECTION = 0.9
_REPORT = "Report this with the model: the converter changed the weights."


class QuantisedExporter(Exporter):
    """Exports one model with int8 weights.

    Args:
        model: a built `tf_keras` model with one input and one output, or one in TF-MOT's quantising wrappers if
            `quantize` is aware.
        quantize: kind and method.
        samples: float inputs, (n, *sample shape), that ranges are taken from; not used if dynamic or aware.
        pruned: the layers that have to be there, with their zeros.

    Raises:
        ModelError: the input has no fixed shape.
    """

    same_direction = _SAME_DIRECTION

    def __init__(self, model: Any, quantize: Quantize, samples: Array | None, pruned: Collection[str] = ()) -> None:
        super().__init__(model)
        self._quantize, self._samples, self._pruned = quantize, samples, pruned

    def check_zeros(self, found: FlatModel) -> None:
        """Every pruned layer is there, its zeros are exactly 0, and no weight has a zero point.

        Raises:
            ModelError: otherwise.
        """
        super().check_zeros(found)
        names = {name for name, _ in self._matched(found).values()}
        if lost := [name for name in self._pruned if name not in names]:
            raise ModelError(
                f"The zeros of layer {lost[0]} could not be found in the int8 file: no operator has its kernel.",
                hint=_REPORT,
            )
        for op in kernel_operators(found):
            tensor = found.tensors[found.constant(op.inputs[1]) or 0]
            if any(tensor.zero_point):
                raise ModelError(
                    f"Expected int8 weights with the zero point 0, found {max(tensor.zero_point, key=abs)} in "
                    f"{tensor.name}: its zeros are not 0.",
                    hint=_REPORT,
                )
            if tensor.sparsity is not None:
                raise ModelError(
                    f"Expected int8 weights stored dense, found {tensor.name} with sparsity metadata.", hint=_REPORT
                )

    def _adjust(self, converter: Any) -> None:
        from edgesparse.prune.legacy_keras import tf

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if self._quantize.kind == "dynamic":
            # A scale for each output makes a FULLY_CONNECTED of a version that tflite-runtime does not know.
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True
            return
        if not self._quantize.aware:
            assert self._samples is not None
            samples = self._samples.astype(np.float32)
            converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
