"""The lab: six patterns of zeros at equal sparsity on one small CNN, held against each other in everything that
sparsity is for: bytes, regularity, accuracy, latency. It ends in one page.

The main flow reads from top to bottom in `lab`. What an earlier lab left in its directory and is still valid is used
again; only the latency is measured anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgesparse import __version__
from edgesparse.errors import RecipeError
from edgesparse.files import refuse_foreign, replacing
from edgesparse.lab.result import Lab, PatternResult
from edgesparse.patterns import NM, Block, Filter, Pattern, Unstructured
from edgesparse.recipe import FineTune, Recipe, Schedule

if TYPE_CHECKING:
    from edgesparse.boards.following import OnMessage
    from edgesparse.boards.inventory import Board
    from edgesparse.convert import Bundle
    from edgesparse.prune import EpochDone, Pruned
    from edgesparse.report.summary import Comparison

__all__ = ["Lab", "PatternResult", "lab"]

PAGE_FILE = "index.html"
RESULT_FILE = "lab.json"
NAME = "lab"
# The convolutions of 1x1, in which nearly all the work is; every pattern fits each of them without a ragged edge.
LAYERS = "pointwise[0-9]+"
# The one whose tensor is looked at: the largest.
LAYER = "pointwise3"
GROUP = 4
SPARSITIES = (0.25, 0.5, 0.75)
EPOCHS = 1
# The fewest launches that an interval needs, and not many more: a lab takes minutes.
ROUNDS = (6, 8)
# The whole lab is to end within this time on a slow machine; measuring has what is left of it, and at least a minute.
WHOLE_S = 270.0
LEAST_S = 60.0

Say = Callable[[str], None]


def lab(
    out: str | Path,
    board: Board | str = "local",
    *,
    sparsity: float = 0.5,
    epochs: int = EPOCHS,
    rounds: tuple[int, int] = ROUNDS,
    time_limit_s: float | None = None,
    progress: Say | None = None,
    on_epoch: Callable[[EpochDone], None] | None = None,
    on_message: OnMessage = lambda message: None,
    reach: Callable[[Board], Any] | None = None,
) -> Lab:
    """Train, prune in six patterns, convert, measure on a board, and write the page.

    Args:
        out: directory; the page is `page/index.html` in it, beside the same as `lab.json`.
        board: where to measure: a board, or its name in the inventory.
        sparsity: share of zeros in every pruned layer: 0.25, 0.5 or 0.75, so that N:4 has it too.
        epochs: of fine-tuning, the same for every pattern.
        rounds: the fewest and the most launches of every cell.
        time_limit_s: the measuring stops after so long; where None, so that the whole lab takes `WHOLE_S` seconds.
        progress: told each step.
        on_epoch: told each epoch of training.
        on_message: given each message of the run.
        reach: opens a transport to a board; as `edgesparse.bench`.

    Raises:
        RecipeError: a sparsity that not every pattern can have. UsageError: no such board, or `out` holds other things.
        BoardError: the board is out of reach. MeasurementError: nothing could be timed.
    """
    from edgesparse.bench import bench
    from edgesparse.boards import reach as usual_reach
    from edgesparse.boards.inventory import resolve

    started, say, out = time.monotonic(), progress or (lambda text: None), Path(out)
    recipes = make_recipes(sparsity, epochs)
    where, how = resolve(board) if isinstance(board, str) else board, reach or usual_reach
    refuse_foreign(out / "page", RESULT_FILE)
    _ask(where, how, say)
    dense, pruned = _train(out, recipes, say, on_epoch)
    bundle = _convert(out, dense, pruned, say)
    say(f"measuring {len(bundle.manifest.variants)} variants on {where.name}")
    threads = (where.threads or where.type.limits.threads)[0]
    if time_limit_s is None and not where.type.emulated:
        time_limit_s = max(LEAST_S, WHOLE_S - (time.monotonic() - started))
    run = bench(
        bundle, where, threads=[threads], rounds=None if where.type.emulated else rounds,
        time_limit_s=time_limit_s, progress=say,
        on_message=on_message, reach=how,
    )  # fmt: skip
    comparison = run.comparison()
    result = Lab(
        created=comparison.created,
        edgesparse=__version__,
        board=comparison.board,
        run=comparison.run,
        quantity=comparison.measured,
        runtime=_runtime(comparison),
        sparsity=sparsity,
        epochs=epochs,
        pruned_layers=[layer.name for layer in pruned[0].report.layers if layer.pruned],
        layer=LAYER,
        shape=(),
        samples=bundle.manifest.variants[0].accuracy_samples,
        patterns=_look(bundle, where, pruned, comparison, sparsity),
        conclusions=[],
        warnings=comparison.warnings,
        toolchain=bundle.manifest.toolchain,
        seconds=round(time.monotonic() - started, 1),
    )
    return _write(out / "page", result)


def make_recipes(sparsity: float, epochs: int = EPOCHS) -> list[Recipe]:
    """The six recipes: the same layers, sparsity, schedule and fine-tuning, and nothing else than another pattern.

    Raises:
        RecipeError: a sparsity that N:4 does not have, or no epochs.
    """
    if sparsity not in SPARSITIES:
        there = ", ".join(f"{share:g}" for share in SPARSITIES)
        raise RecipeError(
            f"The lab compares N:{GROUP} too, which has the sparsities {there}; found {sparsity:g}.",
            hint="Take one of these.",
        )
    n_of_m = _n_of_m(sparsity)
    patterns: Sequence[Pattern] = (Unstructured(), n_of_m, Block(2, 2), Block(4, 1), Block(16, 1), Filter())
    return [
        Recipe(
            name=f"{str(pattern).replace(' ', '-').replace(':', '-of-')}-{100 * sparsity:g}",
            pattern=str(pattern),
            sparsity=None if pattern == n_of_m else sparsity,
            include=(LAYERS,),
            # The masks are chosen at once, in the first step: the one schedule that N:M can have too.
            schedule=Schedule(kind="constant", begin=0.0, end=0.0, updates=1),
            fine_tune=FineTune(epochs=epochs),
        )
        for pattern in patterns
    ]


def _n_of_m(sparsity: float) -> NM:
    return NM(round((1 - sparsity) * GROUP), GROUP)


def _ask(board: Board, reach: Callable[[Board], Any], say: Say) -> None:
    """A board that does not answer is better known before minutes of training."""
    from edgesparse.boards.session import BoardSession

    with BoardSession(board, reach, say) as session:
        assert session.facts


def _train(
    out: Path, recipes: Sequence[Recipe], say: Say, on_epoch: Callable[[EpochDone], None] | None
) -> tuple[Path, list[Pruned]]:
    """The dense network and its pruned ones, each trained here or earlier."""
    say("loading TensorFlow")
    from edgesparse.prune import load_data, load_model, prune, train_example

    trained = train_example(out / "dense", progress=on_epoch, small=True)
    again = ", trained earlier" if trained.reused else ""
    say(f"dense: accuracy {trained.accuracy:.1%} of {trained.accuracy_samples} held-out digits{again}")
    model, data = load_model(trained.path), load_data("digits")
    pruned = []
    for number, recipe in enumerate(recipes, 1):
        say(f"pattern {number} of {len(recipes)}: {recipe.pattern}")
        done = prune(model, recipe, data, out=out / recipe.name, progress=on_epoch)
        again = ", pruned earlier" if done.reused else ""
        say(f"{recipe.pattern}: accuracy {done.report.accuracy_after:.1%} after fine-tuning{again}")
        pruned.append(done)
    return trained.path, pruned


def _convert(out: Path, dense: Path, pruned: Sequence[Pruned], say: Say) -> Bundle:
    from edgesparse.convert import convert

    return convert([dense, *(each.path for each in pruned)], out / "bundle", data="digits", name=NAME, progress=say)


def _look(
    bundle: Bundle, board: Board, pruned: Sequence[Pruned], comparison: Comparison, sparsity: float
) -> list[PatternResult]:
    from edgesparse.lab.looking import look
    from edgesparse.lab.reasons import measured_rows

    one_shot = {each.recipe.name: each.report.accuracy_pruned for each in pruned}
    return [
        look(
            bundle, variant, LAYER, _n_of_m(sparsity), one_shot.get(variant.name),
            measured_rows(bundle, variant, board.type, comparison),
        )
        for variant in bundle.manifest.variants
    ]  # fmt: skip


def _runtime(comparison: Comparison) -> str:
    runtimes = (row.runtime for variant in comparison.variants for row in variant.backends)
    return next((f"{runtime['name']} {runtime['version']}" for runtime in runtimes if runtime), "unknown")


def _write(out: Path, measured: Lab) -> Lab:
    from edgesparse.lab.conclusions import conclude
    from edgesparse.lab.page import render

    result = msgspec.structs.replace(measured, shape=measured.dense.shape, conclusions=conclude(measured))
    with replacing(out) as directory:
        (directory / PAGE_FILE).write_text(render(result), encoding="utf-8")
        (directory / RESULT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return result
