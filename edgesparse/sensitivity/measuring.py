"""Accuracies of a Keras model with some of its layers pruned, without training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse import patterns
from edgesparse.prune.data import Data, check_against, class_numbers, load_data
from edgesparse.prune.layers import choose, kernel, weighted_layers
from edgesparse.prune.models import check_keras2, load_model
from edgesparse.prune.pruning import copy_model
from edgesparse.recipe import Recipe
from edgesparse.sensitivity.result import Layer, Point

BATCH_SIZE = 256
# A line of progress in between where one layer takes longer.
_QUIET_S = 2.0


class Judge:
    """A copy of a model whose kernels are pruned and restored, and the samples that it is judged on.

    Args:
        model: a tf_keras model, or what `load_model` takes.
        data: its held-out half is used.
        recipe: pattern, and which layers may be pruned at all.
        samples: how many samples at most for one layer; drawn evenly from the held-out ones, always the same.

    Attributes:
        dense, samples: accuracy before pruning of these samples, and how many they are.
        dense_of_all, samples_of_all: the same of all held-out samples.
        choices: every weighted layer, and why it is left.
        evaluations: how many accuracies were measured so far.
    """

    def __init__(self, model: Any, data: Data | str, recipe: Recipe, samples: int) -> None:
        model = load_model(model) if isinstance(model, str | Path) else check_keras2(model, "the model given")
        data = load_data(data) if isinstance(data, str) else data
        check_against(data, model.input_shape, model.output_shape)
        self.choices = choose(model, recipe)
        self.model_name = str(model.name)
        self._pattern = patterns.parse_pattern(recipe.pattern)
        self._model = copy_model(model)
        self._layers = {name: layer for name, layer, _ in weighted_layers(self._model)}
        self._dense = {choice.name: kernel(self._layers[choice.name]) for choice in self.choices if choice.pruned}
        self._x, self._y = data.x_test, class_numbers(data.y_test)
        self.samples_of_all = len(self._y)
        self.samples = min(samples, self.samples_of_all)
        self._some = np.linspace(0, self.samples_of_all - 1, self.samples).round().astype(int)
        self._known: dict[tuple[bool, tuple[tuple[str, float], ...]], float] = {}
        self.evaluations = 0
        self.dense = self.accuracy({})
        self.dense_of_all = self.accuracy({}, of_all=True)

    def pruned(self, name: str, sparsity: float) -> npt.NDArray[Any]:
        """The kernel of a layer, outputs first, at a sparsity; as it was at 0."""
        dense = self._dense[name]
        if not sparsity:
            return dense
        pruned: npt.NDArray[Any] = np.where(patterns.mask(dense, self._pattern, sparsity), dense, dense.dtype.type(0))
        return pruned

    def accuracy(self, sparsities: Mapping[str, float], *, of_all: bool = False) -> float:
        """Top-1, 0..1, with these layers pruned and all others as they were."""
        pruned = {name: share for name, share in sparsities.items() if share}
        of_all = of_all or self.samples == self.samples_of_all
        key = (of_all, tuple(sorted(pruned.items())))
        if key not in self._known:
            try:
                for name, share in pruned.items():
                    self._set(name, self.pruned(name, share))
                self._known[key] = self._measure(of_all)
            finally:
                for name in pruned:
                    self._set(name, self._dense[name])
        return self._known[key]

    def drop(self, sparsities: Mapping[str, float], *, of_all: bool = False) -> float:
        """How much accuracy they cost together."""
        return (self.dense_of_all if of_all else self.dense) - self.accuracy(sparsities, of_all=of_all)

    def _set(self, name: str, weights: npt.NDArray[Any]) -> None:
        self._layers[name].kernel.assign(patterns.to_keras(weights))

    def _measure(self, of_all: bool) -> float:
        x, y = (self._x, self._y) if of_all else (self._x[self._some], self._y[self._some])
        scores = self._model.predict(x, batch_size=BATCH_SIZE, verbose=0)
        self.evaluations += 1
        return float(np.mean(scores.argmax(axis=1) == y))


def measure_layers(judge: Judge, sparsities: Sequence[float], say: Callable[[str], None]) -> tuple[Layer, ...]:
    """Every layer that the pattern fits at every sparsity, ascending, all others dense; the rest with their reason."""
    total = sum(choice.pruned for choice in judge.choices) * len(sparsities)
    started = said = time.monotonic()
    done, layers = 0, []
    for choice in judge.choices:
        points: list[Point] = []
        for share in sparsities if choice.pruned else ():
            accuracy = judge.accuracy({choice.name: share})
            zeros = 1 - patterns.density(judge.pruned(choice.name, share))
            points.append(Point(sparsity=share, zeros=zeros, accuracy=accuracy, drop=judge.dense - accuracy))
            done, now = done + 1, time.monotonic()
            if share == sparsities[-1] or now - said > _QUIET_S:
                left = (now - started) / done * (total - done)
                say(f"{choice.name} at {share:.0%}: {accuracy:.2%}; {done} of {total} measured, {left:.0f} s left")
                said = now
        layers.append(
            Layer(
                name=choice.name,
                kind=choice.kind,
                shape=choice.shape,
                weights=int(np.prod(choice.shape)),
                reason=choice.reason,
                points=tuple(points),
            )
        )
    return tuple(layers)
