"""A run from the host's side: plan it, hand it to the board's agent, collect what it records, go on after
a lost link."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesparse import kernels, wire
from edgesparse.boards import reach
from edgesparse.boards.following import Following, OnMessage
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.session import BoardSession, Progress, Pushed
from edgesparse.boards.transport import Transport
from edgesparse.convert.bundle import Bundle, read_bundle
from edgesparse.errors import MeasurementError, UsageError
from edgesparse.files import sha256_of
from edgesparse.report.masks import write_masks
from edgesparse.stats import fewest_launches
from edgesparse.store import AGAIN, Run, RunRecord, create_run, keep_noise_floor, new_run_id, try_to_put_away

# How long a board keeps a run for a host that has gone.
LINGER_S = wire.RunSpec.linger_s
# How often a variant is measured again beside itself for the noise floor.
AGAIN_TIMES = 3


def silent(text: str) -> None:
    """The progress of callers who want none."""


def bench(
    bundle: Bundle | str | Path,
    board: Board | str = "local",
    *,
    backends: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    threads: Sequence[int] | None = None,
    rounds: tuple[int, int] | None = None,
    time_limit_s: float | None = None,
    interval_target: float = 0.02,
    samples: int | None = None,
    aa: bool = False,
    energy: bool = True,
    cpus: str = "",
    tune: bool = False,
    sustained_s: float = 0.0,
    wait: bool = True,
    linger_s: float = LINGER_S,
    progress: Progress = silent,
    on_message: OnMessage = lambda message: None,
    reach: Callable[[Board], Transport] = reach,
) -> Run:
    """Measure every variant of a bundle under every backend on a board.

    The bundle is pushed first where the board lacks files of it. Interrupting (KeyboardInterrupt) cancels the run on
    the board and keeps what was measured.

    Args:
        bundle: a bundle or its directory.
        board: a board, or its name in the inventory.
        backends: those to compare; all that the board type knows where None.
        variants: those to compare; all of the bundle where None. `dense` is always among them.
        threads: thread counts; the board type's where None.
        rounds: the fewest and the most launches of every cell; what `effort` says where None, as for the next two.
        time_limit_s: stop after so long, wherever the run is.
        samples: timed inferences in a launch.
        aa: hold every variant (dense alone where none is named) against itself, AGAIN_TIMES times; the board's noise
            floor for the runs to come.
        energy: read the board's power sensors meanwhile; launches then last as long as the slowest of them needs.
        cpus: the cores that workers run on: "big", "little", or a list such as "0,2-3"; all where "".
        tune: under the governor performance, put back whatever happens; needs root on the board.
        sustained_s: instead of rounds, launch every cell once for so long: latency, power and heat over time.
        wait: for the runs before this one; False to be refused where the board is not free at once.
        linger_s: how long the board keeps the run, in line or measured, when nobody follows it.
        interval_target: stop once every median's 95 % interval is within this share of it.
        progress: told each step.
        on_message: given `planned` with the run's id and spec, then each message of the run as it arrives.
        reach: opens a transport to a board.

    Returns:
        The run, stored.

    Raises:
        UsageError, BundleError, BoardError: before anything is measured. MeasurementError: no cell could be timed.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
    board = board if isinstance(board, Board) else resolve(board)
    with BoardSession(board, reach, progress) as session:
        deliver(session, bundle)
        spec = plan(
            bundle, session, backends=backends, variants=variants, threads=threads, rounds=rounds,
            time_limit_s=time_limit_s, interval_target=interval_target, samples=samples, aa=aa, energy=energy,
            cpus=cpus, tune=tune, sustained_s=sustained_s, linger_s=linger_s,
        )  # fmt: skip
        record = create_run(
            spec.run, board=describe(board), bundle=bundle, spec=spec.to_message(), owner=spec.owner, aa=aa
        )
        write_masks(record.path, bundle)
        end = _collect(session, record, on_message, spec, wait=wait)
    return finished(record, end)


