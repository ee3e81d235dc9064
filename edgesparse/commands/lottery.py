"""The command `lottery`: tickets and their controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, DataSpec


def lottery(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the table, the figure and the best ticket.")],
    model: Annotated[
        str, typer.Argument(help="A Keras 2 model, or module:function; its weights are drawn anew.")
    ] = "edgesparse.examples.digits:lenet",
    data: DataSpec = "digits",
    pattern: Annotated[str, typer.Option("--pattern", "-p", help="unstructured, 4x1, filter.")] = "unstructured",
    sparsity: Annotated[float, typer.Option("--sparsity", "-s", help="Share of zeros in the last round.")] = 0.8,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds of pruning and training again.")] = 4,
    rewind_epoch: Annotated[
        int, typer.Option("--rewind-epoch", help="Rewind to the weights after this epoch; 0: to the initial ones.")
    ] = 0,
    epochs: Annotated[int, typer.Option("--epochs", help="Of each training.")] = 3,
    seeds: Annotated[int, typer.Option("--seeds", help="How many networks.")] = 3,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Falls to zero along a cosine.")] = 1e-3,
    optimizer: Annotated[str, typer.Option("--optimizer", help="adam, adamw, sgd, rmsprop.")] = "adam",
    batch_size: Annotated[int, typer.Option("--batch-size")] = 32,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Leave layers that this expression matches.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Draw again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lottery tickets: prune round by round, rewind, train again, beside new weights and random masks."""
    from edgesparse import console, lottery
    from edgesparse.lottery import make_recipe
    from edgesparse.report.tables import lottery_table

    recipe = make_recipe(
        pattern, sparsity, epochs=epochs, learning_rate=learning_rate, optimizer=optimizer, batch_size=batch_size,
        exclude=tuple(exclude or ()),
    )  # fmt: skip
    console.say("loading TensorFlow")
    found = lottery(
        model, data or "digits", out, recipe=recipe, rounds=rounds, rewind_epoch=rewind_epoch, seeds=seeds, force=force,
        progress=console.say,
    )  # fmt: skip
    if as_json:
        console.print_json({"out": str(out), "verdict": found.verdict, "levels": found.levels, "lottery": found})
    else:
        console.data.print(lottery_table(found))
        console.say(f"figure: {out / 'lottery.svg'}; the best ticket, for `edgesparse convert`: {out / 'ticket'}")
