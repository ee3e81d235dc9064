"""What `load_model` takes, and what it says of everything else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.errors import ModelError, UsageError
from edgesparse.prune import load_model, save_model
from edgesparse.prune.models import check_keras2


def same(left: Any, right: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.get_weights(), right.get_weights(), strict=True))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_every_format_that_keras_2_writes(model: Any, tmp_path: Path) -> None:
    directory = tmp_path / "pruned"
    directory.mkdir()
    save_model(model, directory / "model.keras")
    model.save(tmp_path / "model.h5")
    model.save(tmp_path / "saved_model", save_format="tf")
    for spec in (directory, directory / "model.keras", str(tmp_path / "model.h5"), tmp_path / "saved_model"):
        assert same(load_model(spec), model)


def test_module_and_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text(
        "import tensorflow as tf\n"
        "def build():\n"
        "    return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])\n"
        "def not_one():\n"
        "    return 3\n"
    )
    (tmp_path / "needs_more.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert load_model("own_models:build").count_params() == 10
    with pytest.raises(ModelError, match="found int"):
        load_model("own_models:not_one")
    with pytest.raises(UsageError, match=r"no function 'biuld'.*build, not_one"):
        load_model("own_models:biuld")
    with pytest.raises(UsageError, match="No module named 'other_models'"):
        load_model("other_models:build")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):  # the user's own mistake: their traceback
        load_model("needs_more:build")


def test_keras_3_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """In a process of its own: Keras 3 has to be built there before edgesparse is imported."""
    script = f"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, warnings
warnings.simplefilter("ignore")
layers = [keras.layers.Input((4,)), keras.layers.Dense(3, name="dense"), keras.layers.BatchNormalization(name="norm")]
model = keras.Sequential(layers)
os.chdir({str(tmp_path)!r})
model.save("model.keras")
model.save("model.h5")
model.save_weights("w.weights.h5")
model.export("exported", verbose=False)

from edgesparse.errors import ModelError
from edgesparse.prune import load_model
from edgesparse.prune.models import check_keras2
for spec in ("model.keras", "model.h5", "exported", model):
    try:
        check_keras2(spec, "here") if spec is model else load_model(spec)
    except ModelError as error:
        assert "Keras 3" in error.message, error
        assert "TF_USE_LEGACY_KERAS=1" in error.hint and ".weights.h5" in error.hint, error
    else:
        raise AssertionError(spec)

import tf_keras  # the advice works
layers = [tf_keras.Input((4,)), tf_keras.layers.Dense(3, name="dense"), tf_keras.layers.BatchNormalization(name="norm")]
new = tf_keras.Sequential(layers)
new.load_weights("w.weights.h5")
x = np.ones((2, 4), "float32")
np.testing.assert_allclose(new.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_what_is_no_model(model: Any, tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    text = tmp_path / "model.keras"
    text.write_text("hello")
    archive = tmp_path / "archive.keras"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme", "hello")
    renamed = tmp_path / "model.zip"
    save_model(model, tmp_path / "good.keras")
    renamed.write_bytes((tmp_path / "good.keras").read_bytes())
    weights = tmp_path / "some.weights.h5"
    model.save_weights(weights)
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(weights.read_bytes()[:2000])
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, message in {
        tmp_path / "missing.keras": "does not exist",
        text: "not a Keras model",
        archive: "no Keras model",
        renamed: "under another name",
        weights: "weights without a model",
        truncated: "damaged or truncated",
        empty: "holds no model",
    }.items():
        with pytest.raises(ModelError, match=message) as caught:
            load_model(path)
        assert caught.value.hint

    class Own(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    two_outputs = keras.Model(model.input, [model.output, model.output])
    for wrong, message in {
        Own(): "subclassed Own",
        keras.Sequential([keras.layers.Dense(2)]): "no input shape",
        two_outputs: "found 1 and 2",
    }.items():
        with pytest.raises(ModelError, match=message):
            check_keras2(wrong, "here")


def test_a_layer_of_the_users_own_is_named(tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    class Twice(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return 2 * x

    save_model(keras.Sequential([keras.Input((4,)), Twice()]), tmp_path / "own.keras")
    with pytest.raises(ModelError, match="Twice") as caught:
        load_model(tmp_path / "own.keras")
    assert "module:function" in caught.value.hint


def test_importing_tensorflow_leaves_the_console_clean_and_the_package_light() -> None:
    script = """
import sys
import edgesparse.prune
assert not {"tensorflow", "tf_keras", "sklearn", "scipy"} & set(sys.modules), "heavy imports at import time"
from edgesparse.prune.legacy_keras import keras, tf
assert tf.keras.layers.Dense is keras.layers.Dense
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
