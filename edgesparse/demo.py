"""`edgesparse demo`: the whole path on a small CNN and real digits. Each step prints the command that does the same."""

from __future__ import annotations

from pathlib import Path

from edgesparse import console

RECIPES = ("unstructured-80", "block-4x1-80", "two-four")
# In the block that fits the board's int8 dot products.
INT8_RECIPE = "block-{}-80-int8"


def run_demo(out: Path, *, board: str, host: str | None, bundle_only: bool) -> None:
    """Train, prune four ways, one of them to int8, convert; then, unless `bundle_only`, deploy, measure and compare.

    What an earlier demo left in `out` and is still valid is used again.

    Args:
        out: directory for models and bundle.
        board: where to measure.
        host: where that board is, when the inventory does not say.
        bundle_only: stop when the bundle is made.
    """
    bundle = make_bundle(out, board)
    if bundle_only:
        return
    where = f"--board {board}" + (f" --host {host}" if host else "")
    from edgesparse.commands.measuring import bench, deploy

    console.command(f"edgesparse deploy {bundle} {where}")
    deploy(bundle, board=board, host=host)
    console.command(f"edgesparse bench {bundle} {where} --rounds 8 --time-limit 120")
    bench(bundle, board=board, host=host, rounds=8, time_limit=120.0)


def make_bundle(out: Path, board: str) -> Path:
    """Train, prune and convert what is not there yet; returns the bundle's directory."""
    from edgesparse.boards.inventory import type_of
    from edgesparse.commands.models import convert, prune
    from edgesparse.prune import train_example

    dense, bundle = out / "dense", out / "bundle"
    console.command(
        "edgesparse.prune.train_example(): a small MobileNet-style CNN on scikit-learn's handwritten digits"
    )
    trained = train_example(dense, progress=console.say_epoch)
    again = ", trained earlier" if trained.reused else ""
    console.say(f"accuracy {trained.accuracy:.1%} of {trained.accuracy_samples} held-out digits{again}: {dense}")
    pruned = []
    for recipe in (*RECIPES, INT8_RECIPE.format(type_of(board).block_int8)):
        directory = out / recipe
        console.command(f"edgesparse prune {dense} --data digits --recipe {recipe} --out {directory}")
        prune(str(dense), recipe=recipe, out=directory, data="digits")
        pruned.append(str(directory))
    console.command(f"edgesparse convert {dense} {' '.join(pruned)} --data digits --name digits --out {bundle}")
    convert([str(dense), *pruned], out=bundle, data="digits", name="digits")
    return bundle
