"""The ways to measure one model: csr against XNNPACK, the delegate's overhead, threads, fresh processes.

python -m kernels.bench.modes takes one request as JSON on stdin and prints its row as JSON; `in_own_process` does that.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec

from edgesparse.errors import EdgesparseError
from edgesparse.networks import Spec, parse_network, parse_variant
from kernels.bench.cells import Recipe, TfliteCell
from kernels.bench.files import ModelFiles, fail, find_delegate, find_model, say
from kernels.bench.fresh import ROOT, compare_launches
from kernels.bench.interleave import Timing, speedup
from kernels.bench.rows import BASELINE, REFERENCE, TOLERANCE, Job, MakeCell, Row, measure

DEADLINE_S = 900.0


@dataclass(frozen=True)
class Setting:
    """How to measure.

    Attributes:
        delegate: the library; None for the built one.
        claims: the delegate's `claim`, a cell for each: "auto" is called csr, "all" csr-all.
        isa: forces the delegate's instruction set.
        csr_file: which encoding csr gets, "sparse" or "zeros".
        models_dir: where models lie already; None to build them.
    """

    delegate: str | None = None
    claims: tuple[str, ...] = ("auto", "all")
    isa: str | None = None
    csr_file: str = "sparse"
    threads: int = 1
    runtime: str = "ai-edge-litert"
    timing: Timing = field(default_factory=Timing)
    tolerance: float = TOLERANCE
    keep_samples: bool = False
    models_dir: str | None = None


@dataclass(frozen=True)
class Request:
    """One row to measure: `network`, `variant` as in a file's name, `mode` one of `MODES`.

    `given` are its files, zeros and sparse, for a process that cannot build them.
    """

    network: str
    variant: str
    mode: str = "compare"
    seed: int = 0
    weights: str = "float32"
    setting: Setting = field(default_factory=Setting)
    given: tuple[str, str | None] | None = None

    @property
    def spec(self) -> Spec:
        """The model."""
        return Spec(parse_network(self.network), parse_variant(self.variant), self.seed, self.weights)

    def files(self) -> ModelFiles:
        """Its files, built where they are not there."""
        if self.given is not None:
            zeros, sparse = self.given
            return ModelFiles(Path(zeros), Path(sparse) if sparse else None)
        directory = self.setting.models_dir
        return find_model(self.spec, Path(directory) if directory else None)

    def with_files(self) -> Request:
        """The same with its files found, or built, now."""
        files = self.files()
        return replace(self, given=(str(files.zeros), str(files.sparse) if files.sparse else None))


def run(request: Request) -> Row:
    """Measure in this process.

    Raises:
        EdgesparseError: there is no such model, or no delegate.
    """
    return MODES[request.mode](request)


def in_own_process(request: Request, python: Path = Path(sys.executable), worker: str = "kernels.bench.modes") -> Row:
    """Measure in a process of its own: a crash is that row's, and its memory is given back.

    Args:
        request: what to measure.
        python: the interpreter, of another environment than this one's at times.
        worker: the module that takes the request.
    """
    command = [str(python), "-m", worker]
    message = msgspec.json.encode(request)
    try:
        done = subprocess.run(command, cwd=ROOT, input=message, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return _crashed(request, f"no answer within {DEADLINE_S:g} s")
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        return _crashed(request, how)
    return dict(msgspec.json.decode(done.stdout))


def compare(request: Request) -> Row:
    """XNNPACK on the dense file, XNNPACK on the sparse file, csr with each way to claim."""
    return timed(request, interpreters(request))


def interpreters(request: Request) -> dict[str, MakeCell]:
    """XNNPACK's and csr's cells of a request."""
    return {name: partial(TfliteCell, recipe) for name, recipe in _recipes(request).items()}


def overhead(request: Request) -> Row:
    """XNNPACK alone, the same again (how far two interpreters lie apart at best), and with the delegate loaded."""
    recipes = _recipes(request)
    again = {BASELINE: recipes[BASELINE], "xnnpack-again": recipes[BASELINE], "csr": recipes["csr"]}
    return timed(request, {name: partial(TfliteCell, recipe) for name, recipe in again.items()})


def scaling(request: Request) -> Row:
    """Several threads against one, XNNPACK's and the kernels'.

    Every `speedup` is over XNNPACK with one thread; `scaling` is a cell's own, over itself with one thread.
    """
    several = max(request.setting.threads, 2)
    suffix = f"-{several}-threads"
    cells: dict[str, MakeCell] = {}
    for threads, ending in ((1, ""), (several, suffix)):
        for name, recipe in _recipes(request, threads, sparse_xnnpack=False).items():
            cells[f"{name}{ending}"] = partial(TfliteCell, recipe)
    row = timed(request, cells, keep_samples=True)
    found = row["cells"]
    for name, cell in found.items():
        one = found.get(name.removesuffix(suffix), {})
        if name.endswith(suffix) and "samples_ms" in cell and "samples_ms" in one:
            ratio = speedup(one["samples_ms"], cell["samples_ms"])
            cell["scaling"], cell["scaling_interval"] = ratio.value, ratio.interval
    if not request.setting.keep_samples:
        for cell in found.values():
            cell.pop("samples_ms", None)
    return row


def memory(request: Request) -> Row:
    """Peak memory and loading of each cell, in fresh processes."""
    found = compare_launches(_recipes(request))
    for cell in found.values():
        cell["status"] = "crashed" if "reason" in cell else "ok"
    return _row(request, {"model": str(request.spec), "baseline": BASELINE, "cells": found})


MODES: dict[str, Callable[[Request], Row]] = {
    "compare": compare,
    "memory": memory,
    "scaling": scaling,
    "overhead": overhead,
}


def _recipes(request: Request, threads: int | None = None, sparse_xnnpack: bool = True) -> dict[str, Recipe]:
    setting, files = request.setting, request.files()
    count, runtime = threads or setting.threads, setting.runtime
    recipes = {BASELINE: Recipe(files.zeros, "xnnpack", count, runtime=runtime)}
    if sparse_xnnpack and files.sparse is not None:
        recipes["xnnpack-sparse"] = Recipe(files.sparse, "xnnpack", count, runtime=runtime)
    delegate = find_delegate(Path(setting.delegate) if setting.delegate else None)
    file = files.zeros if setting.csr_file == "zeros" else files.smallest
    for claim in setting.claims:
        options = {"claim": claim, **({"isa": setting.isa} if setting.isa else {})}
        name = "csr" if claim == "auto" else f"csr-{claim}"
        recipes[name] = Recipe(file, "csr", count, delegate, options, runtime)
    return recipes


def timed(request: Request, cells: dict[str, MakeCell], keep_samples: bool = False) -> Row:
    """Hold cells against the reference and time them."""
    setting = request.setting
    # int8 is to be XNNPACK's to the bit; TFLite's own kernels round otherwise.
    exact = request.weights == "int8"
    backend, tolerance = (BASELINE, 0.0) if exact else (REFERENCE, setting.tolerance)
    reference = Recipe(request.files().zeros, backend, setting.threads, runtime=setting.runtime)
    job = Job(
        str(request.spec), reference, cells, setting.timing, tolerance=tolerance,
        keep_samples=keep_samples or setting.keep_samples,
    )  # fmt: skip
    return _row(request, measure(job))


def _row(request: Request, row: Row) -> Row:
    setting = request.setting
    asked = {"mode": request.mode, "threads": setting.threads, "runtime": setting.runtime, "isa": setting.isa,
             "burst": setting.timing.burst}  # fmt: skip
    return {**row, **asked}


def _crashed(request: Request, reason: str) -> Row:
    say(f"{request.spec}: {reason}")
    row = {"model": str(request.spec), "baseline": BASELINE, "cells": {"csr": {"status": "crashed", "reason": reason}}}
    return _row(request, row)


def main() -> int:
    """The process of its own."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        row = run(request)
    except EdgesparseError as error:
        return fail(error)
    sys.stdout.write(msgspec.json.encode(row).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
