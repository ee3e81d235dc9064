"""Models rewritten for XNNPACK's sparse inference: weights carried, function kept or said to shift, the path taken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse import prepare
from edgesparse.boards.types import load_type
from edgesparse.convert.flatbuffer import read_model
from edgesparse.errors import EdgesparseError
from edgesparse.networks.building import FrozenExporter
from edgesparse.networks.specs import Zeros
from edgesparse.networks.weights import fill
from edgesparse.prune import load_model
from edgesparse.sparsify import make_recipe
from edgesparse.sparsify.writing import write_original, write_pruned

# Networks are trained or converted here, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)


def applications() -> Any:
    from edgesparse.prune.legacy_keras import keras

    return keras.applications


NETWORKS: dict[str, Any] = {
    "MobileNet": lambda: applications().MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=10),
    "MobileNetV2": lambda: applications().MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10),
    "MobileNetV3Small": lambda: applications().MobileNetV3Small((64, 64, 3), weights=None, classes=10),
    "EfficientNetB0": lambda: applications().EfficientNetB0(input_shape=(64, 64, 3), weights=None, classes=10),
}


def head(kind: str) -> Any:
    """A stem and a depthwise convolution of stride 2, and a head of one kind behind the pooling."""
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    keras.utils.set_random_seed(4)
    image = layers.Input((17, 17, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(16, 1, activation="relu", name="point")(x)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(layers.Conv2D(32, 1, name="last")(x))
    if kind == "convolutions":
        x = layers.Conv2D(24, 1, name="wide")(x)
        x = layers.Dropout(0.2)(layers.ReLU()(layers.BatchNormalization(name="normalised")(x)))
        x = layers.Reshape((10,))(layers.Conv2D(10, 1, name="scores")(x))
    elif kind == "dense":
        x = layers.Flatten()(layers.Dense(10, name="scores")(x))
    elif kind == "image":
        x = layers.Conv2D(10, 1, name="scores")(x)
    return keras.Model(image, x, name="small")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The networks as sparse files beside their dense twins, and what was said of them."""
    folder, said = tmp_path_factory.mktemp("prepared"), {}
    for name, make in NETWORKS.items():
        model = make()
        fill(model, Zeros(), 0)
        found = prepare(model)
        said[name] = found.preparation
        work = folder / name
        work.mkdir()
        (work / "whole.tflite").write_bytes(FrozenExporter(found.model).dense())
        original = write_original(work / "whole.tflite", work)
        pruned = write_pruned(work / "whole.tflite", original, make_recipe("unstructured", 0.8), work)
        shutil.copy(work / pruned.file, folder / f"{name}.tflite")
        shutil.copy(work / pruned.twin, folder / f"{name}.dense.tflite")
    return folder, said


@pytest.mark.parametrize("name", NETWORKS)
def test_kerass_own_networks_come_out_conforming(name: str, prepared: tuple[Path, dict[str, Any]]) -> None:
    found = prepared[1][name]
    assert found.path == "sparse"
    convolutions = {"MobileNet": 13, "MobileNetV2": 34, "MobileNetV3Small": 40, "EfficientNetB0": 64}
    assert found.sparse_operators >= convolutions[name]
    assert found.difference < 1e-5
    shifts = [change for change in found.changes if not change.keeps]
    assert len(shifts) == 5
    assert all("on every side" in change.what or "ZeroPadding2D" in change.what for change in shifts)


def test_xnnpack_really_runs_them_sparse(prepared: tuple[Path, dict[str, Any]]) -> None:
    """On x86-64 without AVX, which an emulator shows: outputs a rounding apart from the dense twins'."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None or not load_type("local").x86 or find_spec("ai_edge_litert") is None:
        pytest.skip("no qemu-x86_64 here: apt-get install qemu-user")
    probe = Path(__file__).parents[1] / "path_probe.py"
    command = [emulator, "-cpu", "Nehalem", sys.executable, str(probe), "ai-edge-litert", str(prepared[0]), *NETWORKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {name: path["xnnpack"] for name, path in json.loads(done.stdout).items()} == dict.fromkeys(
        NETWORKS, "sparse"
    )


@pytest.mark.parametrize("kind", ["convolutions", "dense"])
def test_with_odd_sizes_the_function_stays(kind: str, tmp_path: Path) -> None:
    model = head(kind)
    before = [each.copy() for each in model.get_weights()]
    found = prepare(model, tmp_path / "out")
    assert all(change.keeps for change in found.preparation.changes)
    assert {change.layer for change in found.preparation.changes} >= {"stem", "depthwise", "pool"}
    samples = np.random.default_rng(0).random((4, 17, 17, 3), np.float32)
    expected = model.predict(samples, verbose=0)
    np.testing.assert_allclose(found.model.predict(samples, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(load_model(tmp_path / "out").predict(samples, verbose=0), expected, atol=1e-5)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    operators = [op.name for op in read_model(FrozenExporter(found.model).dense()).operators]
    behind = operators[operators.index("MEAN") :]
    assert "CONV_2D" not in behind


def test_an_output_of_four_dimensions_stays_one() -> None:
    found = prepare(head("image"))
    assert found.model.output_shape == (None, 1, 1, 10)
    assert not any("Flatten" in change.what for change in found.preparation.changes)


def test_even_sizes_shift_and_say_so(tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    model = keras.Sequential(
        [
            keras.layers.Conv2D(32, 3, strides=2, padding="same", input_shape=(16, 16, 3), name="stem"),
            keras.layers.Conv2D(64, 1, name="point"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4),
        ]
    )
    found = prepare(model).preparation
    assert [(change.layer, change.keeps) for change in found.changes] == [("stem", False)]
    assert found.shift > 1e-3
    assert found.path == "sparse"


def test_what_has_nothing_to_change_comes_back_alike() -> None:
    from edgesparse.prune.legacy_keras import keras

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Conv2D(8, 3)(image))))
    found = prepare(model)
    assert (found.preparation.changes, found.preparation.path) == ([], "dense")
    assert found.preparation.left


def test_what_is_refused(tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    class Own(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(EdgesparseError) as caught:
        prepare(Own())
    assert caught.value.exit_code == 3
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(EdgesparseError, match="left alone"):
        prepare(head("dense"), tmp_path / "out")
