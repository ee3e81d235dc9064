"""What a sensitivity analysis found: `sensitivity.json`. All accuracies are top-1 of held-out samples, 0..1."""

from __future__ import annotations

import msgspec

from edgesparse.recipe import Recipe


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One layer at one sparsity, all others as they were.

    `sparsity` is what was asked for, `zeros` the share of zeros that whole units of the pattern came to; `drop` is the
    accuracy lost, negative where some was gained.
    """

    sparsity: float
    zeros: float
    accuracy: float
    drop: float


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One weighted layer; `reason` says why it was not measured, "" if it was. `shape` is outputs first."""

    name: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    reason: str
    points: tuple[Point, ...]


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """Sparsities of all measured layers together, and what they cost together, without fine-tuning.

    Attributes:
        sparsities: by layer name; 0 leaves a layer dense.
        sparsity: share of zeros over all weights of the measured layers.
        accuracy, drop, samples: of all held-out samples.
        summed_drop: what the drops of the layers alone add up to.
        tried: how many combinations were measured on the way.
    """

    sparsities: dict[str, float]
    sparsity: float
    accuracy: float
    drop: float
    samples: int
    summed_drop: float
    tried: int


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """One model under one pattern.

    Attributes:
        version: of this JSON document.
        accuracy, samples: before pruning, of the samples that layers were judged on.
        accuracy_of_all, samples_of_all: the same of all held-out samples.
        layers: every layer with a weight matrix, in the model's order.
        combination, recipe: the most zeros found that keep `max_drop`; None where nothing does.
        evaluations: how many accuracies were measured.
    """

    version: int = 1
    model: str
    pattern: str
    sparsities: tuple[float, ...]
    max_drop: float
    accuracy: float
    samples: int
    accuracy_of_all: float
    samples_of_all: int
    layers: tuple[Layer, ...]
    combination: Combination | None
    recipe: Recipe | None
    evaluations: int
    seconds: float
