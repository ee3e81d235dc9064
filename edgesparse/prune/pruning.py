"""Prune a trained model by a recipe: wrap, fine-tune, strip, check, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgesparse import patterns
from edgesparse.errors import EdgesparseError, ModelError, RecipeError
from edgesparse.files import refuse_foreign, replacing, sha256_of
from edgesparse.prune.data import Data, check_against, hash_array, load_data
from edgesparse.prune.layers import Choice, choose, kernel, weighted_layers
from edgesparse.prune.models import MODEL_FILE, check_keras2, load_model, save_model
from edgesparse.prune.quantising import WEIGHTS_FILE, load_aware, save_aware, train_aware, wrap
from edgesparse.prune.report import REPORT_FILE, LayerReport, PruningReport, read_report
from edgesparse.prune.training import EpochDone, compile_for, evaluate, fit, training_steps
from edgesparse.recipe import BLOCK, Recipe, dumps, load_recipe

RECIPE_FILE = "recipe.toml"


@dataclass(frozen=True)
class Pruned:
    """A pruned Keras 2 model without any wrapper left, and how it came about.

    `path` is its directory, None where none was asked for; `reused`: the directory held this very result already.
    `aware` is the model after quantisation-aware training, in TF-MOT's wrappers, where the recipe asks for it.
    """

    model: Any
    recipe: Recipe
    report: PruningReport
    path: Path | None
    reused: bool
    aware: Any = None


def prune(
    model: Any,
    recipe: Recipe | str | Path,
    data: Data | str,
    *,
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[EpochDone], None] | None = None,
) -> Pruned:
    """Prune and fine-tune a trained classifier; the model given stays as it is.

    Seeds the global random generators with the recipe's seed.

    Args:
        model: a `tf_keras` model with one input and one output, or what `load_model` takes. If it is compiled, its loss
            and metrics are used.
        recipe: a recipe, the name of one that ships, or a path.
        data: what to fine-tune and judge on, or what `load_data` takes.
        out: directory to write: model.keras, recipe.toml, pruning.json, and aware.npz where the recipe asks for
            quantisation-aware training. A result of the same model, recipe, data and
            package versions that is there already is reused.
        force: prune even so.
        progress: told at the end of each epoch.

    Raises:
        RecipeError: unknown or impossible recipe, one whose pattern is left to a board, or it fits no layer.
        ModelError: not a Keras 2 model that can be pruned or trained aware of quantisation, or training diverged.
        InputRefused: data that does not fit the model. UsageError: `out` holds something else.
    """
    model = load_model(model) if isinstance(model, str | Path) else check_keras2(model, "the model given")
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe))
    data = load_data(data) if isinstance(data, str) else data
    check_against(data, model.input_shape, model.output_shape)
    if recipe.pattern == BLOCK:
        raise RecipeError(
            f"Recipe {recipe.name} leaves the size of its blocks to a board, and none is named.",
            hint="Give one with --board, or write the pattern, such as block 8x1.",
        )
    choices = choose(model, recipe)

    key = _key(model, recipe, data)
    if out is not None:
        out = Path(out)
        refuse_foreign(out, REPORT_FILE)
        if not force and (report := _whole(out, key)):
            pruned = load_model(out)
            aware = load_aware(pruned, out / WEIGHTS_FILE) if recipe.quantize.aware else None
            return Pruned(pruned, recipe, report, out, reused=True, aware=aware)

    from edgesparse.prune.legacy_keras import tfmot_sparsity, versions

    if recipe.quantize.aware:
        wrap(model)  # a model that cannot be trained so is refused before hours of fine-tuning
    tuning = recipe.fine_tune
    steps = training_steps(data, tuning.epochs, tuning.batch_size)
    wrapped, masks = _wrap(_copy(model), choices, recipe, steps)
    compile_for(wrapped, model, data, tuning)
    fit(
        wrapped,
        data,
        epochs=tuning.epochs,
        batch_size=tuning.batch_size,
        seed=tuning.seed,
        progress=progress,
        callbacks=[tfmot_sparsity.UpdatePruningStep()],
        sparsity=lambda: _sparsity([mask.kept() for mask in masks.values()]),
    )
    pruned = tfmot_sparsity.strip_pruning(wrapped)
    layers = _layer_reports(pruned, choices, {name: mask.kept() for name, mask in masks.items()}, recipe)
    compile_for(pruned, model, data, tuning)  # so that the file carries the loss, and can be pruned on
    aware = train_aware(pruned, data, recipe, progress=progress) if recipe.quantize.aware else None
    report = PruningReport(
        key=key,
        recipe=recipe.name,
        accuracy_before=evaluate(model, data),
        accuracy_after=evaluate(pruned, data),
        accuracy_aware=None if aware is None else evaluate(aware, data),
        accuracy_samples=len(data.x_test),
        sparsity=_sparsity([kernel(layer) for name, layer, _ in weighted_layers(pruned) if name in masks]),
        layers=layers,
        toolchain=versions(),
    )
    if out is not None:
        report = _write(out, pruned, aware, recipe, report)
    return Pruned(pruned, recipe, report, out, reused=False, aware=aware)


def _copy(model: Any) -> Any:
    """The same network with arrays of its own: a wrapper shares its layer's, and the caller's model must not change."""
    from edgesparse.prune.legacy_keras import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _wrap(model: Any, choices: list[Choice], recipe: Recipe, steps: int) -> tuple[Any, dict[str, Any]]:
    """The model with a pruning wrapper around each chosen layer, and the wrappers by layer name."""
    from edgesparse.prune.legacy_keras import keras
    from edgesparse.prune.masking import PatternWrapper, schedule_for

    pattern = patterns.parse_pattern(recipe.pattern)
    schedule = schedule_for(recipe.schedule, recipe.sparsity, steps)
    engines = {choice.name: choice.engine for choice in choices if choice.pruned}
    wrappers: dict[str, Any] = {}

    def cloner(prefix: str) -> Callable[[Any], Any]:
        def clone(layer: Any) -> Any:
            name = prefix + layer.name
            if isinstance(layer, keras.Model):
                return keras.models.clone_model(layer, clone_function=cloner(f"{name}/"))
            if name not in engines:
                return layer
            wrappers[name] = PatternWrapper(layer, schedule, pattern, engines[name])
            return wrappers[name]

        return clone

    return keras.models.clone_model(model, clone_function=cloner("")), wrappers


def _layer_reports(
    pruned: Any, choices: list[Choice], masks: Mapping[str, np.ndarray[Any, Any]], recipe: Recipe
) -> tuple[LayerReport, ...]:
    """Describe every weighted layer, once each pruned one is found to have exactly the zeros that the recipe asks."""
    pattern = patterns.parse_pattern(recipe.pattern)
    weights = {name: kernel(layer) for name, layer, _ in weighted_layers(pruned)}
    for name, kept in masks.items():
        if not np.isfinite(weights[name]).all():
            raise ModelError(
                f"Fine-tuning diverged: layer {name} holds NaN or infinity.",
                hint=f"Lower fine_tune.learning_rate of recipe {recipe.name} (it is {recipe.fine_tune.learning_rate}).",
            )
        # A mask that the recipe's own choice reproduces has the right number of zeros, in whole blocks, outputs alive.
        if not np.array_equal(patterns.mask(kept.astype(np.float32), pattern, recipe.sparsity), kept):
            asked = pattern if recipe.sparsity is None else f"{pattern} at {recipe.sparsity:.2%}"
            raise EdgesparseError(
                f"Pruning gave layer {name} a mask that is not {asked}: {np.mean(~kept):.2%} zeros.",
                hint="This is a defect of edgesparse; please report it with the recipe and the layer's shape.",
            )
        if weights[name][~kept].any():
            raise EdgesparseError(
                f"Layer {name} kept values where its mask has zeros.",
                hint="This is a defect of edgesparse; please report it with the recipe and the layer's shape.",
            )
    return tuple(
        LayerReport(
            name=choice.name,
            kind=choice.kind,
            shape=choice.shape,
            pattern=str(pattern) if choice.pruned else "dense",
            density=patterns.density(weights[choice.name]),
            pruned=choice.pruned,
            reason=choice.reason,
            engine=choice.engine,
        )
        for choice in choices
    )


def _sparsity(arrays: list[np.ndarray[Any, Any]]) -> float:
    return 1 - sum(int(np.count_nonzero(array)) for array in arrays) / sum(array.size for array in arrays)


def _key(model: Any, recipe: Recipe, data: Data) -> str:
    """SHA-256 of all that the result depends on: layout, loss, weights, recipe, data, versions."""
    from edgesparse.prune.legacy_keras import versions

    loss = {key: value for key, value in (model.get_compile_config() or {}).items() if key != "optimizer"}
    parts = [model.to_json(), json.dumps(loss, sort_keys=True, default=str), recipe.digest(), data.digest()]
    hashed = hashlib.sha256("\n".join([*parts, json.dumps(versions(), sort_keys=True)]).encode())
    for array in model.get_weights():
        hash_array(hashed, array)
    return hashed.hexdigest()


def _whole(out: Path, key: str) -> PruningReport | None:
    """The report of `out` if it is a complete and undamaged result under this key."""
    try:
        report = read_report(out)
        undamaged = report.model_sha256 == sha256_of(out / MODEL_FILE) and (out / RECIPE_FILE).is_file()
        if report.aware_sha256:
            undamaged &= report.aware_sha256 == sha256_of(out / WEIGHTS_FILE)
    except (ModelError, OSError):
        return None
    return report if undamaged and report.key == key else None


def _write(out: Path, pruned: Any, aware: Any, recipe: Recipe, report: PruningReport) -> PruningReport:
    with replacing(out) as directory:
        save_model(pruned, directory / MODEL_FILE)
        if aware is not None:
            save_aware(aware, directory / WEIGHTS_FILE)
            report = msgspec.structs.replace(report, aware_sha256=sha256_of(directory / WEIGHTS_FILE))
        (directory / RECIPE_FILE).write_text(dumps(recipe), encoding="utf-8")
        report = msgspec.structs.replace(report, model_sha256=sha256_of(directory / MODEL_FILE))
        (directory / REPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return report
