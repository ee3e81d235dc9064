"""The command `sensitivity`: which layers bear how many zeros."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesparse.commands.options import AsJson, DataSpec
from edgesparse.errors import UsageError


def sensitivity(
    model: Annotated[str, typer.Argument(help="A trained Keras 2 model: a file or directory, or module:function.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for figure, recipe and figures as JSON.")],
    pattern: Annotated[
        str, typer.Option("--pattern", "-p", help="unstructured, block 4x1 (outputs x inputs), 2:4, filter.")
    ] = "unstructured",
    sparsity: Annotated[
        str | None, typer.Option("--sparsity", "-s", help="Shares of zeros, such as 0.5,0.7,0.9; not for N:M.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option("--max-drop", help="Points of accuracy that the recipe may cost, in percent.")
    ] = 1.0,
    data: DataSpec = "digits",
    samples: Annotated[
        int, typer.Option("--samples", help="Judge layers on so many held-out samples at most.", min=1)
    ] = 2000,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Measure only layers that this expression matches.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Leave layers that this expression matches.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The recipe's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of each layer at each sparsity, one at a time, and a recipe that keeps a given drop."""
    from edgesparse import console, sensitivity
    from edgesparse.report.sensitivity import render
    from edgesparse.sensitivity import RECIPE_FILE

    found = sensitivity(
        model, pattern, data or "digits", sparsities=_shares(sparsity), max_drop=max_drop / 100, samples=samples,
        include=include or (), exclude=exclude or (), name=name, out=out, progress=console.say,
    )  # fmt: skip
    if as_json:
        console.print_json({"out": str(out), **_plain(found)})
    else:
        console.data.print(render(found, str(out / RECIPE_FILE)))


def _plain(found: object) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(found))


def _shares(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"Expected numbers with commas between, found {text!r}.", hint="--sparsity 0.5,0.7,0.9"
        ) from None