def attach(
    run: str | None = None,
    *,
    progress: Progress = silent,
    on_message: OnMessage = lambda message: None,
    reach: Callable[[Board], Transport] = reach,
) -> Run:
    """Go on collecting a run that was left: every record that is not here yet, then live to its end.

    Args:
        run: the run's id; the latest one where None.

    Raises:
        UsageError: no such run, or its board is no longer in the inventory. BoardError: the board is out of reach.
    """
    record = RunRecord.load(run) if run else RunRecord.last()
    if record.finished:
        try_to_put_away(record, progress)
        return Run(record)
    board = resolve(record.board["name"], host=record.board.get("address"))
    with BoardSession(board, reach, progress) as session:
        session.start_agent()
        end = _collect(session, record, on_message)
    return finished(record, end)


def deliver(session: BoardSession, bundle: Bundle, on_bytes: Callable[[int], None] = lambda count: None) -> Pushed:
    """Everything that a run needs on the board: runtime, files, agent. Returns what the push did."""
    runtime = session.runtime
    session.progress(f"{session.board.name}: {runtime.name} {runtime.version} under {runtime.python}")
    library = kernels.find_library(session.arch)
    files = [*bundle_files(bundle), *([(library, sha256_of(library))] if library else [])]
    pushed = session.push(files, on_bytes)
    session.start_agent()
    return pushed


def bundle_files(bundle: Bundle) -> Iterator[tuple[Path, str]]:
    """The files that the board needs, each with its SHA-256."""
    yield bundle.file(bundle.manifest.inputs), bundle.manifest.inputs.sha256
    for variant in bundle.manifest.variants:
        for file in (variant.file, variant.twin, variant.golden):
            if file is not None:
                yield bundle.file(file), file.sha256


