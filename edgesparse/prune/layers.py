"""Which layers of a model a recipe prunes, which it leaves and why, and whose code chooses the zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesparse import patterns
from edgesparse.errors import RecipeError
from edgesparse.recipe import Recipe

PRUNABLE_KINDS = ("Conv2D", "Dense")


@dataclass(frozen=True)
class Choice:
    """What becomes of one weighted layer.

    `name` is "outer/inner" for a layer of a nested model; `shape` is outputs-first for Conv2D and Dense; `reason` says
    why the layer is left, "" if it is pruned; `engine` is "tfmot" or "edgesparse", "" if it is left.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    reason: str
    engine: str

    @property
    def pruned(self) -> bool:
        return not self.reason


def choose(model: Any, recipe: Recipe) -> list[Choice]:
    """Decide for every layer that holds a weight matrix, in the model's order (biases and normalisation are no choice).

    Raises:
        RecipeError: the recipe fits no layer at all; the message gives each layer's reason. Or it gives a sparsity to a
            layer that there is not.
    """
    pattern = patterns.parse_pattern(recipe.pattern)
    choices: list[Choice] = []
    weighted = list(weighted_layers(model))
    recipe.check_layers([name for name, _, _ in weighted])
    last = _last_layers(model.outputs)[0] if isinstance(pattern, patterns.Filter) else set()
    for name, layer, calls in weighted:
        kind = type(layer).__name__
        shape = kernel(layer).shape
        reason = _reason(name, layer, calls, shape, pattern, recipe, is_first=not choices)
        if not reason and id(layer) in last:
            reason = "left as the last layer: its outputs are the classes"
        engine = "edgesparse" if recipe.scope == "global" else engine_for(kind, shape, pattern)
        choices.append(Choice(name, kind, shape, reason, "" if reason else engine))
    if not any(choice.pruned for choice in choices):
        left = "; ".join(f"{choice.name}: {choice.reason}" for choice in choices) or "it has no layer with weights"
        raise RecipeError(
            f"Recipe {recipe.name} prunes no layer of {model.name} ({left}).",
            hint="Change include, exclude, first_layer or the pattern of the recipe.",
        )
    return choices


def weighted_layers(model: Any, prefix: str = "", calls: int = 1) -> Iterator[tuple[str, Any, int]]:
    """Yield (name, layer, times called in one inference) of each layer with a weight of two dimensions or more."""
    from edgesparse.prune.legacy_keras import keras

    times_called = {}
    if not isinstance(model, keras.Sequential):
        times_called = {entry["name"]: len(entry["inbound_nodes"]) for entry in model.get_config()["layers"]}
    for layer in model.layers:
        layer_calls = calls * times_called.get(layer.name, 1)
        if isinstance(layer, keras.Model):
            yield from weighted_layers(layer, f"{prefix}{layer.name}/", layer_calls)
        elif _is_weighted(layer):
            yield prefix + layer.name, layer, layer_calls


def _last_layers(outputs: Any) -> tuple[set[int], bool]:
    """The layers, by `id`, whose outputs reach one of these tensors with no weights in between that mix them; and
    whether an input of the model does."""
    from edgesparse.prune.legacy_keras import keras

    found: set[int] = set()
    seen: set[tuple[int, int, int]] = set()
    reaches_input, to_see = False, list(outputs)
    while to_see:
        layer, node, place = to_see.pop()._keras_history
        if (id(layer), node, place) in seen:
            continue
        seen.add((id(layer), node, place))
        passes = True
        if isinstance(layer, keras.Model):
            inner, passes = _last_layers([layer.outputs[place]])
            found |= inner
        elif _is_weighted(layer):
            found.add(id(layer))
            passes = type(layer) is keras.layers.DepthwiseConv2D  # a channel of which is one of what it reads
        reaches_input |= isinstance(layer, keras.layers.InputLayer)
        to_see += layer._inbound_nodes[node].keras_inputs if passes else []
    return found, reaches_input


def _is_weighted(layer: Any) -> bool:
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def kernel(layer: Any) -> np.ndarray[Any, Any]:
    """The weights that a layer's work is in: the kernel of Conv2D and Dense outputs-first, else its largest array."""
    if _is_prunable_kind(layer):
        return patterns.from_keras(layer.kernel.numpy())
    largest: np.ndarray[Any, Any] = max(layer.get_weights(), key=np.size)
    return largest


def engine_for(kind: str, shape: tuple[int, ...], pattern: patterns.Pattern) -> str:
    """Whose code chooses the zeros of this outputs-first kernel: "tfmot" where TF-MOT can, else "edgesparse".

    TF-MOT 0.8.1 refuses blocks on every Conv2D. On a Dense kernel that blocks do not divide it pools windows that are
    not the blocks it then zeroes, and it fails where only one row or column of blocks is left. It has no filter
    pattern.
    """
    match pattern:
        case patterns.Unstructured() | patterns.NM():
            return "tfmot"
        case patterns.Block(rows=rows, cols=cols) if kind == "Dense":
            whole = shape[0] % rows == 0 and shape[1] % cols == 0
            return "tfmot" if whole and shape[0] > rows and shape[1] > cols else "edgesparse"
        case _:
            return "edgesparse"


def _is_prunable_kind(layer: Any) -> bool:
    from edgesparse.prune.legacy_keras import keras

    # The classes themselves: Conv2DTranspose is a Conv2D to Python, with its kernel in another order.
    return type(layer) in (keras.layers.Conv2D, keras.layers.Dense)


def _reason(
    name: str,
    layer: Any,
    calls: int,
    shape: tuple[int, ...],
    pattern: patterns.Pattern,
    recipe: Recipe,
    *,
    is_first: bool,
) -> str:
    if not _is_prunable_kind(layer):
        return f"{type(layer).__name__} layers are left dense (pruned are {' and '.join(PRUNABLE_KINDS)})"
    if getattr(layer, "groups", 1) != 1:
        return f"grouped convolutions are left dense ({layer.groups} groups)"
    if calls != 1:
        return f"shared: it is called {calls} times in one inference, and the pruning schedule counts calls"
    if unselected := recipe.unselected(name):
        return unselected
    if is_first and not recipe.first_layer:
        return "left as the first layer: few weights, and accuracy hangs on them (first_layer = true prunes it)"
    return patterns.misfit(shape, pattern) or ""
