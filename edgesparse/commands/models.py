"""Commands about models, on this machine: prune, convert, explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgesparse.commands.options import AsJson, BoardName, DataSpec
from edgesparse.errors import UsageError


def prune(
    model: Annotated[str, typer.Argument(help="A trained Keras 2 model: a file or directory, or module:function.")],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="A named recipe or a recipe file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the pruned model.")],
    data: DataSpec = "digits",
    board: Annotated[
        str, typer.Option("--board", "-b", help="Whose block a recipe takes that leaves the pattern to the board.")
    ] = "local",
    rewrite: Annotated[
        bool,
        typer.Option("--prepare", help="Rewrite it first, as `edgesparse prepare`, so that XNNPACK runs it sparse."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prune again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prune a model by a recipe and fine-tune it."""
    from edgesparse import console, prune
    from edgesparse.boards.inventory import type_of
    from edgesparse.recipe import load_recipe
    from edgesparse.report.tables import pruning_table

    kind = type_of(board)
    wanted = load_recipe(recipe).for_block(kind.block, kind.block_int8)
    console.say("loading TensorFlow")
    given: Any = model
    if rewrite:
        from edgesparse import prepare
        from edgesparse.report.tables import preparation_table

        prepared = prepare(model, progress=console.say)
        console.talk.print(preparation_table(prepared.model.name, prepared.preparation))
        given = prepared.model
    pruned = prune(given, wanted, data or "digits", out=out, force=force, progress=console.say_epoch)
    if as_json:
        console.print_json({"out": str(out), "reused": pruned.reused, "report": pruned.report})
    else:
        console.data.print(pruning_table(pruned))


def convert(
    models: Annotated[
        list[str], typer.Argument(help="Pruned model directories, and the dense model where there is one.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the bundle.")],
    data: DataSpec = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's name.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Convert again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert models to dense and sparse TFLite files, hold them against each other, and bundle them."""
    from edgesparse import console, convert
    from edgesparse.explain.forewarning import forewarnings
    from edgesparse.report.tables import bundle_table

    bundle = convert(models, out, data=data, name=name, force=force, progress=console.say)
    warnings = forewarnings(bundle)
    if as_json:
        console.print_json(
            {"out": str(out), "id": bundle.id, "reused": bundle.reused, "warnings": warnings,
             "manifest": bundle.manifest}
        )  # fmt: skip
    else:
        console.data.print(bundle_table(bundle, warnings))


def explain(
    model: Annotated[str, typer.Argument(help="A .tflite file, or a Keras model that is converted first.")],
    board: BoardName = "local",
    backends: Annotated[
        list[str] | None, typer.Option("--backend", help="Explain only this backend; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say for every operator and backend whether it will run sparse on a board, why, and what would cure it."""
    from edgesparse import console, explain
    from edgesparse.boards.inventory import type_of
    from edgesparse.report.explain_table import render

    explanation = explain(model, type_of(board), backends=backends or None)
    if as_json:
        console.print_json(explanation)
    else:
        console.data.print(render(explanation))


def check(
    model: Annotated[str, typer.Argument(help="A .tflite file, or a Keras model.")],
    pattern: Annotated[str, typer.Option("--pattern", "-p", help="2:4, 16x1 (outputs x inputs), filter.")],
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Check only layers that this expression matches.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Leave out layers that this expression matches.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say layer by layer whether the zeros of a file have a pattern, such as 2:4; exit code 3 if they do not."""
    from edgesparse import check, console
    from edgesparse.report.tables import check_table

    checked = check(model, pattern, include=include or (".*",), exclude=exclude or ())
    if as_json:
        console.print_json(checked)
    else:
        console.data.print(check_table(checked))
    checked.require_valid()


def sparsify(
    model: Annotated[Path, typer.Argument(help="A .tflite file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the bundle.")],
    pattern: Annotated[
        str | None, typer.Option("--pattern", "-p", help="unstructured, 16x1 (outputs x inputs), 2:4, filter.")
    ] = None,
    sparsity: Annotated[float | None, typer.Option("--sparsity", "-s", help="Share of zeros of each layer.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Or a named recipe or a recipe file, for its [prune].")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Prune only layers that this expression matches.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="Leave layers that this expression matches.")
    ] = None,
    first_layer: Annotated[
        bool, typer.Option("--first-layer", help="Prune the first layer too if it is a convolution.")
    ] = False,
    data: DataSpec = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's name.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Prune again even if OUT is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prune a finished .tflite file, from any trainer, and bundle it with itself: no TensorFlow, no training."""
    from edgesparse import console, sparsify
    from edgesparse.explain.forewarning import forewarnings
    from edgesparse.recipe import load_recipe
    from edgesparse.report.tables import bundle_table, layers_table
    from edgesparse.sparsify import make_recipe

    if (pattern is None) == (recipe is None):
        found = "both" if pattern else "none"
        raise UsageError(
            f"Expected --pattern or --recipe, found {found}.", hint="For example --pattern 16x1 --sparsity 0.8"
        )
    if recipe is None:
        assert pattern is not None
        wanted = make_recipe(
            pattern, sparsity, include=tuple(include or ()), exclude=tuple(exclude or ()), first_layer=first_layer
        )
    elif sparsity is not None or include or exclude or first_layer:
        raise UsageError(
            "Expected --recipe alone, found options that it has itself.", hint="Write them into the recipe."
        )
    else:
        wanted = load_recipe(recipe)
    bundle = sparsify(model, wanted, out, data=data, name=name, force=force, progress=console.say)
    warnings = forewarnings(bundle)
    if as_json:
        console.print_json(
            {"out": str(out), "id": bundle.id, "reused": bundle.reused, "warnings": warnings,
             "manifest": bundle.manifest}
        )  # fmt: skip
    else:
        console.data.print(layers_table(bundle.variant(wanted.name)))
        console.data.print(bundle_table(bundle, warnings))
