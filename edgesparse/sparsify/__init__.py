"""Prunes a finished .tflite file, from whatever trainer, without TensorFlow and without training.

Its zeros go into the flatbuffer itself, by magnitude; what is not a pruned weight stays as it was. The result is a
bundle like that of `convert`: the file as it came (what it stored sparsely is stored dense), the pruned one with sparse
encodings, its twin with the same weights stored dense, and golden inputs and outputs that every runtime here was held
against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgesparse import __version__
from edgesparse.agent.lean import give_back_unused
from edgesparse.convert import Bundle, golden, toolchain, up_to_date
from edgesparse.convert.building import Exported, complete, read_contents
from edgesparse.convert.bundle import CAME_OPEN, CAME_SPARSE, DENSE, MANIFEST, HostParity, staged
from edgesparse.convert.layers import Wish
from edgesparse.convert.workers import Workers
from edgesparse.errors import ModelError, ParityError, RecipeError
from edgesparse.files import sha256_of, sync
from edgesparse.patterns import parse_pattern
from edgesparse.recipe import BLOCK, Recipe, Schedule
from edgesparse.sparsify.checking import check, describe_variants, draw_inputs, keep_samples, run_reference
from edgesparse.sparsify.sizing import fix_size
from edgesparse.sparsify.writing import write_original, write_pruned

__all__ = ["make_recipe", "sparsify"]

Say = Callable[[str], None]

_KEEP_GOING = (
    "Take another pattern. `edgesparse.sparsify(..., keep_going=True)` makes the bundle all the same and records the "
    "failures in it."
)


def make_recipe(
    pattern: str,
    sparsity: float | None = None,
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    first_layer: bool = False,
) -> Recipe:
    """A recipe for one-shot pruning, named like the shipped ones: block-16x1-80.

    Args:
        pattern: as in a recipe; 16x1 for "block 16x1".
        sparsity: share of zeros, 0..1; None for N:M.
        include, exclude: regular expressions over layer names.
        first_layer: whether the first layer is pruned too.

    Raises:
        RecipeError: no such pattern, or a sparsity that it cannot have.
    """
    found = str(parse_pattern(pattern))
    share = "" if sparsity is None else f"-{100 * sparsity:g}"
    return Recipe(
        name=found.replace(" ", "-").replace(":", "-") + share,
        pattern=found,
        sparsity=sparsity,
        include=include or (".*",),
        exclude=exclude,
        first_layer=first_layer,
        schedule=Schedule(kind="constant", begin=0.0),
    )


def sparsify(
    model: str | Path,
    recipe: Recipe,
    out: str | Path,
    *,
    data: Any = None,
    name: str | None = None,
    force: bool = False,
    keep_going: bool = False,
    progress: Say | None = None,
) -> Bundle:
    """Prune a .tflite file by magnitude and bundle it with the file as it came.

    Args:
        model: a .tflite file: float32, float16 or int8 weights.
        recipe: pattern, sparsity and layers; its training is not used. `make_recipe` makes one.
        out: directory for the bundle, as of `convert`.
        data: held-out data for accuracy and golden inputs, as of `convert`; random inputs where None. An input of no
            fixed size takes theirs in the bundle's files.
        name: the bundle's name; the model's where None.
        force: prune even if the bundle is up to date.
        keep_going: keep a file that fails the parity gate and record that.
        progress: told what is being done.

    Raises:
        ModelError: no .tflite file, or one that cannot be handled. RecipeError: it prunes no layer.
        ParityError: the pruned file does not give its twin's outputs under a runtime and backend.
        BundleError: `out` is something else than a bundle, or cannot be written.
    """
    model, out, say = Path(model), Path(out), progress or (lambda text: None)
    if not model.is_file() or not model.stat().st_size:
        what = "a directory" if model.is_dir() else "an empty file" if model.is_file() else "nothing"
        raise ModelError(f"Expected a .tflite file, found {what} at {model}.", hint="Check the path.")
    _check(recipe)
    if data is not None:
        from edgesparse.prune.data import as_data, load_data

        data = load_data(data) if isinstance(data, str) else as_data(data, "data")
    versions, name = toolchain(), name or model.stem
    with ThreadPoolExecutor(1) as meanwhile, ExitStack() as leaving:
        leaving.callback(meanwhile.shutdown, cancel_futures=True)
        key = meanwhile.submit(_key, model, recipe, data, name, versions)
        if not force and (out / MANIFEST).exists():
            existing = up_to_date(out, key.result(), keep_going)
            if existing is not None:
                return existing
        with staged(out) as directory:
            with Workers() as workers:
                workers.submit(workers.prepare(golden.RUNTIME))
                variants, rows = _make(model, recipe, directory, data, workers, meanwhile, say, keep_going=keep_going)
            manifest = complete(
                directory, variants, rows, data, name=name, key=key.result(), toolchain=versions, say=say
            )
    return Bundle(out, manifest, sha256_of(out / MANIFEST))


def _make(
    model: Path,
    recipe: Recipe,
    directory: Path,
    data: Any,
    workers: Workers,
    meanwhile: ThreadPoolExecutor,
    say: Say,
    *,
    keep_going: bool,
) -> tuple[list[Exported], list[HostParity]]:
    """Write and check all files of the bundle but the manifest."""
    original = write_original(model, directory, say)
    shape = None
    if data is not None and original.open_inputs:
        shape = fix_size(directory / original.file, data.x_test)
    if shape:
        say(f"the input of no fixed size takes the data's: {'x'.join(map(str, shape))}")
        original = replace(original, open_inputs=())
    elif original.open_inputs:
        say(f"inputs of no fixed size are taken as 1 where they are open: {', '.join(original.open_inputs)}")
    draw_inputs(model, directory, original, None if data is None else data.x_test)
    if original.signatures > 1:
        say(f"the file has {original.signatures} signatures: all are pruned, the first one is run and compared")
    # Golden outputs are another process's work: each file's begin as soon as it is written.
    goldens = []

    def start_golden(name: str, file: str) -> None:
        goldens.append(workers.submit(run_reference(workers, directory, name, file, original)))

    if not original.doubles:
        start_golden(DENSE, original.file)
    pruned = write_pruned(model, original, recipe, directory, say, partial(start_golden, recipe.name))
    if original.doubles:
        start_golden(DENSE, original.file)
    say("computing golden outputs")
    variants = describe_variants(directory, recipe, original, pruned)
    if shape:
        variants[0].source.wishes.update(dict.fromkeys(pruned.wishes, Wish(DENSE, CAME_OPEN)))
    variants[0].source.wishes.update(dict.fromkeys(original.came_sparse, Wish(DENSE, CAME_SPARSE)))
    contents = [meanwhile.submit(read_contents, directory, variant) for variant in variants]
    for path in {each for variant in variants for each in (variant.file, variant.reference)}:
        meanwhile.submit(sync, directory / path)  # so that little is left to wait for when all is done
    give_back_unused()
    keep_samples(directory, variants, min(each.result() for each in goldens))
    try:
        rows = check(workers, directory, variants, pruned, keep_going=keep_going, say=say)
    except ParityError as error:
        raise ParityError(error.message, hint=_KEEP_GOING) from None
    for variant, found in zip(variants, contents, strict=True):
        variant.contents = found.result()
    return variants, rows


def _check(recipe: Recipe) -> None:
    if recipe.quantize.kind != "none":
        raise RecipeError(
            f"Recipe {recipe.name} quantises, which sparsify does not: it prunes a finished file.",
            hint="Leave [quantize] out; a file of int8 weights stays int8.",
        )
    for key, asked in (('scope = "global"', recipe.scope == "global"), ("permute", recipe.permute)):
        if asked:
            raise RecipeError(
                f"Recipe {recipe.name} asks for {key}, which sparsify does not do: it takes one layer at a time.",
                hint="Leave it out, or prune the Keras model: edgesparse prune.",
            )
    if recipe.pattern == BLOCK:
        raise RecipeError(f"Recipe {recipe.name} leaves the block to the board.", hint="Name the pattern, or a board.")


def _key(model: Path, recipe: Recipe, data: Any, name: str, versions: Mapping[str, str]) -> str:
    """A hash of all that goes into the bundle."""
    parts = [__version__, "sparsify", name, json.dumps(versions, sort_keys=True), sha256_of(model), recipe.digest()]
    return hashlib.sha256("\n".join([*parts, *([] if data is None else [data.digest()])]).encode()).hexdigest()
