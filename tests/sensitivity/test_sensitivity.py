"""Sensitivity of a tiny trained network, and the recipe that comes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgesparse
from edgesparse import patterns
from edgesparse.errors import RecipeError, UsageError
from edgesparse.prune import Data, evaluate, prune, save_model
from edgesparse.prune.layers import kernel, weighted_layers
from edgesparse.prune.pruning import copy_model
from edgesparse.prune.training import fit
from edgesparse.recipe import Recipe, load_recipe
from edgesparse.sensitivity import Sensitivity, sensitivity
from tests.interrupting import hear_ctrl_c
from tests.prune.conftest import data, model

__all__ = ["data", "model"]

GRID = (0.5, 0.95)


@pytest.fixture(scope="session")
def trained(model: Any, data: Data) -> Any:
    network = copy_model(model)
    network.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    fit(network, data, epochs=12, batch_size=16, seed=0)
    assert evaluate(network, data) > 0.9
    return network


@pytest.fixture(scope="session")
def found(trained: Any, data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sensitivity, Path]:
    out = tmp_path_factory.mktemp("sensitivity") / "out"
    said: list[str] = []
    result = sensitivity(trained, "block 4x1", data, sparsities=GRID, max_drop=0.05, out=out, progress=said.append)
    assert any("s left" in line for line in said)
    return result, out


def one_shot(trained: Any, recipe: Recipe) -> Any:
    """The model pruned by a recipe without training, by `patterns` alone."""
    pruned = copy_model(trained)
    for name, layer, _ in weighted_layers(pruned):
        share = recipe.sparsity_of(name)
        if share and recipe.unselected(name) is None:
            weights = kernel(layer)
            kept = patterns.mask(weights, patterns.parse_pattern(recipe.pattern), share)
            layer.kernel.assign(patterns.to_keras(weights * kept))
    return pruned


def test_each_point_is_that_layer_alone(trained: Any, data: Data, found: tuple[Sensitivity, Path]) -> None:
    before = [weights.copy() for weights in trained.get_weights()]
    result = found[0]
    layers = {layer.name: layer for layer in result.layers}
    assert [name for name, layer in layers.items() if layer.points] == ["first", "point", "spatial", "hidden", "head"]
    assert "DepthwiseConv2D" in layers["depthwise"].reason
    assert result.accuracy == evaluate(trained, data)
    for name in ("spatial", "head"):
        for point in layers[name].points:
            alone = Recipe(name="x", pattern="block 4x1", layers={name: point.sparsity})
            pruned = one_shot(trained, alone)
            assert point.accuracy == evaluate(pruned, data)
            assert point.drop == result.accuracy - point.accuracy
            weights = next(kernel(layer) for each, layer, _ in weighted_layers(pruned) if each == name)
            assert point.zeros == 1 - patterns.density(weights)
    for weights, now in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, now)


def test_the_recipe_keeps_the_drop_one_shot_and_when_pruned_by_it(
    trained: Any, data: Data, found: tuple[Sensitivity, Path]
) -> None:
    result, out = found
    combination = result.combination
    assert combination is not None
    assert any(combination.sparsities.values())
    recipe = load_recipe(out / "recipe.toml")
    assert recipe == result.recipe
    accuracy = evaluate(one_shot(trained, recipe), data)
    assert accuracy == combination.accuracy >= result.accuracy - 0.05
    pruned = prune(trained, recipe, data)
    assert pruned.report.accuracy_pruned == combination.accuracy
    assert pruned.report.accuracy_after >= result.accuracy - 0.05
    for layer in pruned.report.layers:
        share = combination.sparsities.get(layer.name, 0.0)
        assert layer.density == pytest.approx(1 - share, abs=0.03), layer
    assert pruned.report.sparsity > 0


def test_what_is_written(found: tuple[Sensitivity, Path]) -> None:
    result, out = found
    assert sorted(path.name for path in out.iterdir()) == ["recipe.toml", "sensitivity.json", "sensitivity.svg"]
    document = json.loads((out / "sensitivity.json").read_text())
    assert document["version"] == 1
    assert document["combination"]["accuracy"] == result.combination.accuracy if result.combination else False
    figure = (out / "sensitivity.svg").read_text()
    assert all(f">{layer.name}<" in figure for layer in result.layers if layer.points)


def test_a_drop_that_nothing_keeps_gives_no_recipe_and_leaves_no_old_one(
    trained: Any, data: Data, found: tuple[Sensitivity, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("sensitivity.json", "recipe.toml"):
        (out / name).write_bytes((found[1] / name).read_bytes())
    result = sensitivity(trained, "filter", data, sparsities=[0.99], max_drop=0.0, include=["first"], out=out)
    assert result.combination is None
    assert result.recipe is None
    assert not (out / "recipe.toml").exists()


def test_n_of_m_has_one_sparsity_and_its_recipe_leaves_layers_out(trained: Any, data: Data) -> None:
    result = sensitivity(trained, "2:4", data, max_drop=0.03)
    assert result.sparsities == (0.5,)
    assert result.recipe is not None and result.combination is not None
    assert not result.recipe.layers
    for name, share in result.combination.sparsities.items():
        assert (result.recipe.unselected(name) is None) == bool(share) or name == "first"
    with pytest.raises(RecipeError, match=r"has the sparsity 0\.5"):
        sensitivity(trained, "2:4", data, sparsities=[0.7])


def test_big_data_is_judged_on_a_part_and_the_recipe_on_all(trained: Any, data: Data) -> None:
    result = sensitivity(trained, "unstructured", data, sparsities=[0.8], samples=8, max_drop=0.02)
    assert (result.samples, result.samples_of_all) == (8, 32)
    assert result.combination is None or (result.combination.samples, result.combination.drop <= 0.02) == (32, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pattern": "block 3"}, "no pattern"),
        ({"sparsities": [0.5, 1.0]}, "below 1, found 1"),
        ({"sparsities": [0.0]}, "above 0"),
        ({"max_drop": -0.1}, "max_drop"),
        ({"max_drop": 1.0}, "100 points"),
        ({"include": ["nothing"]}, "prunes no layer"),
        ({"include": ["("]}, "no regular expression"),
        ({"pattern": "block 512x1"}, "prunes no layer"),
    ],
)
def test_what_cannot_be_measured_is_refused(trained: Any, data: Data, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        sensitivity(trained, **{"pattern": "unstructured", "data": data, **arguments})


def test_a_directory_of_other_things_is_left_alone(trained: Any, data: Data, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="left alone"):
        edgesparse.sensitivity(trained, "unstructured", data, out=tmp_path)


def test_the_command_and_ctrl_c(trained: Any, tmp_path: Path) -> None:
    """One process that is left to end, one that is interrupted while it measures: exit 130 and nothing written."""
    save_model(trained, tmp_path / "model.keras")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def data():\n"
        "    g = np.random.default_rng(0)\n"
        "    return [(g.normal(size=(n, 8, 8, 3)).astype('float32'), g.integers(0, 4, n)) for n in (8, 40_000)]\n"
    )
    command = [
        sys.executable,
        "-m",
        "edgesparse.cli",
        "sensitivity",
        str(tmp_path / "model.keras"),
        "--data",
        "mine:data",
    ]
    quick = [*command, "--samples", "50", "-s", "0.5", "--include", "head", "--max-drop", "90"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [*quick, "--out", "quick", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    assert document["combination"]["sparsities"] == {"head": 0.5}
    assert document["combination"]["samples"] == 40_000
    assert load_recipe(tmp_path / "quick" / "recipe.toml").layers == {"head": 0.5}

    slow = subprocess.Popen(
        [*command, "--samples", "40000", "--out", "slow"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert slow.stderr is not None
    while "s left" not in (line := slow.stderr.readline()):
        assert line, "it ended by itself"
    time.sleep(0.2)
    slow.send_signal(signal.SIGINT)
    out, error = slow.communicate(timeout=60)
    assert (slow.returncode, out) == (130, "")
    assert "Interrupted" in error and "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir() if "slow" in path.name) == []
