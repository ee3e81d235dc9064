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
from edgesparse.prune.checkpoints import Checkpoint
from edgesparse.prune.data import Data, check_against, hash_array, load_data
from edgesparse.prune.layers import Choice, choose, kernel, weighted_layers
from edgesparse.prune.models import MODEL_FILE, check_keras2, load_model, save_model
from edgesparse.prune.permuting import Kept, permute
from edgesparse.prune.quantising import WEIGHTS_FILE, load_aware, save_aware, train_aware, wrap
from edgesparse.prune.report import REPORT_FILE, LayerReport, Permutation, PruningReport, read_report
from edgesparse.prune.training import EpochDone, compile_for, evaluate, fit, labels_for, split_for, training_steps
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
            quantisation-aware training. A result of the same model, recipe, data and package versions that is there
            already is reused. Beside it lies a checkpoint while training goes on: after an interruption the same call
            goes on from its last whole epoch, to the same result.
        force: prune even so, from the start.
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
    data = labels_for(model, data)
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
    steps = training_steps(data, tuning)
    start = copy_model(model)
    kept = {}
    if recipe.permute:
        chosen = [choice.name for choice in choices if choice.pruned]
        pattern = patterns.parse_pattern(recipe.pattern)
        assert isinstance(pattern, patterns.NM)
        kept = permute(start, chosen, pattern)
    wrapped, masks = _wrap(copy_model(start), choices, recipe, steps)
    compile_for(wrapped, model, data, tuning)
    training, stopper = data, None
    if tuning.early_stop:
        training, stopper = split_for(data, tuning, _last_update(recipe, steps))
    done = fit(
        wrapped,
        training,
        epochs=tuning.epochs,
        batch_size=tuning.batch_size,
        seed=tuning.seed,
        progress=progress,
        callbacks=[tfmot_sparsity.UpdatePruningStep()],
        sparsity=lambda: _sparsity([mask.kept() for mask in masks.values()]),
        checkpoint=None if out is None else Checkpoint.beside(out, "tuning", key, fresh=force),
        stopper=stopper,
    )
    pruned = tfmot_sparsity.strip_pruning(wrapped)
    layers = _layer_reports(pruned, choices, {name: mask.kept() for name, mask in masks.items()}, recipe, kept)
    compile_for(pruned, model, data, tuning)  # so that the file carries the loss, and can be pruned on
    aware = None
    if recipe.quantize.aware:
        saved = None if out is None else Checkpoint.beside(out, "aware", key, fresh=force)
        aware = train_aware(pruned, data, recipe, progress=progress, checkpoint=saved)
    report = PruningReport(
        key=key,
        recipe=recipe.name,
        accuracy_before=evaluate(model, data),
        accuracy_pruned=evaluate(_one_shot(start, choices, recipe), data),
        accuracy_after=evaluate(pruned, data),
        accuracy_aware=None if aware is None else evaluate(aware, data),
        accuracy_samples=len(data.x_test),
        sparsity=_sparsity([kernel(layer) for name, layer, _ in weighted_layers(pruned) if name in masks]),
        layers=layers,
        toolchain=versions(),
        epochs=done.epochs,
        stopped=done.reason,
    )
    if out is not None:
        report = _write(out, pruned, aware, recipe, report)
        for part in ("tuning", "aware"):
            Checkpoint.beside(out, part, key, fresh=True)
    return Pruned(pruned, recipe, report, out, reused=False, aware=aware)


def _last_update(recipe: Recipe, steps: int) -> int:
    """The training step from which on masks stay, as `schedule_for`."""
    return max(1, round(recipe.schedule.begin * steps), round(recipe.schedule.end * steps))


def copy_model(model: Any) -> Any:
    """The same network with arrays of its own: a wrapper shares its layer's, and the caller's model must not change."""
    from edgesparse.prune.legacy_keras import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _wrap(model: Any, choices: list[Choice], recipe: Recipe, steps: int) -> tuple[Any, dict[str, Any]]:
    """The model with a pruning wrapper around each chosen layer, and the wrappers by layer name."""
    from edgesparse.prune.legacy_keras import keras
    from edgesparse.prune.masking import PatternWrapper, Together, schedule_for

    pattern = patterns.parse_pattern(recipe.pattern)
    together = Together(pattern) if recipe.scope == "global" else None
    engines = {choice.name: choice.engine for choice in choices if choice.pruned}
    wrappers: dict[str, Any] = {}

    def cloner(prefix: str) -> Callable[[Any], Any]:
        def clone(layer: Any) -> Any:
            name = prefix + layer.name
            if isinstance(layer, keras.Model):
                return keras.models.clone_model(layer, clone_function=cloner(f"{name}/"))
            if name not in engines:
                return layer
            schedule = schedule_for(recipe.schedule, recipe.sparsity_of(name), steps)
            wrappers[name] = PatternWrapper(layer, schedule, pattern, engines[name], together)
            return wrappers[name]

        return clone

    return keras.models.clone_model(model, clone_function=cloner("")), wrappers