def plan(
    bundle: Bundle,
    session: BoardSession,
    *,
    backends: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    threads: Sequence[int] | None = None,
    rounds: tuple[int, int] | None = None,
    time_limit_s: float | None = None,
    interval_target: float = 0.02,
    samples: int | None = None,
    aa: bool = False,
    energy: bool = True,
    cpus: str = "",
    tune: bool = False,
    sustained_s: float = 0.0,
    linger_s: float = LINGER_S,
) -> wire.RunSpec:
    """The spec of a run over variants x backends x threads, on a board whose session stands.

    Raises:
        UsageError: a variant or backend that does not exist; names those that do.
    """
    board = session.board
    names = [variant.name for variant in bundle.manifest.variants]
    chosen = _known(variants, names, "variant", f"the bundle {bundle.path}")
    if aa and not variants:
        chosen = names[:1]
    chosen = [name for name in names if name in chosen or (name == names[0] and not aa)]
    times = AGAIN_TIMES if aa else 0
    copies = {name: [name, *(f"{name}{AGAIN}{number}" for number in range(2, times + 2))] for name in chosen}
    used = _known(backends, _offered(session, backends), "backend", board.name)
    counts = list(threads or board.threads or board.type.limits.threads)
    cells = [
        wire.Cell(id=f"{variant}/{backend}/{count}", variant=variant, backend=backend, threads=count)
        for count in counts
        for backend in used
        for name in chosen
        for variant in copies[name]
    ]
    files = {
        copy: wire.Files(
            model=variant.file.sha256,
            twin=variant.twin.sha256 if variant.twin else None,
            inputs=bundle.manifest.inputs.sha256,
            golden=variant.golden.sha256,
        )
        for variant in bundle.manifest.variants
        for copy in copies.get(variant.name, ())
    }
    usual = effort(board)
    fewest, most = rounds or usual.rounds
    if not board.type.emulated:  # among many ratios a difference takes more launches
        fewest = max(fewest, fewest_launches(len(cells) - len(cells) // len(files) * (len(chosen) if aa else 1)))
    return wire.RunSpec(
        run=new_run_id(board.name), owner=owner(), bundle=bundle.id, cells=cells, files=files,
        runtime=session.runtime.name, runtime_version=session.runtime.version,
        min_rounds=min(fewest, most), max_rounds=most, time_limit_s=time_limit_s or usual.time_limit_s,
        interval_target=interval_target, samples=samples or usual.samples, deadline_s=usual.deadline_s,
        linger_s=linger_s,
        delegate=_delegate(session.arch) if wire.CSR in used else None,
        energy=energy and not board.type.emulated, meter=board.meter, meter_scope=board.meter_scope,
        cpus=cpus, tune=tune, sustained_s=sustained_s,
    )  # fmt: skip


@dataclass(frozen=True)
class Effort:
    """What a run costs where nobody says otherwise: the fewest and the most rounds, samples in a launch, the time limit
    of the run and of one step of a worker."""

    rounds: tuple[int, int]
    samples: int
    time_limit_s: float
    deadline_s: float


def effort(board: Board) -> Effort:
    """On a board that has a latency, as much as intervals need. Instructions are the same in every launch, and an
    emulated board that counts none is only asked whether it gives the right outputs; both are slow to tell."""
    return Effort((6, 10), 70, 300, 120) if not board.type.emulated else Effort((1, 1), 5, 7200, 1800)


def _offered(session: BoardSession, wanted: Sequence[str] | None) -> list[str]:
    """The backends that there are on the board; without csr, and a word about it, where its kernels are not built."""
    offered = [name for name in session.board.type.backends if name in wire.BACKENDS]
    arch = session.arch
    if wire.CSR not in offered or wire.CSR in (wanted or ()) or kernels.find_library(arch):
        return offered
    session.progress(f"{session.board.name}: without csr, its kernels are not built for {arch} (make kernels)")
    return [name for name in offered if name != wire.CSR]


def _delegate(arch: str) -> wire.Delegate:
    """The csr backend's library for an architecture, and the options that this environment asks for."""
    return wire.Delegate(sha256_of(kernels.library_path(arch)), kernels.options_from_environment())


def _known(wanted: Sequence[str] | None, there: Sequence[str], what: str, where: str) -> list[str]:
    unknown = [name for name in wanted or () if name not in there]
    if unknown:
        raise UsageError(f"There is no {what} {unknown[0]!r} in {where}.", hint=f"It has: {', '.join(there)}.")
    return list(wanted or there)


def _collect(
    session: BoardSession,
    record: RunRecord,
    on_message: OnMessage,
    spec: wire.RunSpec | None = None,
    *,
    wait: bool = True,
) -> wire.Message:
    """Carry the run out, or go on with it, and keep every record in the store; returns the agent's `end`."""

    def keep(message: wire.Message) -> None:
        if message["type"] == "record":
            record.append([message["record"]])
        on_message(message)

    on_message({"type": "planned", "run": record.id, "spec": record.spec})
    try:
        return Following(session, record.id, record.last_seq, keep, wait=wait).carry_out(spec)
    finally:  # a run that was cancelled has ended, too
        try_to_put_away(record, session.progress)


def finished(record: RunRecord, end: wire.Message) -> Run:
    """The run, or why there is no measurement."""
    if end.get("status") in ("failed", None):
        raise MeasurementError(
            f"Run {record.id} has no measurement: {end.get('reason') or 'the board could not even record why'}.",
            hint=f"What each cell said: edgesparse report {record.id}",
        )
    if end.get("status") == "cancelled":
        raise MeasurementError(
            f"Run {record.id} has no measurement: it was {end.get('reason')} on the board.",
            hint=f"What there is: edgesparse report {record.id}",
        )
    run = Run(record)
    if record.aa and (floor := run.comparison().noise_floor):
        keep_noise_floor(record.board, floor)
    return run


def owner() -> str:
    """Who asks for a run, for the board's queue."""
    return f"{getpass.getuser()}@{platform.node()}"


def describe(board: Board) -> dict[str, Any]:
    """What the stored run says of its board."""
    return {
        "name": board.name,
        "type": board.type.name,
        "transport": board.transport,
        "host": board.host,
        "address": board.address,
        "emulated": board.type.emulated,
        "counts_instructions": board.counts_instructions,
    }
