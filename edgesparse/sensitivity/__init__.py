"""How much accuracy each layer costs at each sparsity, one layer at a time, and a recipe that keeps a given drop.

Method: S. Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015: one layer is pruned by
magnitude while all others stay as they are, without training, and the accuracy of held-out samples is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgesparse.errors import RecipeError
from edgesparse.files import refuse_foreign, replacing
from edgesparse.patterns import NM, Pattern, parse_pattern
from edgesparse.recipe import Recipe, Schedule, dumps
from edgesparse.sensitivity.combining import combine
from edgesparse.sensitivity.result import Combination, Layer, Point, Sensitivity

if TYPE_CHECKING:
    from edgesparse.prune import Data

__all__ = ["Combination", "Layer", "Point", "Sensitivity", "sensitivity"]

RESULT_FILE = "sensitivity.json"
RECIPE_FILE = "recipe.toml"
FIGURE_FILE = "sensitivity.svg"
SPARSITIES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SAMPLES = 2000

Say = Callable[[str], None]


def sensitivity(
    model: Any,
    pattern: str,
    data: Data | str,
    *,
    sparsities: Sequence[float] | None = None,
    max_drop: float = 0.01,
    samples: int = SAMPLES,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    name: str | None = None,
    out: str | Path | None = None,
    progress: Say | None = None,
) -> Sensitivity:
    """Measure every layer at every sparsity, then make a recipe that keeps the drop; the model given stays as it is.

    Args:
        model: a `tf_keras` model, or what `edgesparse.prune.load_model` takes.
        pattern: as in a recipe; the shape of the zeros.
        data: what to judge on, or what `edgesparse.prune.load_data` takes; only its held-out half is used.
        sparsities: of a layer, each above 0 and below 1; `SPARSITIES` where None. N:M has its own.
        max_drop: how much accuracy the recipe may cost, as a share: 0.01 is one point.
        samples: how many held-out samples the layers are judged on at most; the recipe is judged on all of them.
        include, exclude: regular expressions over layer names.
        name: the recipe's name; sensitivity-block-4x1 and such where None.
        out: directory to write: sensitivity.json, sensitivity.svg and, where one keeps the drop, recipe.toml.
        progress: told what is being measured, and how long it will take.

    Raises:
        RecipeError: an impossible pattern or sparsity, or one that fits no layer. ModelError, InputRefused: a model or
        data that cannot be used. UsageError: `out` holds something else.
    """
    started = time.monotonic()
    say = progress or (lambda text: None)
    asked = parse_pattern(pattern)
    grid = _grid(asked, sparsities)
    if not 0 <= max_drop < 1:
        raise RecipeError(
            f"max_drop: expected at least 0 and below 1 (100 points), found {max_drop:g}.", hint="0.01 is one point."
        )
    if samples < 1:
        raise RecipeError(f"samples: expected at least 1, found {samples}.", hint="The default is 2000.")
    fixed = isinstance(asked, NM)
    wanted = Recipe(
        name=name or f"sensitivity-{str(asked).replace(' ', '-').replace(':', '-')}",
        pattern=str(asked),
        sparsity=None if fixed else grid[-1],
        include=tuple(include) or (".*",),
        exclude=tuple(exclude),
        first_layer=True,
        schedule=Schedule(kind="constant", begin=0.0, end=0.0, updates=1),
    )
    if out is not None:
        out = Path(out)
        refuse_foreign(out, RESULT_FILE)

    from edgesparse.sensitivity.measuring import Judge, measure_layers

    say("loading TensorFlow and the model")
    judge = Judge(model, data, wanted, samples)
    say(f"accuracy {judge.dense:.2%} of {judge.samples} held-out samples before pruning")
    layers = measure_layers(judge, grid, say)
    found = combine(layers, judge, max_drop, say)
    result = Sensitivity(
        model=judge.model_name,
        pattern=str(asked),
        sparsities=grid,
        max_drop=max_drop,
        accuracy=judge.dense,
        samples=judge.samples,
        accuracy_of_all=judge.dense_of_all,
        samples_of_all=judge.samples_of_all,
        layers=layers,
        recipe=None if found is None else _recipe(wanted, layers, found, max_drop),
        combination=found,
        evaluations=judge.evaluations,
        seconds=round(time.monotonic() - started, 1),
    )
    if out is not None:
        _write(out, result)
    return result


def _grid(pattern: Pattern, sparsities: Sequence[float] | None) -> tuple[float, ...]:
    if isinstance(pattern, NM):
        fixed = 1 - pattern.n / pattern.m
        if sparsities and any(abs(share - fixed) > 1e-9 for share in sparsities):
            raise RecipeError(
                f"Pattern {pattern} has the sparsity {fixed:g}, found {', '.join(f'{s:g}' for s in sparsities)}.",
                hint="Leave the sparsities out.",
            )
        return (fixed,)
    for share in sparsities or ():
        if not 0 < share < 1:
            raise RecipeError(
                f"Expected sparsities above 0 and below 1, found {share:g}.", hint="For example 0.5,0.7,0.9."
            )
    return tuple(sorted(set(sparsities or SPARSITIES)))


def _recipe(wanted: Recipe, layers: Sequence[Layer], found: Combination, max_drop: float) -> Recipe:
    """The combination as a recipe that `prune` carries out: its masks are chosen once, in the first step, so they are
    those that were measured; fine-tuning then only moves what is left."""
    import re

    description = (
        f"Measured one-shot, without fine-tuning: accuracy falls by {100 * found.drop:.2f} of at most "
        f"{100 * max_drop:g} points, of {found.samples} held-out samples; {found.sparsity:.1%} zeros."
    )
    shares = {re.escape(name): share for name, share in found.sparsities.items()}
    changes: dict[str, Any] = {"description": description, "first_layer": bool(found.sparsities.get(layers[0].name))}
    if ":" in wanted.pattern:
        left = tuple(name for name, share in shares.items() if not share)
        changes["exclude"] = (*wanted.exclude, *left)
    else:
        changes |= {"sparsity": None, "layers": shares}
    return msgspec.structs.replace(wanted, **changes)


def _write(out: Path, result: Sensitivity) -> None:
    from edgesparse.report.figures import save_figure
    from edgesparse.report.sensitivity import figure

    with replacing(out) as directory:
        save_figure(figure(result), directory / FIGURE_FILE)
        if result.recipe is not None:
            (directory / RECIPE_FILE).write_text(dumps(result.recipe), encoding="utf-8")
        (directory / RESULT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
