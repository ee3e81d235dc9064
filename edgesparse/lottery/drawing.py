"""Draws the tickets of one seed, round by round; what a round has found lies in a file, and is not done twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse import patterns
from edgesparse.lottery.results import ARMS, Row
from edgesparse.patterns import Mask
from edgesparse.prune.data import Data, check_against
from edgesparse.prune.layers import choose, kernel, weighted_layers
from edgesparse.prune.legacy_keras import keras, tf, versions
from edgesparse.prune.pruning import write_pruned_directory
from edgesparse.prune.training import compile_for, evaluate, fit, labels_for
from edgesparse.recipe import Recipe

# Added to a seed for what must not be drawn alike: new weights, and random masks.
_NEW_WEIGHTS = 1_000_003


class Drawing:
    """All that the seeds of one lottery share.

    Args:
        model: the network; only its layout is used.
        data: to train and judge on.
        recipe: pattern, final share of zeros, layers, training.
        rounds, rewind_epoch: see `lottery`.
        out: beside which rounds are kept.
        say: told each accuracy.

    Raises:
        RecipeError: the recipe fits no layer. InputRefused: data that does not fit the model.
    """

    def __init__(
        self,
        model: Any,
        data: Data,
        recipe: Recipe,
        rounds: int,
        rewind_epoch: int,
        out: Path,
        say: Callable[[str], None],
    ) -> None:
        check_against(data, model.input_shape, model.output_shape)
        self._model, self._data, self._recipe = model, labels_for(model, data), recipe
        self._rounds, self._rewind, self._say = rounds, rewind_epoch, say
        self._pattern = patterns.parse_pattern(recipe.pattern)
        self._choices = choose(model, recipe)
        self._names = [choice.name for choice in self._choices if choice.pruned]
        self._folder = out.absolute().parent / f".{out.name}.lottery"
        parts = [model.to_json(), recipe.digest(), data.digest(), str(sorted(versions().items()))]
        self._key = hashlib.sha256("\n".join([*parts, str((rounds, rewind_epoch))]).encode()).hexdigest()

    def key(self, seeds: int) -> str:
        """What the result depends on, hashed, and the number of seeds."""
        return f"{self._key}-{seeds}"

    def forget(self) -> None:
        """Remove what rounds have found."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def draw(self, seed: int) -> list[Row]:
        """The dense network of a seed, then every round's ticket and controls."""
        found = self._kept(seed, 0) or self._dense(seed)
        rows = [self._row(seed, 0, 0.0, "ticket", float(found["accuracy"]))]
        for number in range(1, self._rounds + 1):
            found = self._kept(seed, number) or self._round(seed, number, found)
            share = float(found["share"])
            rows += [self._row(seed, number, share, arm, float(found[f"accuracy {arm}"])) for arm in ARMS]
        return rows

    def write_ticket(self, seed: int, path: Path) -> None:
        """The ticket of the last round as a pruned model directory."""
        found = self._kept(seed, self._rounds)
        assert found is not None
        network = keras.models.clone_model(self._model)
        network.set_weights(_numbered(found, "weights"))
        compile_for(network, self._model, self._data, self._recipe.fine_tune)
        before = float((self._kept(seed, 0) or {})["accuracy"])
        path.mkdir()
        write_pruned_directory(path, network, self._choices, self._masks(found), self._recipe, self._data, before)

    def _dense(self, seed: int) -> dict[str, Any]:
        network = self._fresh(seed)
        if self._rewind:
            self._train(network, seed, epochs=self._rewind)
        rewound = network.get_weights()
        accuracy = self._train(network, seed, start=self._rewind, compiled=bool(self._rewind))
        self._say(f"seed {seed}, dense: {accuracy:.1%}")
        arrays = {"accuracy": accuracy, **_named("rewound", rewound), **_named("weights", network.get_weights())}
        return self._keep(seed, 0, arrays)

    def _round(self, seed: int, number: int, before: Mapping[str, Any]) -> dict[str, Any]:
        assert self._recipe.sparsity is not None
        share = 1 - (1 - self._recipe.sparsity) ** (number / self._rounds)
        rewound = _numbered(self._kept(seed, 0) or before, "rewound")
        trained = self._masked(_numbered(before, "weights"), {})
        kernels = {name: kernel(layer) for name, layer, _ in weighted_layers(trained) if name in self._names}
        masks = {name: patterns.mask(each, self._pattern, share) for name, each in kernels.items()}
        generator = np.random.default_rng([seed, number])
        random = {
            name: patterns.mask(generator.random(each.shape, np.float32), self._pattern, share)
            for name, each in kernels.items()
        }
        new = self._fresh(seed + _NEW_WEIGHTS).get_weights()
        arrays: dict[str, Any] = {"share": share, **{f"mask {name}": mask for name, mask in masks.items()}}
        for arm, weights, mask in (
            ("ticket", rewound, masks), ("new weights", new, masks), ("random mask", rewound, random),
        ):  # fmt: skip
            network = self._masked(weights, mask)
            arrays[f"accuracy {arm}"] = self._train(network, seed, start=self._rewind)
            if arm == "ticket":
                arrays |= _named("weights", network.get_weights())
        told = ", ".join(f"{arm} {arrays[f'accuracy {arm}']:.1%}" for arm in ARMS)
        self._say(f"seed {seed}, round {number}/{self._rounds}, {share:.0%} zeros: {told}")
        return self._keep(seed, number, arrays)

    def _fresh(self, seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        return keras.models.clone_model(self._model)

    def _masked(self, weights: list[Any], masks: Mapping[str, Mask]) -> Any:
        """The network with these weights, in which masked ones are 0 and stay so while it is trained."""

        def cloner(prefix: str) -> Callable[[Any], Any]:
            def clone(layer: Any) -> Any:
                if isinstance(layer, keras.Model):
                    return keras.models.clone_model(layer, clone_function=cloner(f"{prefix}{layer.name}/"))
                fresh = layer.__class__.from_config(layer.get_config())
                if (name := prefix + layer.name) in masks:
                    fresh.kernel_constraint = _Masked(patterns.to_keras(masks[name]))
                return fresh

            return clone

        network = keras.models.clone_model(self._model, clone_function=cloner(""))
        network.set_weights(weights)
        for name, layer, _ in weighted_layers(network):
            if name in masks:
                layer.kernel.assign(layer.kernel_constraint(layer.kernel))
        return network

    def _train(
        self, network: Any, seed: int, *, start: int = 0, epochs: int | None = None, compiled: bool = False
    ) -> float:
        """Train to the last epoch, or to `epochs`, and give the accuracy."""
        tuning = self._recipe.fine_tune
        if not compiled:
            compile_for(network, self._model, self._data, tuning)
        until = tuning.epochs if epochs is None else epochs
        fit(network, self._data, epochs=until, batch_size=tuning.batch_size, seed=seed, start=start)
        return evaluate(network, self._data)

    def _masks(self, found: Mapping[str, Any]) -> dict[str, Mask]:
        return {name: found[f"mask {name}"] for name in self._names}

    def _row(self, seed: int, number: int, share: float, arm: Any, accuracy: float) -> Row:
        return Row(seed=seed, round=number, sparsity=share, arm=arm, accuracy=accuracy)

    def _path(self, seed: int, number: int) -> Path:
        # Not by how many seeds there are: more of them go on from those that are there.
        return self._folder / f"{self._key[:16]}-seed{seed}-round{number}.npz"

    def _kept(self, seed: int, number: int) -> dict[str, Any] | None:
        try:
            with np.load(self._path(seed, number), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None

    def _keep(self, seed: int, number: int, arrays: dict[str, Any]) -> dict[str, Any]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(seed, number)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return arrays


class _Masked(keras.constraints.Constraint):  # type: ignore[misc]
    """Holds masked weights at 0 after each step of the optimiser."""

    def __init__(self, mask: Any) -> None:
        self._mask = tf.constant(mask, tf.float32)

    def __call__(self, weights: Any) -> Any:
        return weights * tf.cast(self._mask, weights.dtype)


def _named(name: str, arrays: list[Any]) -> dict[str, Any]:
    return {f"{name}-{number}": array for number, array in enumerate(arrays)}


def _numbered(found: Mapping[str, Any], name: str) -> list[Any]:
    return [found[f"{name}-{number}"] for number in range(sum(each.startswith(f"{name}-") for each in found))]
