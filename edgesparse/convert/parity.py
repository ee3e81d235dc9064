"""The parity gate on the host: every file under every runtime installed here, against the golden outputs.

Each runtime runs in the agent's own worker process, so that what passes here is what will run on the board, and a file
that aborts a runtime is one failed row. Only TensorFlow's runtime runs in this process: importing TensorFlow again
would take longer than all the rest, and by then the other runtimes have shown that the file aborts nothing. A file that
did abort one is kept out of this process and tried in a worker there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgesparse import kernels
from edgesparse.agent import backends
from edgesparse.agent.process import WorkerFailed
from edgesparse.agent.quantised import AS_WITHOUT_CSR
from edgesparse.agent.worker import Model, load_arrays, load_rounding
from edgesparse.convert.bundle import HostParity
from edgesparse.convert.room import Needs, Room
from edgesparse.convert.workers import Workers
from edgesparse.errors import ParityError
from edgesparse.wire import BACKENDS, BUILTIN, CSR, XNNPACK

IN_PROCESS = "tensorflow"


@dataclass(frozen=True)
class Lean:
    """How to check a large file in as little memory and time as can be: the worker sees to that.

    Args:
        weights: of the file.
        needs: what it takes in memory.
        alone: what csr leaves goes to the built-in kernels, and not to XNNPACK, which takes more.
    """

    weights: Literal["floats", "quantised"]
    needs: Needs
    alone: bool = False


@dataclass(frozen=True)
class Check:
    """One file to hold against its golden outputs.

    Args:
        variant: of whom it is.
        file, golden: relative to the bundle.
        backends: to check it under; all of `checked_backends` where none is named.
        lean: of a file that is too large for anything else.
    """

    variant: str
    file: str
    golden: str
    backends: tuple[str, ...] = ()
    lean: Lean | None = None

    def pairs(self) -> list[tuple[Check, str]]:
        """This check under each of its backends."""
        return [(self, backend) for backend in self.backends or checked_backends()]


def installed_runtimes() -> list[str]:
    """The runtimes that can be imported here, without importing them."""
    return [name for name, module in backends.RUNTIMES.items() if find_spec(module.partition(".")[0]) is not None]


def checked_backends() -> list[str]:
    """The backends that files are checked under here; csr is one of them where its kernels are built."""
    return [name for name in BACKENDS if name != CSR or kernels.find_library()]


def find_kernels() -> str | None:
    """The kernels' library here, as a worker is told of it."""
    found = kernels.find_library()
    return str(found) if found else None


def check_all(
    directory: Path,
    inputs: str,
    checks: Sequence[Check],
    progress: Callable[[str], None] | None = None,
    *,
    runtimes: Sequence[str] | None = None,
    room: int | None = None,
    workers: Workers | None = None,
) -> list[HostParity]:
    """Run every check under every installed runtime and backend.

    Args:
        directory: where the files are.
        inputs: the golden inputs, relative to it.
        checks: what to hold against what.
        progress: told the name of each runtime as it starts.
        runtimes: those to check under; all installed ones where None.
        room: bytes for all lean checks that run at a time; None for no limit.
        workers: that are there already.

    Returns:
        A row for each file, runtime and backend, failed ones with their reason.
    """
    chosen = installed_runtimes() if runtimes is None else runtimes
    isolated = [name for name in chosen if name != IN_PROCESS]
    if progress:
        progress(f"checking {len(checks)} files under {', '.join(isolated)}")
    with contextlib.ExitStack() as stack:
        own = workers or stack.enter_context(Workers())
        found = own.submit(_in_workers(own, isolated, directory, inputs, checks, room)).result()
    rows = [row for rows in found for row in rows]
    if IN_PROCESS in chosen:
        if progress:
            progress(f"checking {len(checks)} files under {IN_PROCESS}")
        dangerous = {row.file for row in rows if not row.ok and row.reason.startswith(_ISOLATE)}
        rows += _in_this_process(directory, inputs, [check for check in checks if check.file not in dangerous])
        kept_out = [check for check in checks if check.file in dangerous]
        if kept_out:
            with Workers() as own:
                rows += own.submit(_in_workers(own, [IN_PROCESS], directory, inputs, kept_out)).result()[0]
    return rows


def refuse_failed(rows: Sequence[HostParity], checks: Sequence[Check]) -> None:
    """The gate itself.

    Raises:
        ParityError: names the first that failed: variant, runtime, backend and how far off; and how many did.
    """
    failed = [row for row in rows if not row.ok]
    if not failed:
        return
    first = failed[0]
    variant = next(check.variant for check in checks if check.file == first.file)
    more = f" {len(failed) - 1} more of {len(rows)} checks failed." if len(failed) > 1 else ""
    raise ParityError(
        f"Variant {variant}: {first.file} does not give the golden outputs under {first.runtime} {first.version}, "
        f"backend {first.backend}: {first.reason}.{more}",
        hint="`edgesparse.convert(..., keep_going=True)` makes the bundle all the same and records the failures in it.",
    )


_ISOLATE = ("crash: ", "hang: ")


