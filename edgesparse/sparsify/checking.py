"""Golden inputs and outputs for a sparsified file, the parity gate, and the bundle's manifest.

Files run in worker processes only: one that aborts a runtime is an error, and this process never holds the weights of a
loaded model beside those that it has just written. TensorFlow's runtime is not among those asked: importing it would
take longer than all the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.agent.process import WorkerFailed, WorkerProcess
from edgesparse.agent.quantised import ROUNDING
from edgesparse.agent.worker import load_arrays
from edgesparse.convert import golden
from edgesparse.convert.building import INPUTS, Exported
from edgesparse.convert.bundle import DENSE, HostParity
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.parity import (
    DEADLINE_S,
    IN_PROCESS,
    Check,
    check_all,
    checked_backends,
    installed_runtimes,
    refuse_failed,
    run_to_its_end,
)
from edgesparse.convert.sources import Source
from edgesparse.errors import ModelError
from edgesparse.recipe import Recipe, dumps
from edgesparse.sparsify.writing import Original, Pruned
from edgesparse.wire import XNNPACK

# For the golden outputs of a file: a large model gets fewer samples.
GOLDEN_S = 0.1
# What a process that checks may take: so much, or three times the file as it came.
CHECKING_BYTES = 300_000_000
# How much farther apart than in the file as it came roundings may be: it is the largest of few values.
ROUNDING_SLACK = 2
# Precisions whose weights are floats.
FLOATS = ("float32", "float16")


def draw_inputs(model: Path, directory: Path, original: Original, held_out: Any) -> None:
    """Write golden inputs for what was made of `model`: samples of the held-out data, random ones where there is none.

    Raises:
        ModelError: the data does not have the shape of the model's only input; inputs that cannot be drawn.
    """
    (directory / "golden").mkdir()
    found = read_model(directory / original.file)
    found.source = str(model)
    _save(directory / INPUTS, golden.sample_inputs(found, held_out))


def run_reference(directory: Path, name: str, file: str, original: Original) -> int:
    """Write the outputs of a variant's file under the reference kernels, and say for how many golden inputs there was
    time.

    Raises:
        ModelError: the runtime does not run it.
    """
    count: int = run_to_its_end(_run_reference(directory, name, file, original))
    return count


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
    directory: Path, variants: Sequence[Exported], *, keep_going: bool, say: Callable[[str], None]
) -> list[HostParity]:
    """The parity gate for the pruned file, of the two variants.

    Where the memory that XNNPACK takes for the pruned file is out of proportion, its twin is checked under it instead;
    where it is for that too, neither is. Where an int8 file fails, what roundings do to the file as it came is written
    beside the pruned one's golden outputs, and the gate opens once more.

    Raises:
        ParityError: it does not give its twin's outputs, where the file as it came gives its own.
    """
    original, (pruned, *twins) = variants[0].checks(), variants[1].checks()
    runtimes = [each for each in installed_runtimes() if each != IN_PROCESS]
    checks = _in_proportion(directory, variants[0], pruned, twins[0] if twins else None)
    originals = _in_proportion(directory, variants[0], original[0], None)
    rows = check_all(directory, INPUTS, checks, say, runtimes=runtimes)
    if all(row.ok for row in rows):
        return rows
    as_it_came = check_all(directory, INPUTS, originals, say, runtimes=runtimes)
    rounding = ROUNDING_SLACK * max((row.steps for row in as_it_came if row.ok and row.steps), default=0)
    if rounding and variants[0].precision not in FLOATS:
        # Zeros make outputs smaller, and what rounding adds to them not: what it added before is no fault of the file.
        path = directory / pruned.golden
        np.savez(path, **_numbered(load_arrays(str(path))), **{ROUNDING: np.int64(rounding)})
        rows = check_all(directory, INPUTS, checks, say, runtimes=runtimes)
    rows += as_it_came
    # Where the file as it came does not give its golden outputs either, it is the runtime that differs.
    differs = {(row.runtime, row.backend): row.reason for row in rows if row.file == original[0].file and not row.ok}
    for (runtime, backend), reason in differs.items():
        say(f"as it came, the model fails under {runtime}, backend {backend}: {reason}")
    if not keep_going:
        refuse_failed([row for row in rows if (row.runtime, row.backend) not in differs], [*checks, *original])
    return rows


def _in_proportion(directory: Path, dense: Exported, pruned: Check, twin: Check | None) -> list[Check]:
    """The checks of a file, lean where those of all backends would take memory out of proportion.

    Args:
        directory: where the files are.
        dense: the file as it came, whose size is the measure.
        pruned: the check of all backends; of the file as it came itself, too.
        twin: the same of its twin; None where nothing is stored sparsely.
    """
    size = {path: (directory / path).stat().st_size for path in (dense.file, pruned.file)}
    affordable = max(CHECKING_BYTES, 3 * size[dense.file])
    if dense.precision not in FLOATS:
        # The file, every weight packed, once more where csr is held against the same runtime without it, and the
        # runtime itself: 323 MB were measured for one of 102 MB.
        return [replace(pruned, lean="quantised" if 3 * size[pruned.file] + 20_000_000 > affordable else None)]
    assert dense.contents is not None
    layers = [(4 * layer.weights, layer.bytes) for layer in dense.contents.layers]
    packed = sum(floats for floats, _ in layers)
    # Beside the file and the packed weights XNNPACK keeps all that it has unpacked: 292 MB and 259 MB (tflite-runtime
    # 2.14, ai-edge-litert 2.1) were measured for ResNet-50 of 102 MB, 545 MB for a file of float16 weights as large.
    stored_dense = size[dense.file] + packed + sum(floats for floats, stored in layers if stored < floats) + 50_000_000
    # Of sparse tensors that is every weight, and what the runtime makes of their indices: 340 MB and 307 MB with 80 %
    # zeros in blocks of 16x1, 322 MB in blocks of 16x4, 411 MB and 378 MB with 2:4.
    stored_sparse = 2 * size[pruned.file] + 2 * packed + 80_000_000
    if (stored_sparse if twin else stored_dense) <= affordable:
        return [pruned]
    others = tuple(backend for backend in checked_backends() if backend != XNNPACK)
    checks = [replace(pruned, backends=others, lean="floats")]
    if twin and stored_dense <= affordable:
        checks.append(replace(twin, backends=(XNNPACK,), lean="floats"))
    return checks


async def _run_reference(directory: Path, name: str, file: str, original: Original) -> int:
    backend = golden.REFERENCE_BACKEND if original.precision in FLOATS else golden.QUANTISED_BACKEND
    paths = {"model": file, "inputs": INPUTS, "outputs": _golden(name)}
    absolute = {key: str((directory / path).absolute()) for key, path in paths.items()}
    message = {"type": "run", **absolute, "backend": backend, "runtime": golden.RUNTIME, "limit_s": GOLDEN_S}
    async with WorkerProcess([sys.executable, "-m", "edgesparse.agent", "worker"], DEADLINE_S) as worker:
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


def _golden(name: str) -> str:
    return f"golden/{name}.npz"


def _save(path: Path, arrays: Sequence[Any]) -> None:
    np.savez(path, **_numbered(arrays))


def _numbered(arrays: Sequence[Any]) -> dict[str, Any]:
    return {str(number): array for number, array in enumerate(arrays)}
