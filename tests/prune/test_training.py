"""Checkpoints, early stopping, one threshold over the model, accuracy on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse import patterns
from edgesparse.errors import InputRefused, RecipeError
from edgesparse.prune import Data, EpochDone, Pruned, load_model, prune
from edgesparse.prune.data import class_numbers
from edgesparse.prune.layers import kernel, weighted_layers
from edgesparse.recipe import FineTune, Quantize
from tests.prune.conftest import recipe

# Networks are trained or converted here, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

LONG = recipe("block 4x1", 0.6, fine_tune=FineTune(epochs=4, batch_size=16, early_stop=3, validation=0.25))


def weights_of(model: Any) -> list[Any]:
    return [np.asarray(each) for each in model.get_weights()]


def same(one: Any, other: Any) -> bool:
    pairs = list(zip(weights_of(one), weights_of(other), strict=True))
    return all(np.array_equal(a, b) for a, b in pairs)


def interrupted_after(epoch: int) -> Any:
    def progress(done: EpochDone) -> None:
        if done.epoch == epoch:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def whole(model: Any, data: Data) -> Pruned:
    return prune(model, LONG, data)


@pytest.mark.parametrize("epoch", [1, 3])
def test_what_was_interrupted_goes_on_to_the_same_weights(
    epoch: int, whole: Pruned, model: Any, data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prune(model, LONG, data, out=out, progress=interrupted_after(epoch))
    assert [each.name for each in tmp_path.iterdir()] == [".out.tuning.checkpoint.npz"]
    epochs: list[EpochDone] = []
    again = prune(model, LONG, data, out=out, progress=epochs.append)
    assert "taken up again" in epochs[0].note
    assert [each.epoch for each in epochs] == [epoch, *range(epoch + 1, 5)]
    assert same(again.model, whole.model)
    assert again.report.accuracy_after == whole.report.accuracy_after
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_dropout_goes_on_alike_too(data: Data, tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    keras.utils.set_random_seed(5)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(32, activation="relu")(keras.layers.Flatten()(image)))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(keras.layers.Dense(16)(x)))
    asked = recipe("unstructured", 0.5, first_layer=True)
    whole = prune(model, asked, data)
    with pytest.raises(KeyboardInterrupt):
        prune(model, asked, data, out=tmp_path / "out", progress=interrupted_after(1))
    assert same(prune(model, asked, data, out=tmp_path / "out").model, whole.model)


def test_a_checkpoint_of_something_else_or_a_damaged_one_is_not_used(
    whole: Pruned, model: Any, data: Data, tmp_path: Path
) -> None:
    out, file = tmp_path / "out", tmp_path / ".out.tuning.checkpoint.npz"
    other = msgspec.structs.replace(LONG, sparsity=0.5)
    with pytest.raises(KeyboardInterrupt):
        prune(model, other, data, out=out, progress=interrupted_after(2))
    epochs: list[EpochDone] = []
    assert same(prune(model, LONG, data, out=out, progress=epochs.append).model, whole.model)
    assert epochs[0].epoch == 1
    file.write_bytes(b"PK but no archive")
    assert same(prune(model, LONG, data, out=out, force=True).model, whole.model)
    assert not file.exists()


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """In another process, by SIGKILL, at the end of its second epoch; then again, to the weights of a whole run."""
    code = (
        "import os, signal, sys\nimport numpy as np\nfrom edgesparse.prune import Data, prune\n"
        "from edgesparse.recipe import FineTune\nfrom tests.prune.conftest import recipe\n"
        "from edgesparse.prune.legacy_keras import keras\n"
        "keras.utils.set_random_seed(2)\nimage = keras.Input((6,))\n"
        "x = keras.layers.Dense(32, activation='relu')(image)\n"
        "model = keras.Model(image, keras.layers.Dense(3, activation='softmax')(keras.layers.Dense(16)(x)))\n"
        "generator = np.random.default_rng(0)\nx = generator.normal(size=(64, 6)).astype('float32')\n"
        "y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)\n"
        "def stop(done):\n"
        "    print(done.epoch, done.note, flush=True)\n"
        "    if sys.argv[2] == str(done.epoch):\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asked = recipe('unstructured', 0.5, fine_tune=FineTune(epochs=3, batch_size=16))\n"
        "prune(model, asked, Data(x, y, x[:8], y[:8]), out=sys.argv[1], progress=stop)\n"
    )

    def run(out: str, stop: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / out), stop]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
        )

    assert run("killed", "2").returncode == -signal.SIGKILL
    again, whole = run("killed", "never"), run("whole", "never")
    assert (again.returncode, whole.returncode) == (0, 0), again.stderr + whole.stderr
    assert again.stdout.splitlines()[0].startswith("2 taken up again")
    assert same(load_model(tmp_path / "killed"), load_model(tmp_path / "whole"))


def test_it_stops_when_nothing_is_gained_and_keeps_the_best(model: Any, data: Data) -> None:
    settings = FineTune(epochs=30, batch_size=64, early_stop=2, learning_rate=0.5, optimizer="sgd", validation=0.5)
    epochs: list[EpochDone] = []
    result = prune(model, recipe("unstructured", 0.5, fine_tune=settings), data, progress=epochs.append)
    assert result.report.epochs == len(epochs) < 30
    assert "no lower loss on held-back samples since epoch" in result.report.stopped == epochs[-1].note
    assert result.report.sparsity == pytest.approx(0.5, abs=0.01)  # never before the schedule has ended
    assert len(epochs) * 1 >= 30 * 0.6


def test_the_held_out_half_is_not_what_it_stops_by(model: Any, data: Data) -> None:
    scrambled = Data(data.x_train, data.y_train, data.x_test[::-1].copy(), data.y_test)
    assert same(prune(model, LONG, scrambled).model, prune(model, LONG, data).model)


@pytest.mark.parametrize("pattern", ["unstructured", "block 4x1", "filter"])
def test_one_threshold_over_the_model(pattern: str, model: Any, data: Data) -> None:
    asked = recipe(pattern, 0.6, scope="global", exclude=("head",))
    result = prune(model, asked, data)
    kernels = {name: kernel(layer) for name, layer, _ in weighted_layers(result.model)}
    pruned = {layer.name: layer for layer in result.report.layers if layer.pruned}
    units = {name: patterns._any_in_unit(kernels[name] != 0, patterns.parse_pattern(pattern)) for name in pruned}
    zeros = sum(int((~kept).sum()) for kept in units.values()) / sum(kept.size for kept in units.values())
    assert zeros == pytest.approx(0.6, abs=0.01)
    assert len({round(layer.density, 2) for layer in pruned.values()}) > 1
    assert {layer.engine for layer in pruned.values()} == {"edgesparse"}


def test_layers_get_shares_of_their_own(model: Any, data: Data) -> None:
    asked = recipe("unstructured", 0.5, layers={"hid.*": 0.9, "point": 0.0})
    layers = {layer.name: layer for layer in prune(model, asked, data).report.layers}
    assert layers["hidden"].density == pytest.approx(0.1, abs=0.01)
    assert layers["spatial"].density == pytest.approx(0.5, abs=0.01)
    assert (layers["point"].pruned, layers["point"].reason) == (False, "its share of zeros in layers is 0")


def test_accuracy_is_told_before_pruned_and_after(model: Any, data: Data) -> None:
    from edgesparse.prune import evaluate
    from edgesparse.prune.pruning import copy_model

    report = prune(model, recipe("unstructured", 0.9), data).report
    copy = copy_model(model)
    for name, layer, _ in weighted_layers(copy):
        if {each.name: each.pruned for each in report.layers}[name]:
            kept = patterns.mask(kernel(layer), patterns.Unstructured(), 0.9)
            layer.kernel.assign(layer.kernel.numpy() * patterns.to_keras(kept))
    assert report.accuracy_before == evaluate(model, data)
    assert report.accuracy_pruned == evaluate(copy, data)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pattern": "2:4", "scope": "global"}, "same share of zeros everywhere"),
        ({"pattern": "2:4", "layers": {"a": 0.5}}, "same share of zeros everywhere"),
        ({"pattern": "unstructured", "sparsity": 0.5, "scope": "model"}, "there is no 'model'"),
        (
            {"pattern": "unstructured", "sparsity": 0.5, "scope": "global", "layers": {"a": 0.5}},
            "one threshold decides",
        ),
        ({"pattern": "unstructured", "sparsity": 0.5, "layers": {"(": 0.5}}, "no regular expression"),
        ({"pattern": "unstructured", "sparsity": 0.5, "layers": {"a": 1.0}}, "expected at least 0 and below 1"),
        ({"pattern": "unstructured", "sparsity": 0.5, "scope": "global", "version": 2}, "need version = 3"),
        ({"pattern": "unstructured", "sparsity": 0.5, "fine_tune": FineTune(validation=0.0)}, "validation"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe(**changes)


def test_training_aware_of_quantisation_goes_on_too(data: Data, tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(x))
    quantize = Quantize(kind="int8", method="aware", epochs=2)
    asked = recipe("unstructured", 0.5, first_layer=True, quantize=quantize)
    whole = prune(model, asked, data)
    seen: list[int] = []

    def in_its_second_part(done: EpochDone) -> None:
        seen.append(done.epoch)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(model, asked, data, out=tmp_path / "out", progress=in_its_second_part)
    again = prune(model, asked, data, out=tmp_path / "out")
    assert same(again.aware, whole.aware)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_labels_that_fit_no_class_are_refused_in_aware_training_too(data: Data) -> None:
    from edgesparse.prune.legacy_keras import keras
    from edgesparse.prune.quantising import train_aware

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(image)))
    model.compile("sgd", "categorical_crossentropy")
    asked = recipe("unstructured", 0.5, first_layer=True, quantize=Quantize(kind="int8", method="aware", epochs=1))
    assert train_aware(model, data, asked) is not None
    strange = Data(data.x_train, data.y_train + 90, data.x_test, data.y_test)
    with pytest.raises(InputRefused, match="whole class numbers from 0 to 3"):
        train_aware(model, strange, asked)


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_labels_come_as_the_loss_takes_them(loss: str, data: Data) -> None:
    from edgesparse.prune.legacy_keras import keras
    from edgesparse.prune.training import labels_for

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(image)))
    one_hot = Data(data.x_train, np.eye(4)[data.y_train], data.x_test, np.eye(4)[data.y_test])
    for given in (loss, getattr(keras.losses, loss), keras.losses.get(loss)):
        model.compile("sgd", given)
        for labels in (data, one_hot):
            found = labels_for(model, labels)
            assert found.y_train.ndim == (2 if loss.startswith("categorical") else 1)
            model.evaluate(found.x_test, found.y_test, verbose=0)
            assert np.array_equal(class_numbers(found.y_test), class_numbers(labels.y_test))
