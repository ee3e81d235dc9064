"""Keras to TFLite: the weights that come out are those that went in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import Wish, describe_layers, kernel_operators, overall_density
from edgesparse.errors import ModelError
from tests.convert.models import Export


def names(export: Export) -> dict[int, str]:
    from edgesparse.convert.keras import match_layers

    return {place: name for place, (name, _) in match_layers(read_model(export.dense), export.model).items()}


def test_operators_are_matched_to_layers(unstructured: Export) -> None:
    assert names(unstructured) == dict(enumerate(["stem", "dw", "pw", "c3", "fc1", "fc2"]))


def test_layers_of_inner_models_and_equal_kernels_are_told_apart() -> None:
    from edgesparse.prune.legacy_keras import keras
    from tests.convert.models import export

    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="same")], name="inner")
    entry = keras.Input((8,))
    model = keras.Model(entry, keras.layers.Dense(8, name="other")(keras.activations.relu(inner(entry))))
    model.layers[-1].set_weights(inner.layers[-1].get_weights())
    assert names(export(model)) == {0: "inner/same", 1: "other"}


def test_density_in_the_file_is_the_pruned_density(unstructured: Export) -> None:
    wishes = {name: Wish("unstructured", "") for name in ("pw", "c3", "fc1", "fc2")}
    file = read_model(unstructured.sparse)
    layers = describe_layers(file, names(unstructured), wishes)
    for layer in layers:
        kernel = unstructured.model.get_layer(layer.name).get_weights()[0]
        assert layer.density == np.count_nonzero(kernel) / kernel.size
        assert layer.weights == kernel.size
        assert layer.reason == ""
    total = [unstructured.model.get_layer(layer.name).get_weights()[0] for layer in layers]
    nonzeros = sum(np.count_nonzero(kernel) for kernel in total)
    assert overall_density([file]) == pytest.approx(nonzeros / sum(kernel.size for kernel in total))


def test_a_kernel_with_too_few_zeros_is_named(blocks: Export) -> None:
    layers = describe_layers(read_model(blocks.sparse), names(blocks), {"pw": Wish("unstructured", "")})
    (pw,) = [layer for layer in layers if layer.name == "pw"]
    assert pw.encoding == "dense"
    assert "under 30%" in pw.reason


def test_the_batch_is_fixed(unstructured: Export) -> None:
    model = read_model(unstructured.dense)
    assert model.tensors[model.inputs[0]].shape == (1, 12, 12, 1)
    assert not {"SHAPE", "PACK", "STRIDED_SLICE"} & {op.name for op in model.operators}


def test_lost_zeros_are_refused(unstructured: Export) -> None:
    from edgesparse.convert.keras import Exporter

    exporter = Exporter(unstructured.model)
    found = read_model(unstructured.dense)
    fc1 = kernel_operators(found)[4]

    class Tampered:
        """The file as it is, but for one zero of fc1."""

        def __getattr__(self, name: str) -> Any:
            return getattr(found, name)

        def weights(self, index: int) -> Any:
            weights = found.weights(index).copy()
            if index == fc1.inputs[1]:
                weights[np.nonzero(weights == 0)[0][0], np.nonzero(weights == 0)[1][0]] = 1e-3
            return weights

    with pytest.raises(ModelError, match="fc1: 1 zeros"):
        exporter.check_zeros(Tampered())  # type: ignore[arg-type]


def test_an_open_input_shape_is_refused() -> None:
    from edgesparse.convert.keras import Exporter
    from edgesparse.prune.legacy_keras import keras

    entry = keras.Input((None, None, 3))
    model = keras.Model(entry, keras.layers.Conv2D(4, 1)(entry))
    with pytest.raises(ModelError, match="fixed shape"):
        Exporter(model)


def test_an_operator_that_tflite_lacks_is_named() -> None:
    from edgesparse.convert.keras import Exporter
    from edgesparse.prune.legacy_keras import keras, tf

    entry = keras.Input((4,))
    model = keras.Model(entry, keras.layers.Lambda(tf.math.bessel_i0)(entry))
    with pytest.raises(ModelError, match="cannot convert"):
        Exporter(model).dense()
