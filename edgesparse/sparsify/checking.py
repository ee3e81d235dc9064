"""Golden inputs and outputs for a sparsified file, the parity gate, and the bundle's manifest.

Files run in worker processes only: one that aborts a runtime is an error, and this process never holds the weights of a
loaded model beside those that it has just written. TensorFlow's runtime is not among those asked: importing it would
take longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgesparse.agent.process import WorkerFailed
from edgesparse.agent.quantised import ROUNDING
from edgesparse.agent.worker import load_arrays
from edgesparse.convert import golden
from edgesparse.convert.building import INPUTS, Exported
from edgesparse.convert.bundle import DENSE, HostParity
from edgesparse.convert.flatbuffer import unpack
from edgesparse.convert.parity import (
    IN_PROCESS,
    Check,
    Lean,
    check_all,
    checked_backends,
    find_kernels,
    installed_runtimes,
    refuse_failed,
)
from edgesparse.convert.room import Needs
from edgesparse.convert.sources import Source
from edgesparse.convert.workers import Workers
from edgesparse.errors import ModelError
from edgesparse.files import mapped
from edgesparse.recipe import Recipe, dumps
from edgesparse.sparsify.writing import Original, Pruned
from edgesparse.wire import XNNPACK

# For the golden outputs of a file: a large model gets fewer samples.
GOLDEN_S = 0.1
# What all processes together may take: so much, or three times the file as it came.
CHECKING_BYTES = 300_000_000
# This process, and a worker for each runtime, whose children check.
BESIDE_BYTES = 120_000_000
# What a check takes beside weights: before it begins, and for what it computes.
SMALL_BYTES, BUFFER_BYTES = 8_000_000, 30_000_000
# How much farther apart than in the file as it came roundings may be: it is the largest of few values.
ROUNDING_SLACK = 2
# Precisions whose weights are floats.
FLOATS = ("float32", "float16")


def checked_runtimes() -> list[str]:
    """Those that files are checked under."""
    return [each for each in installed_runtimes() if each != IN_PROCESS]


def draw_inputs(model: Path, directory: Path, original: Original, held_out: Any) -> None:
    """Write golden inputs for what was made of `model`: samples of the held-out data, random ones where there is none.

    Raises:
        ModelError: the data does not have the shape of the model's only input; inputs that cannot be drawn.
    """
    (directory / "golden").mkdir()
    with mapped(directory / original.file) as content:
        found = unpack(str(model), content)[1][0]
        _save(directory / INPUTS, golden.sample_inputs(found, held_out))


async def run_reference(workers: Workers, directory: Path, name: str, file: str, original: Original) -> int:
    """Write the outputs of a variant's file under the reference kernels, and say for how many golden inputs there was
    time.

    Raises:
        ModelError: the runtime does not run it.
    """
    backend = golden.REFERENCE_BACKEND if original.precision in FLOATS else golden.QUANTISED_BACKEND
    paths = {"model": file, "inputs": INPUTS, "outputs": _golden(name)}
    absolute = {key: str((directory / path).absolute()) for key, path in paths.items()}
    message = {"type": "run", **absolute, "backend": backend, "runtime": golden.RUNTIME, "limit_s": GOLDEN_S}
    message["kernels"] = find_kernels()
    async with workers.of(golden.RUNTIME) as worker:
        try:
            return int((await worker.ask(message))["samples"])
        except WorkerFailed as failure:
            what = "the model" if file == original.file else f"its pruned copy {file}"
            hint = "Give a file that this runtime runs."
            if original.open_inputs:
                hint = (
                    f"Give one with inputs of a fixed size; open are {', '.join(original.open_inputs)}, taken as 1. "
                    "Where it is one input, it takes the size of samples that --data gives."
                )
            raise ModelError(
                f"{golden.RUNTIME} does not run {what}: {failure.reason.rstrip('.')}.", hint=hint
            ) from None


def describe_variants(directory: Path, recipe: Recipe, original: Original, pruned: Pruned) -> list[Exported]:
    """The two variants, the file as it came first; writes the recipe beside them."""
    (directory / "recipes").mkdir()
    path = f"recipes/{recipe.name}.toml"
    (directory / path).write_text(dumps(recipe))
    names, precision = pruned.layer_names, original.precision
    dense = Source(DENSE, original.file, None, {})
    source = Source(recipe.name, original.file, recipe, pruned.wishes)
    return [
        Exported(dense, original.file, None, _golden(DENSE), None, None, names, precision),
        Exported(source, pruned.file, pruned.twin, _golden(recipe.name), path, None, names, precision),
    ]


def keep_samples(directory: Path, variants: Sequence[Exported], count: int) -> None:
    """Keep the first `count` of the golden inputs and outputs."""
    for path in (INPUTS, *(variant.golden for variant in variants)):
        _save(directory / path, [array[:count] for array in load_arrays(str(directory / path))])


def check(
    workers: Workers,
    directory: Path,
    variants: Sequence[Exported],
    written: Pruned,
    *,
    keep_going: bool,
    say: Callable[[str], None],
) -> list[HostParity]:
    """The parity gate for the pruned file, of the two variants, of which `written` says more.

    Where the memory that XNNPACK takes for the pruned file is out of proportion, its twin is checked under it instead;
    where it is for that too, neither is. Where an int8 file fails, what roundings do to the file as it came is written
    beside the pruned one's golden outputs, and the gate opens once more.

    Raises:
        ParityError: it does not give its twin's outputs, where the file as it came gives its own.
    """
    original, (pruned, *twins) = variants[0].checks(), variants[1].checks()
    runtimes = checked_runtimes()
    checks, room = _in_proportion(directory, variants[0], written, pruned, twins[0] if twins else None)
    originals, _ = _in_proportion(directory, variants[0], replace(written, indices=0), original[0], None)
    rows = check_all(directory, INPUTS, checks, say, runtimes=runtimes, room=room, workers=workers)
    if all(row.ok for row in rows):
        return rows
    as_it_came = check_all(directory, INPUTS, originals, say, runtimes=runtimes, room=room, workers=workers)
    rounding = ROUNDING_SLACK * max((row.steps for row in as_it_came if row.ok and row.steps), default=0)
    if rounding and variants[0].precision not in FLOATS:
        # Zeros make outputs smaller, and what rounding adds to them not: what it added before is no fault of the file.
        path = directory / pruned.golden
        np.savez(path, **_numbered(load_arrays(str(path))), **{ROUNDING: np.int64(rounding)})
        rows = check_all(directory, INPUTS, checks, say, runtimes=runtimes, room=room, workers=workers)
    rows += as_it_came
    # Where the file as it came does not give its golden outputs either, it is the runtime that differs.
    differs = {(row.runtime, row.backend): row.reason for row in rows if row.file == original[0].file and not row.ok}
    for (runtime, backend), reason in differs.items():
        say(f"as it came, the model fails under {runtime}, backend {backend}: {reason}")
    if not keep_going:
        refuse_failed([row for row in rows if (row.runtime, row.backend) not in differs], [*checks, *original])
    return rows


def _in_proportion(
    directory: Path, dense: Exported, written: Pruned, pruned: Check, twin: Check | None
) -> tuple[list[Check], int]:
    """The checks of a file, lean where those of all backends would take memory out of proportion, and the room for lean
    ones, in bytes.

    Args:
        directory: where the files are.
        dense: the file as it came, whose size is the measure.
        written: what is known of the files.
        pruned: the check of all backends; of the file as it came itself, too.
        twin: the same of its twin; None where nothing is stored sparsely.
    """
    size = {path: (directory / path).stat().st_size for path in (dense.file, pruned.file)}
    affordable = max(CHECKING_BYTES, 3 * size[dense.file])
    room = affordable - BESIDE_BYTES
    layers = [(4 * weights, stored) for weights, stored in written.stored]
    packed = sum(floats for floats, _ in layers)
    indices = 4 * written.indices + SMALL_BYTES  # which runtimes copy first, as int32 each
    if dense.precision in FLOATS:
        # XNNPACK keeps what it has unpacked beside what it has packed, of sparse tensors every weight: ResNet-50 of 102
        # MB took 340 and 307 MB (tflite-runtime 2.14, ai-edge-litert 2.1) with 80 % zeros in blocks of 16x1, 411 and
        # 378 MB with 2:4. A file of float16 weights of that size took 545 MB.
        unpacked = sum(floats for floats, stored in layers if twin or stored < floats)
        weights: Literal["floats", "quantised"] = "floats"
    else:
        # Every weight packed, and once more where csr is held against the same runtime without it.
        unpacked, packed, weights = size[pruned.file], size[pruned.file], "quantised"
    under_xnnpack = indices + packed + unpacked + 2 * BUFFER_BYTES
    if BESIDE_BYTES + len(checked_runtimes()) * (size[pruned.file] + under_xnnpack) <= affordable:
        return [pruned], room
    if weights == "quantised" or under_xnnpack <= room:
        most = under_xnnpack if weights == "floats" else indices + packed + BUFFER_BYTES
        return [replace(pruned, lean=Lean(weights, Needs(indices, most)))], room
    others = tuple(backend for backend in checked_backends() if backend != XNNPACK)
    needs = Needs(indices, indices + packed + BUFFER_BYTES)
    checks = [replace(pruned, backends=others, lean=Lean(weights, needs, alone=True))]
    of_twin = packed + sum(floats for floats, stored in layers if stored < floats) + 2 * BUFFER_BYTES
    if twin and of_twin <= room:
        lean = Lean(weights, Needs(SMALL_BYTES, of_twin), alone=True)
        checks.append(replace(twin, backends=(XNNPACK,), lean=lean))
    return checks, room


def _golden(name: str) -> str:
    return f"golden/{name}.npz"


def _save(path: Path, arrays: Sequence[Any]) -> None:
    np.savez(path, **_numbered(arrays))


def _numbered(arrays: Sequence[Any]) -> dict[str, Any]:
    return {str(number): array for number, array in enumerate(arrays)}
