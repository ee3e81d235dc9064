"""Sparsities of all layers together that keep a drop. Drops of single layers do not add up, so each is measured.

Method: one tolerance for all layers. Every layer takes its highest sparsity at which it, alone, lost no more than the
tolerance (nor at any lower sparsity); the highest tolerance whose combination keeps the drop is found by bisection.
Then single layers are raised by one step of the grid as long as the drop holds: in one attempt those first that gain
the most zeros, in another those that gain the most for what they lost alone, each from there and from nothing; the
attempt that ends with the most zeros is taken. If layers were judged on a part of the held-out samples, the result is
judged on all of them, and the layer that lost most for its zeros is lowered by a step until the drop holds there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edgesparse.sensitivity.result import Combination, Layer

# How often a layer may be raised by a step, for each layer.
RAISES = 8
# Accuracies are sums of ones over a count: this only forgives how their difference is rounded.
_ROUNDING = 1e-9

Steps = dict[str, int]


class Judging(Protocol):
    """What measures combinations; `drop` is the accuracy lost by these sparsities together."""

    samples: int
    samples_of_all: int
    dense_of_all: float

    def drop(self, sparsities: Mapping[str, float], *, of_all: bool = False) -> float: ...


def combine(
    layers: Sequence[Layer], judge: Judging, max_drop: float, say: Callable[[str], None] = lambda text: None
) -> Combination | None:
    """The most zeros found that keep the drop; None if not even the lowest sparsity of one layer does.

    Args:
        layers: with their points, in ascending order of sparsity.
        judge: measures combinations.
        max_drop: as a share of 1.
        say: told what is found.
    """
    measured = {layer.name: layer for layer in layers if layer.points}
    tried: set[tuple[bool, tuple[int, ...]]] = set()

    def drop(steps: Steps, of_all: bool = False) -> float:
        tried.add((of_all, tuple(steps.values())))
        return judge.drop(_sparsities(measured, steps), of_all=of_all)

    def holds(steps: Steps, of_all: bool = False) -> bool:
        return drop(steps, of_all) <= max_drop + _ROUNDING

    steps = _by_tolerance(measured, max_drop, holds)
    say(f"one tolerance for all layers: {_zeros(measured, steps):.1%} zeros, drop {100 * drop(steps):.2f} points")
    attempts = [
        _raise(measured, begin, holds, order) for begin in (steps, dict.fromkeys(measured, 0)) for order in _ORDERS
    ]
    steps = max(attempts, key=lambda attempt: _zeros(measured, attempt))
    say(f"single layers raised: {_zeros(measured, steps):.1%} zeros, drop {100 * drop(steps):.2f} points")
    while any(steps.values()) and not holds(steps, of_all=True):
        worst = max((name for name in steps if steps[name]), key=lambda name: _price(measured[name], steps[name]))
        steps = {**steps, worst: steps[worst] - 1}
        say(f"not of all {judge.samples_of_all} held-out samples: {worst} is lowered by a step")
    if not any(steps.values()):
        return None
    lost = drop(steps, of_all=True)
    return Combination(
        sparsities=_sparsities(measured, steps),
        sparsity=_zeros(measured, steps),
        accuracy=judge.dense_of_all - lost,
        drop=lost,
        samples=judge.samples_of_all,
        summed_drop=sum(measured[name].points[step - 1].drop for name, step in steps.items() if step),
        tried=len(tried),
    )


def _by_tolerance(measured: Mapping[str, Layer], max_drop: float, holds: Callable[[Steps], bool]) -> Steps:
    tolerances = sorted({point.drop for layer in measured.values() for point in layer.points if point.drop <= max_drop})
    candidates = [dict.fromkeys(measured, 0)]
    for tolerance in tolerances:
        steps = {name: _highest(layer, tolerance) for name, layer in measured.items()}
        if steps != candidates[-1]:
            candidates.append(steps)
    low, high = 0, len(candidates) - 1  # the first prunes nothing, which keeps any drop
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(candidates[middle]) else (low, middle - 1)
    return candidates[low]


def _highest(layer: Layer, tolerance: float) -> int:
    """How many steps up the grid the layer goes before it loses more than the tolerance."""
    return next((step for step, point in enumerate(layer.points) if point.drop > tolerance), len(layer.points))


def _raise(
    measured: Mapping[str, Layer], steps: Steps, holds: Callable[[Steps], bool], order: Callable[[Layer, int], float]
) -> Steps:
    """A layer whose next step breaks the drop is not asked again: the others only make it harder."""
    open_layers = set(measured)
    for _ in range(RAISES * len(measured)):
        gains = {
            name: order(measured[name], steps[name])
            for name in sorted(open_layers)
            if steps[name] < len(measured[name].points)
        }
        if not gains:
            break
        name = max(gains, key=lambda name: gains[name])
        raised = {**steps, name: steps[name] + 1}
        if holds(raised):
            steps = raised
        else:
            open_layers.discard(name)
    return steps


def _gain(layer: Layer, step: int) -> float:
    """Weights that the next step would zero."""
    before = layer.points[step - 1].zeros if step else 0.0
    return (layer.points[step].zeros - before) * layer.weights


def _gain_for_loss(layer: Layer, step: int) -> float:
    """The same for each share of accuracy that it costs; as if one in ten thousand where it costs nothing."""
    before = layer.points[step - 1].drop if step else 0.0
    return _gain(layer, step) / max(layer.points[step].drop - before, 1e-4)


_ORDERS = (_gain, _gain_for_loss)


def _price(layer: Layer, step: int) -> tuple[float, float]:
    """Accuracy lost alone, then sparsity: what to give back first."""
    point = layer.points[step - 1]
    return point.drop / (point.zeros * layer.weights or 1), point.sparsity


def _sparsities(measured: Mapping[str, Layer], steps: Steps) -> dict[str, float]:
    return {name: measured[name].points[step - 1].sparsity if step else 0.0 for name, step in steps.items()}


def _zeros(measured: Mapping[str, Layer], steps: Steps) -> float:
    zeros = sum(measured[name].points[step - 1].zeros * measured[name].weights for name, step in steps.items() if step)
    return zeros / sum(layer.weights for layer in measured.values())