async def _in_workers(
    workers: Workers,
    runtimes: Sequence[str],
    directory: Path,
    inputs: str,
    checks: Sequence[Check],
    size: int | None = None,
) -> list[list[HostParity]]:
    """The runtimes side by side, but one after the other, with its worker alone, where a check takes all the room."""
    room, most = Room(size), max((check.lean.needs.at_most for check in checks if check.lean), default=0)
    rows = []
    with tempfile.TemporaryDirectory() as reports:
        under = partial(
            _in_worker, workers, directory=directory, inputs=inputs, checks=checks, reports=reports, room=room
        )
        if size is None or most <= size:
            return list(await asyncio.gather(*(under(name) for name in runtimes)))
        for name in runtimes:
            rows.append(await under(name))
            await workers.end(name)
    return rows


async def _in_worker(
    workers: Workers,
    runtime: str,
    directory: Path,
    inputs: str,
    checks: Sequence[Check],
    reports: str,
    room: Room,
) -> list[HostParity]:
    """One worker for all files; after a crash or hang a fresh one, in which that file gets a second try of its own."""
    waiting = [pair for check in checks for pair in check.pairs()]
    rows: list[HostParity] = []
    while waiting:
        async with workers.of(runtime) as worker:
            fresh = not worker.asked
            while waiting:
                check, backend = waiting[0]
                rest = BUILTIN if check.lean and check.lean.alone else XNNPACK  # runs what csr leaves
                known = next((row for row in rows if (row.file, row.backend) == (check.file, rest)), None)
                try:
                    message = _load(directory, inputs, check, runtime, backend)
                    if check.lean:
                        lean = {
                            "weights": check.lean.weights,
                            "alone": check.lean.alone,
                            "kernels": find_kernels(),
                            "rest_known": known is not None,
                        }
                        message = {**message, "lean": lean, "report": f"{reports}/{runtime}.json"}
                        async with room.taken(worker.process.pid, check.lean.needs) as waited_s:
                            answer = await worker.ask(message, waited_s)
                    else:
                        answer = await worker.ask(message)
                except WorkerFailed as failure:
                    broken = failure.kind in ("crash", "hang")
                    if broken and not fresh:
                        break  # what ran before it may be to blame
                    waiting.pop(0)
                    rows.append(_failed(check, runtime, backend, f"{failure.kind}: {failure.reason}"))
                    if broken:
                        break
                else:
                    waiting.pop(0)
                    if known and answer["parity"] is None:
                        note = known.note and known.note + AS_WITHOUT_CSR
                        rows.append(msgspec.structs.replace(known, backend=backend, note=note))
                    else:
                        rows.append(_row(check, runtime, answer["runtime"]["version"], backend, answer["parity"]))
                fresh = False
    return rows


def _load(directory: Path, inputs: str, check: Check, runtime: str, backend: str) -> dict[str, Any]:
    paths = {"model": check.file, "inputs": inputs, "golden": check.golden}
    absolute = {key: str((directory / path).absolute()) for key, path in paths.items()}
    message = {"type": "load", **absolute, "twin": None, "backend": backend, "threads": 1, "runtime": runtime}
    delegate = {"delegate": {"library": str(kernels.library_path()), "options": {}}} if backend == CSR else {}
    return {**message, **delegate}


def _in_this_process(directory: Path, inputs: str, checks: Sequence[Check]) -> list[HostParity]:
    runtime, found = backends.load_runtime(IN_PROCESS)
    samples = load_arrays(str(directory / inputs))
    rows = []
    for check in checks:
        golden, rounding = load_arrays(str(directory / check.golden)), load_rounding(str(directory / check.golden))
        for _, backend in check.pairs():
            delegate = backends.Delegate(str(kernels.library_path())) if backend == CSR else None
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # its interpreter announces its own removal at each start
                    path = str(directory / check.file)
                    model = Model(runtime, path, backend, 1, delegate)
                    stock = partial(_stock, runtime, path, samples)
                    _, verdict = model.verdict(samples, golden, backend, stock, rounding=rounding)
            except (RuntimeError, ValueError, backends.DelegateRefused) as error:
                rows.append(_failed(check, IN_PROCESS, backend, f"error: {error}"))
            else:
                rows.append(_row(check, IN_PROCESS, found, backend, verdict))
    return rows


def _stock(runtime: Any, path: str, samples: list[Any], backend: str) -> list[Any]:
    return Model(runtime, path, backend, 1).run_all(samples)


def _row(check: Check, runtime: str, found: str, backend: str, verdict: dict[str, Any]) -> HostParity:
    return HostParity(
        file=check.file,
        runtime=runtime,
        version=found,
        backend=backend,
        ok=verdict["ok"],
        max_abs_error=verdict["max_abs_error"],
        tolerance=verdict["tolerance"],
        reason=verdict["reason"],
        steps=verdict.get("steps"),
        share=verdict.get("share"),
        note=verdict.get("note", ""),
    )


def _failed(check: Check, runtime: str, backend: str, reason: str) -> HostParity:
    try:
        found = version(runtime)
    except PackageNotFoundError:
        found = "unknown"
    verdict = {"ok": False, "max_abs_error": None, "tolerance": None, "reason": reason}
    return _row(check, runtime, found, backend, verdict)
