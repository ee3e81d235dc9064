"""Pruning a small network from end to end."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse import patterns
from edgesparse.errors import InputRefused, ModelError, RecipeError, UsageError
from edgesparse.prune import Data, EpochDone, Pruned, evaluate, load_model, prune, read_report
from edgesparse.prune.layers import Choice, choose, kernel, weighted_layers
from edgesparse.recipe import FineTune, Schedule, load_recipe
from tests.prune.conftest import CLASSES, recipe


@pytest.fixture(scope="module")
def pruned(model: Any, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    return prune(model, recipe("2:4", include=("hidden",)), data, out=tmp_path_factory.mktemp("pruned") / "two-four")


@pytest.mark.parametrize(
    ("pattern", "sparsity", "engines"),
    [
        ("unstructured", 0.8, {"point": "tfmot", "spatial": "tfmot", "hidden": "tfmot", "head": "tfmot"}),
        ("2:4", None, {"spatial": "tfmot", "hidden": "tfmot", "head": "tfmot"}),
        ("block 4x1", 0.7, {"point": "edgesparse", "spatial": "edgesparse", "hidden": "tfmot", "head": "edgesparse"}),
        ("block 16x1", 0.6, {"point": "edgesparse", "spatial": "edgesparse", "hidden": "tfmot"}),
        ("filter", 0.5, {"point": "edgesparse", "spatial": "edgesparse", "hidden": "edgesparse"}),
    ],
)
def test_every_pruned_layer_is_exactly_as_the_recipe_asks(
    model: Any, data: Data, pattern: str, sparsity: float | None, engines: dict[str, str]
) -> None:
    before = [weights.copy() for weights in model.get_weights()]
    epochs: list[EpochDone] = []
    asked = recipe(pattern, sparsity, exclude=("head",) if pattern == "filter" else ())
    result = prune(model, asked, data, progress=epochs.append)

    layers = {layer.name: layer for layer in result.report.layers}
    assert list(layers) == ["first", "point", "depthwise", "spatial", "hidden", "head"]
    assert {name: layer.engine for name, layer in layers.items() if layer.pruned} == engines
    assert "first layer" in layers["first"].reason
    assert "DepthwiseConv2D" in layers["depthwise"].reason
    for name, layer, _ in weighted_layers(result.model):
        weights, report = kernel(layer), layers[name]
        assert report.shape == weights.shape
        assert report.density == patterns.density(weights)
        assert bool(report.reason) != report.pruned
        if report.pruned:
            shape = patterns.parse_pattern(pattern)
            assert report.pattern == pattern
            assert patterns.conforms(weights, shape)
            np.testing.assert_array_equal(patterns.mask(weights, shape, sparsity), weights != 0)
        else:
            assert (report.pattern, report.density) == ("dense", 1.0)

    assert [type(layer).__name__ for layer in result.model.layers] == [type(layer).__name__ for layer in model.layers]
    for old, new in zip(before, model.get_weights(), strict=True):  # the model given is untouched
        np.testing.assert_array_equal(old, new)
    assert [(epoch.epoch, epoch.of) for epoch in epochs] == [(1, 2), (2, 2)]
    assert epochs[-1].sparsity == pytest.approx(result.report.sparsity)
    assert result.path is None


def test_what_is_left_says_why(model: Any) -> None:
    def choices(**settings: Any) -> dict[str, Choice]:
        return {choice.name: choice for choice in choose(model, recipe(**settings))}

    found = choices(pattern="block 16x1", sparsity=0.5)
    assert [name for name, choice in found.items() if choice.pruned] == ["point", "spatial", "hidden"]
    assert "16 outputs" in found["head"].reason

    found = choices(
        pattern="unstructured",
        sparsity=0.5,
        include=("first|spatial|hidden",),
        exclude=("hid.*",),
        first_layer=True,
    )
    assert [name for name, choice in found.items() if choice.pruned] == ["first", "spatial"]
    assert "include" in found["point"].reason
    assert "hid.*" in found["hidden"].reason


def test_both_engines_follow_one_schedule(model: Any, data: Data) -> None:
    def progress_of(pattern: str) -> list[float]:
        epochs: list[EpochDone] = []
        schedule = Schedule(begin=0.0, end=1.0, updates=16)
        prune(model, recipe(pattern, 0.8, schedule=schedule, include=("spatial",)), data, progress=epochs.append)
        return [epoch.sparsity for epoch in epochs]

    assert progress_of("unstructured") == pytest.approx(progress_of("block 4x1"), abs=0.002)


def test_a_recipe_that_fits_nothing_is_refused_with_every_reason(model: Any, data: Data) -> None:
    with pytest.raises(RecipeError, match=r"first: .*; point: block 64x1 needs 64 outputs.*; depthwise: "):
        prune(model, recipe("block 64x1", 0.5), data)


def test_directory(pruned: Pruned, data: Data) -> None:
    assert pruned.path is not None
    assert not pruned.reused
    assert sorted(path.name for path in pruned.path.iterdir()) == ["model.keras", "pruning.json", "recipe.toml"]
    assert [path.name for path in pruned.path.parent.iterdir()] == ["two-four"]
    assert read_report(pruned.path) == pruned.report
    assert load_recipe(pruned.path / "recipe.toml") == pruned.recipe
    loaded = load_model(pruned.path)
    for old, new in zip(pruned.model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert evaluate(loaded, data) == pruned.report.accuracy_after
    assert loaded.loss == "sparse_categorical_crossentropy"


def test_the_same_again_is_reused_and_anything_else_is_not(
    pruned: Pruned, model: Any, data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert pruned.path is not None
    shutil.copytree(pruned.path, out)
    again = prune(model, pruned.recipe, data, out=out)
    assert again.reused
    assert again.report == pruned.report

    forced = prune(model, pruned.recipe, data, out=out, force=True)
    assert not forced.reused
    for old, new in zip(pruned.model.get_weights(), forced.model.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-5)  # the same seed, the same result

    file = out / "model.keras"
    file.write_bytes(file.read_bytes()[:-1])  # damaged
    assert not prune(model, pruned.recipe, data, out=out).reused

    other_recipe = msgspec.structs.replace(pruned.recipe, include=("head",))
    other = prune(model, other_recipe, data, out=out)
    assert not other.reused
    assert other.report.key != pruned.report.key
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_foreign_directory_is_left_alone(model: Any, data: Data, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="left alone"):
        prune(model, recipe("2:4"), data, out=tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_interruption_leaves_the_old_result_and_nothing_half_written(
    pruned: Pruned, model: Any, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "models" / "out"
    with pytest.raises(KeyboardInterrupt):
        prune(model, pruned.recipe, data, out=out, progress=interrupt)
    assert not out.exists()  # and beside it the checkpoint, for which see test_training

    assert pruned.path is not None
    shutil.copytree(pruned.path, out)
    monkeypatch.setattr(sys.modules["edgesparse.prune.pruning"], "dumps", interrupt)  # in the middle of writing
    with pytest.raises(KeyboardInterrupt):
        prune(model, pruned.recipe, data, out=out, force=True)
    assert sorted(path.name for path in out.parent.iterdir()) == [".out.tuning.checkpoint.npz", "out"]
    assert read_report(out) == pruned.report


def test_a_pruned_model_can_be_pruned_on(pruned: Pruned, data: Data) -> None:
    assert pruned.path is not None
    result = prune(str(pruned.path), recipe("unstructured", 0.9, include=("hidden",)), data)
    assert result.report.sparsity == pytest.approx(0.9, abs=1e-3)
    assert result.report.accuracy_before == pruned.report.accuracy_after


def test_nested_and_shared_layers(data: Data) -> None:
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    body = keras.Sequential(
        [layers.Input((192,)), layers.Dense(16, name="inner"), layers.Dense(16, name="inner2")], name="body"
    )
    shared = layers.Dense(16, name="shared")
    image = layers.Input((8, 8, 3))
    x = shared(shared(body(layers.Flatten()(image))))
    outer = keras.Model(image, layers.Dense(CLASSES, name="head")(x), name="outer")
    result = prune(outer, recipe("unstructured", 0.75, first_layer=True), data)
    found = {layer.name: layer for layer in result.report.layers}
    assert [name for name, layer in found.items() if layer.pruned] == ["body/inner", "body/inner2", "head"]
    assert "called 2 times" in found["shared"].reason
    assert found["body/inner2"].density == 0.25
    assert np.count_nonzero(result.model.get_layer("body").get_layer("inner2").kernel) == 64


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_the_loss_of_the_model_is_kept_and_an_uncompiled_one_gets_its_own(data: Data) -> None:
    from edgesparse.prune.legacy_keras import keras

    one_hot = Data(data.x_train, np.eye(CLASSES)[data.y_train], data.x_test, np.eye(CLASSES)[data.y_test])
    compiled = keras.Sequential(_logit_layers(keras))
    compiled.compile("sgd", lambda true, scores: keras.losses.mean_squared_error(true, scores), ["mse"])
    epochs: list[EpochDone] = []
    result = prune(compiled, recipe("unstructured", 0.5), one_hot, progress=epochs.append)
    assert result.model.loss is compiled.loss
    assert epochs[0].accuracy is None

    logits = keras.Sequential(_logit_layers(keras))
    settings = FineTune(epochs=8, batch_size=16, learning_rate=0.01)
    for labels in (data, one_hot):
        result = prune(logits, recipe("unstructured", 0.5, fine_tune=settings), labels)
        assert result.report.accuracy_after > 0.9


def _logit_layers(keras: Any) -> list[Any]:
    layers = keras.layers
    return [layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(16, "relu"), layers.Dense(CLASSES)]


def test_divergence_is_said_as_such(model: Any, data: Data) -> None:
    settings = FineTune(epochs=2, batch_size=16, optimizer="sgd", learning_rate=9.0)
    huge = Data(data.x_train * np.float32(1e18), data.y_train, data.x_test, data.y_test)
    for pattern in ("unstructured", "block 4x1"):
        with pytest.raises(ModelError, match="diverged"):
            prune(model, recipe(pattern, 0.5, fine_tune=settings, include=("spatial",)), huge)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: Data(d.x_train[..., :1], d.y_train, d.x_test, d.y_test), "input shape 8x8x3, found 8x8x1"),
        (lambda d: Data(d.x_train, d.y_train, d.x_test[:, 0], d.y_test), "x_test"),
        (lambda d: Data(d.x_train, d.y_train + 1, d.x_test, d.y_test), "from 0 to 3 in y_train; found 1 to 4"),
        (lambda d: Data(d.x_train, np.eye(5)[d.y_train], d.x_test, d.y_test), "4 one-hot columns"),
    ],
)
def test_data_that_does_not_fit_the_model(model: Any, data: Data, change: Any, message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        prune(model, recipe("2:4"), change(data))


def test_a_report_that_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no pruning\.json"):
        read_report(tmp_path)
    (tmp_path / "pruning.json").write_text('{"version": 1}')
    with pytest.raises(ModelError, match="damaged"):
        read_report(tmp_path)


def test_filter_pruning_never_takes_a_class_away(model: Any) -> None:
    choices = choose(model, recipe("filter", 0.5))
    assert choices[-1].reason == "left as the last layer: its outputs are the classes"
    assert any(choice.pruned for choice in choices)


def test_filter_pruning_takes_no_output_of_any_head_away() -> None:
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    entry = keras.Input((8, 8, 8))
    trunk = layers.Conv2D(16, 3, name="trunk")(layers.Conv2D(16, 3, name="first")(entry))
    head = keras.Sequential([keras.Input((6, 6, 16)), layers.Conv2D(12, 1, name="points"), layers.ReLU()], name="head")
    spread = layers.DepthwiseConv2D(3, name="spread")(layers.Conv2D(12, 1, name="mixed")(trunk))
    model = keras.Model(entry, [layers.Softmax()(layers.Conv2D(8, 1, name="boxes")(trunk)), head(trunk), spread])
    choices = {choice.name: choice.reason for choice in choose(model, recipe("filter", 0.5, first_layer=True))
               if not choice.reason.startswith("DepthwiseConv2D")}  # fmt: skip
    last = "left as the last layer: its outputs are the classes"
    assert choices == {"first": "", "trunk": "", "mixed": last, "boxes": last, "head/points": last}


def test_layers_get_the_sparsities_of_their_own(model: Any, data: Data) -> None:
    """Whether TF-MOT chooses the zeros or edgesparse does: their schedules end apart."""
    asked = recipe("block 4x1", None, layers={"spatial": 0.25, "hidden": 0.75, "point": 0.0})
    report = prune(model, asked, data).report
    densities = {layer.name: layer.density for layer in report.layers if layer.pruned}
    assert densities == {"spatial": 0.75, "hidden": 0.25}
    reasons = {layer.name: layer.reason for layer in report.layers}
    assert "is 0" in reasons["point"]
    assert "no sparsity" in reasons["head"]


def test_a_sparsity_of_a_layer_that_there_is_not_is_refused(model: Any, data: Data) -> None:
    with pytest.raises(RecipeError, match="'spatail' matches no layer"):
        prune(model, recipe("block 4x1", 0.5, layers={"spatail": 0.25}), data)