def one_shot_masks(kernels: Mapping[str, patterns.Array], recipe: Recipe) -> dict[str, patterns.Mask]:
    """The masks that a recipe wants of kernels as they are, by layer name, outputs first."""
    pattern = patterns.parse_pattern(recipe.pattern)
    if recipe.scope == "global":
        assert recipe.sparsity is not None
        return patterns.global_masks(kernels, pattern, recipe.sparsity)
    return {name: patterns.mask(each, pattern, recipe.sparsity_of(name)) for name, each in kernels.items()}


def _one_shot(model: Any, choices: list[Choice], recipe: Recipe) -> Any:
    """A copy of the model with the recipe's zeros at once, before any fine-tuning."""
    copy = copy_model(model)
    chosen = {choice.name for choice in choices if choice.pruned}
    layers = {name: layer for name, layer, _ in weighted_layers(copy) if name in chosen}
    masks = one_shot_masks({name: kernel(layer) for name, layer in layers.items()}, recipe)
    for name, layer in layers.items():
        layer.kernel.assign(layer.kernel.numpy() * patterns.to_keras(masks[name]))
    return copy


def _layer_reports(
    pruned: Any,
    choices: list[Choice],
    masks: Mapping[str, np.ndarray[Any, Any]],
    recipe: Recipe,
    permuted: Mapping[str, Kept],
) -> tuple[LayerReport, ...]:
    """Describe every weighted layer, once each pruned one is found to have exactly the zeros that the recipe asks."""
    pattern = patterns.parse_pattern(recipe.pattern)
    weights = {name: kernel(layer) for name, layer, _ in weighted_layers(pruned)}
    # A mask that the recipe's own choice reproduces has the right number of zeros, in whole blocks, outputs alive.
    expected = dict(masks)
    if recipe.scope == "layer":
        expected = one_shot_masks({name: kept.astype(np.float32) for name, kept in masks.items()}, recipe)
    else:
        _check_share(masks, pattern, recipe)
    for name, kept in masks.items():
        if not np.isfinite(weights[name]).all():
            raise ModelError(
                f"Fine-tuning diverged: layer {name} holds NaN or infinity.",
                hint=f"Lower fine_tune.learning_rate of recipe {recipe.name} (it is {recipe.fine_tune.learning_rate}).",
            )
        if not np.array_equal(expected[name], kept):
            share = recipe.sparsity_of(name)
            asked = pattern if share is None else f"{pattern} at {share:.2%}"
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
            permutation=_permutation(permuted.get(choice.name)),
        )
        for choice in choices
    )


def write_pruned_directory(
    path: Path,
    model: Any,
    choices: list[Choice],
    masks: Mapping[str, patterns.Mask],
    recipe: Recipe,
    data: Data,
    accuracy_before: float,
) -> PruningReport:
    """Write a model that was pruned elsewhere as a directory that `convert` takes.

    Args:
        path: an empty directory.
        model: compiled, with its zeros.
        choices: what became of each layer.
        masks: of the pruned layers, outputs first.
        recipe: by which.
        data: to judge on.
        accuracy_before: of the dense network.

    Raises:
        EdgesparseError: the zeros are not those of masks and recipe.
    """
    from edgesparse.prune.legacy_keras import versions

    report = PruningReport(
        key="",
        recipe=recipe.name,
        accuracy_before=accuracy_before,
        accuracy_after=evaluate(model, data),
        accuracy_samples=len(data.x_test),
        sparsity=_sparsity([kernel(layer) for name, layer, _ in weighted_layers(model) if name in masks]),
        layers=_layer_reports(model, choices, masks, recipe, {}),
        toolchain=versions(),
        epochs=recipe.fine_tune.epochs,
    )
    return _write_files(path, model, None, recipe, report)


def _permutation(kept: Kept | None) -> Permutation | None:
    return None if kept is None else Permutation(before=kept.before, after=kept.after, reason=kept.reason)


def _check_share(masks: Mapping[str, patterns.Mask], pattern: patterns.Pattern, recipe: Recipe) -> None:
    """Masks under one threshold: of whole units, and as many zeros as the recipe asks but for outputs kept alive."""
    assert recipe.sparsity is not None
    shares = [(patterns.zero_units(kept, pattern), patterns.units(kept.shape, pattern)) for kept in masks.values()]
    zeros, total = sum(round(share * count) for share, count in shares), sum(count for _, count in shares)
    alive = sum(len(kept) for kept in masks.values())
    whole = all(patterns.conforms(kept, pattern) for kept in masks.values())
    if not whole or not recipe.sparsity * total - alive - 1 <= zeros <= recipe.sparsity * total + 1:
        raise EdgesparseError(
            f"Pruning gave masks that are not {pattern} at {recipe.sparsity:.2%}: {zeros} of {total} units are zero.",
            hint="This is a defect of edgesparse; please report it with the recipe and the model.",
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
        return _write_files(directory, pruned, aware, recipe, report)


def _write_files(directory: Path, pruned: Any, aware: Any, recipe: Recipe, report: PruningReport) -> PruningReport:
    save_model(pruned, directory / MODEL_FILE)
    if aware is not None:
        save_aware(aware, directory / WEIGHTS_FILE)
        report = msgspec.structs.replace(report, aware_sha256=sha256_of(directory / WEIGHTS_FILE))
    (directory / RECIPE_FILE).write_text(dumps(recipe), encoding="utf-8")
    report = msgspec.structs.replace(report, model_sha256=sha256_of(directory / MODEL_FILE))
    (directory / REPORT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return report
