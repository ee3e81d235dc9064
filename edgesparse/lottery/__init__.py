"""Lottery tickets: iterative magnitude pruning with rewinding, and the two controls that say what made it work.

Each seed trains a fresh network. Round after round the weakest of the weights that are left go, the others are rewound
to what they were after `rewind_epoch` epochs (0: to their initial values) and trained again. Beside each ticket run the
same mask with new random weights, and a random mask of the same share with the rewound weights. If the ticket is more
accurate than both, mask and weights belong together.

Source: J. Frankle and M. Carbin, The Lottery Ticket Hypothesis, 2019; rewinding to a later epoch: Frankle et al.,
Linear Mode Connectivity and the Lottery Ticket Hypothesis, 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgesparse.errors import RecipeError, UsageError
from edgesparse.files import refuse_foreign, replacing
from edgesparse.lottery.results import RESULT_FILE, Lottery, Row, read_lottery
from edgesparse.recipe import FineTune, Recipe, Schedule

__all__ = ["Lottery", "Row", "lottery", "make_recipe", "read_lottery"]


def make_recipe(
    pattern: str = "unstructured",
    sparsity: float = 0.8,
    *,
    epochs: int = 3,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    batch_size: int = 32,
    exclude: tuple[str, ...] = (),
) -> Recipe:
    """What a lottery is drawn by: the pattern and its final share of zeros, and how each network is trained.

    Raises:
        RecipeError: no such pattern, or a value out of range.
    """
    tuning = FineTune(epochs=epochs, learning_rate=learning_rate, optimizer=optimizer, batch_size=batch_size)  # type: ignore[arg-type]
    return Recipe(
        name="ticket",
        pattern=pattern,
        sparsity=sparsity,
        first_layer=True,
        exclude=exclude,
        schedule=Schedule(kind="constant"),
        fine_tune=tuning,
    )


def lottery(
    model: Any,
    data: Any,
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    rounds: int = 4,
    rewind_epoch: int = 0,
    seeds: int = 3,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Lottery:
    """Draw lottery tickets and their controls for several seeds.

    Args:
        model: a `tf_keras` classifier, or what `load_model` takes; its weights are drawn anew for each seed.
        data: as of `prune`.
        out: directory for lottery.json, lottery.svg and ticket/, the most accurate ticket of the last round as a pruned
            model that `convert` takes. Beside it lies what each round has found, until all is done: after an
            interruption the same call goes on with the next round.
        recipe: of `make_recipe`, or one of its kind.
        rounds: in which the final share of zeros is reached, by the same share of what is left in each.
        rewind_epoch: to the weights after how many epochs of the dense training.
        seeds: how many networks, from seed 0 on.
        force: draw again even if `out` is up to date or rounds are left from before.
        progress: told what was found.

    Raises:
        RecipeError: the recipe fits no layer or is not for this. UsageError: rounds, seeds or epoch out of range, or
            `out` holds something else. ModelError, InputRefused: as of `prune`.
    """
    recipe = recipe or make_recipe()
    _check(recipe, rounds, rewind_epoch, seeds)
    from edgesparse.lottery.drawing import Drawing
    from edgesparse.prune.data import Data, as_data, load_data
    from edgesparse.prune.models import check_keras2, load_model
    from edgesparse.report.lottery_figure import draw

    out = Path(out)
    refuse_foreign(out, RESULT_FILE)
    network = load_model(model) if isinstance(model, str | Path) else check_keras2(model, "the model given")
    samples: Data = load_data(data) if isinstance(data, str) else as_data(data, "data")
    drawing = Drawing(network, samples, recipe, rounds, rewind_epoch, out, progress or (lambda text: None))
    key = drawing.key(seeds)
    if not force and (found := read_lottery(out, key)):
        return found
    if force:
        drawing.forget()
    rows = [row for seed in range(seeds) for row in drawing.draw(seed)]
    found = Lottery(
        key=key,
        model=network.name,
        pattern=recipe.pattern,
        sparsity=recipe.sparsity or 0.0,
        rounds=rounds,
        rewind_epoch=rewind_epoch,
        epochs=recipe.fine_tune.epochs,
        seeds=seeds,
        samples=len(samples.x_test),
        rows=rows,
    )
    with replacing(out) as directory:
        drawing.write_ticket(found.best_seed, directory / "ticket")
        draw(found, directory / "lottery.svg")
        (directory / RESULT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    drawing.forget()
    return found


def _check(recipe: Recipe, rounds: int, rewind_epoch: int, seeds: int) -> None:
    if recipe.sparsity is None or recipe.scope != "layer" or recipe.layers or recipe.quantize.kind != "none":
        raise RecipeError(
            f"Recipe {recipe.name}: a lottery needs one share of zeros, the same in every layer, and float weights.",
            hint="Leave scope, layers, [quantize] and N:M patterns out.",
        )
    for name, value, least, most in (
        ("rounds", rounds, 1, 100),
        ("seeds", seeds, 1, 1000),
        ("rewind_epoch", rewind_epoch, 0, recipe.fine_tune.epochs - 1),
    ):
        if not least <= value <= most:
            raise UsageError(f"Expected {name} from {least} to {most}, found {value}.", hint="Mend the value.")
