"""One run, from the first check to the last sample: what is launched when, and what the journal says of it.

Every cell (variant x backend x threads) is checked once: outputs against the golden ones, and the path taken. Then come
rounds; in each, every cell that still works is launched once in a fresh worker, in an order drawn for that round, so
that drift hits all alike. A cell that fails is journalled with its reason and left out from then on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from edgesparse import wire
from edgesparse.agent.affinity import choose_cpus
from edgesparse.agent.beside import Beside
from edgesparse.agent.conditions import board_facts, hottest_c, read_conditions
from edgesparse.agent.journal import Journal
from edgesparse.agent.line import remaining_s
from edgesparse.agent.order import launch_order
from edgesparse.agent.process import WorkerFailed, WorkerProcess
from edgesparse.agent.stopping import interval_share
from edgesparse.agent.store import BoardStore, read_json, write_aside
from edgesparse.agent.tuning import PERFORMANCE, Tuning

# Whoever asked may be this very machine, and still busy with having asked.
SETTLE_S = 0.7
# A sustained launch tells what it found so often; more samples than so many in that time would not fit into a message.
SLICE_S, MOST_SAMPLES_PER_SLICE = 1.0, 100_000
# Before the next sustained launch the board gets back to within this of where it began, or gets so long.
COOLED_C, COOL_DOWN_S = 1.0, 300.0


class Damaged(Exception):
    """A file in the store whose content is not what its name says."""


class Unsuitable(Exception):
    """What is asked for cannot be had on this board."""


class Runner:
    """Carries out one spec.

    Args:
        spec: what to measure.
        store: the board's store, which holds the files.
        journal: where every record goes.
        agent: version and sha256 of this agent, for the record.
        worker_command: the command line that starts a worker.
        notify: called after each record, so that those who follow the run look again.
    """

    def __init__(
        self,
        spec: wire.RunSpec,
        store: BoardStore,
        journal: Journal,
        *,
        agent: dict[str, str],
        worker_command: list[str],
        notify: Callable[[], None],
    ) -> None:
        self.spec, self.store, self.journal = spec, store, journal
        self.agent, self.worker_command, self.notify = agent, worker_command, notify
        self.passed_check = 0
        self.launch_medians: dict[str, list[float]] = {}
        self.cancelled_because = "cancelled"
        self._beside = Beside(spec, self.record)
        self._at_first_c: float | None = None
        self._cpus: list[int] = []
        self._began: float | None = None
        self._launches = 0

    @property
    def remaining_s(self) -> float:
        """How long it will still take at most, in seconds."""
        elapsed_s = 0.0 if self._began is None else time.monotonic() - self._began
        return remaining_s(self.spec, elapsed_s, self._launches)

    def record(self, type_: str, **fields: Any) -> None:
        """Journal one record and tell the followers."""
        self.journal.append(type_, **fields)
        self.notify()

    async def run(self, before: Callable[[], Awaitable[None]]) -> None:
        """Carry it out. Ends with a `finished` record unless the disk refuses it; cancelling the task cancels the
        run.

        Args:
            before: waited for before anything is done.
        """
        try:
            await before()
            await self._measure()
            if self.launch_medians:
                self._end("finished", "")
            else:
                found = "every cell failed in the rounds" if self.passed_check else "no cell passed its check"
                self._end("failed", found)
        except asyncio.CancelledError:
            self.journal.give_up_reserve()
            self.record("stopped", reason="cancelled", detail="")
            self._end("cancelled", self.cancelled_because)
            raise
        except (Damaged, Unsuitable) as error:
            self._end("failed", str(error))
        except OSError as error:
            self._end("failed", f"the agent could not go on: {error}")

    def _end(self, status: str, reason: str) -> None:
        """Record how it ended, if need be in the space that was kept for that."""
        self.journal.give_up_reserve()
        self.record("finished", status=status, reason=reason)

    async def _measure(self) -> None:
        spec = self.spec
        self._began = time.monotonic()
        self.record(
            "run",
            run=spec.run,
            protocol=wire.PROTOCOL,
            agent=self.agent,
            board=board_facts(),
            wall_time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        await self._verify()
        tuning = Tuning(self.store.home)
        try:
            self._set_up(tuning)
            if spec.max_rounds:
                await asyncio.sleep(SETTLE_S)
            await self._record_conditions("before")
            self._at_first_c = hottest_c()
            if spec.max_rounds:
                await self._beside.start()
                await self._beside.stay_idle("before")
            await self._check_and_launch()
        finally:
            try:
                self._put_back(tuning)
            finally:
                await asyncio.get_running_loop().run_in_executor(None, self._beside.stop)

    def _set_up(self, tuning: Tuning) -> None:
        spec = self.spec
        try:
            if spec.cpus:
                self._cpus = choose_cpus(spec.cpus)
            before = tuning.apply() if spec.tune and spec.max_rounds else {}
        except (OSError, ValueError) as error:
            raise Unsuitable(str(error)) from None
        if before:
            self.record("tuned", before=before, governor=PERFORMANCE)

    def _put_back(self, tuning: Tuning) -> None:
        """What was measured stays measured also where the governor cannot be put back."""
        try:
            if tuning.restore():
                self.record("untuned", reason="")
        except OSError as error:
            self.record("untuned", reason=str(error))

    async def _check_and_launch(self) -> None:
        spec = self.spec
        started = time.monotonic()
        working = [cell for cell in spec.cells if await self._check(cell)]
        self.passed_check = len(working)
        self.launch_medians = {cell.id: [] for cell in working}
        if spec.max_rounds and working:
            how = self._sustain_all if spec.sustained_s else self._rounds
            reason, detail = await how(working, started)
            self.record("stopped", reason=reason, detail=detail)
            await self._beside.stay_idle("after")
            await self._record_conditions("after")

    async def _verify(self) -> None:
        """Hold every file of the run against its name before anything reads or loads it."""
        for name in self.spec.objects():
            if not await asyncio.get_running_loop().run_in_executor(None, self.store.verified, name):
                raise Damaged(
                    f"the board's file {name[:12]}… is not what was put there; it has been removed, so deploy again"
                )

    async def _record_conditions(self, when: str) -> None:
        conditions = await asyncio.get_running_loop().run_in_executor(None, read_conditions, when)
        self.record("conditions", **conditions)

    # -- the check ---------------------------------------------------------------------------------------------------

    async def _check(self, cell: wire.Cell) -> bool:
        """Journal the cell's parity and path; True when it may be timed."""
        files = self.spec.files[cell.variant]
        requested = "sparse" if files.twin else "dense"
        key: list[Any] = [
            self.agent["sha256"],
            self.spec.runtime,
            self.spec.runtime_version,
            cell.backend,
            cell.threads,
        ]
        if cell.backend == wire.CSR and self.spec.delegate:
            key += [self.spec.delegate.library, self.spec.delegate.options]
        board = board_facts()
        key += [files.model, files.twin, files.inputs, files.golden, board["cpu"], board["kernel"]]
        kept_at = self.store.check_path(key)
        kept = read_json(kept_at)
        if kept:
            self.record("check", cell=cell.id, **kept, cached=True)
            return True
        try:
            async with self._worker() as worker:
                loaded = await worker.ask(self._load_message(cell, checking=True))
        except WorkerFailed as failure:
            self.record("check", cell=cell.id, status="failed", kind=failure.kind, reason=failure.reason,
                        parity=None, path={"requested": requested, "taken": "unknown", "evidence": ""}, runtime=None,
                        delegate=None, stderr_tail=failure.stderr_tail, cached=False)  # fmt: skip
            return False
        parity = loaded["parity"]
        path = (
            {"taken": "dense", "evidence": "nothing in the file is stored sparse"}
            if loaded["path"] is None
            else loaded["path"]
        )
        verdict = {
            "status": "ok" if parity["ok"] else "failed",
            "kind": None if parity["ok"] else "parity",
            "reason": parity["reason"],
            "parity": parity,
            "path": {"requested": requested, **(path if parity["ok"] else {"taken": "unknown", "evidence": ""})},
            "runtime": loaded["runtime"],
            "delegate": loaded["delegate"],
        }
        if parity["ok"]:
            write_aside(kept_at, json.dumps(verdict).encode())
        self.record("check", cell=cell.id, **verdict, cached=False)
        return bool(parity["ok"])

    # -- the rounds --------------------------------------------------------------------------------------------------

    async def _rounds(self, working: list[wire.Cell], started: float) -> tuple[str, str]:
        """Launch until the medians are known well enough; the reason for stopping, and its detail."""
        spec = self.spec
        for number in range(spec.max_rounds):
            for cell in launch_order(working, spec.run, number):
                if time.monotonic() - started > spec.time_limit_s:
                    return "time limit", f"{spec.time_limit_s:g} s were over in round {number + 1}"
                if not await self._launch(cell, number):
                    working.remove(cell)
                    self.launch_medians.pop(cell.id)
            if not working:
                return "rounds", "no cell is left"
            shares = [interval_share(medians) for medians in self.launch_medians.values()]
            if number + 1 >= spec.min_rounds and all(
                share is not None and share <= spec.interval_target for share in shares
            ):
                return "narrow", f"every median is known within {spec.interval_target:.1%} after {number + 1} rounds"
        widest = max((share for share in shares if share is not None), default=None)
        known = f"the widest median is known within {widest:.1%}" if widest is not None else "too few for an interval"
        return "rounds", f"{spec.max_rounds} rounds; {known}"

    async def _sustain_all(self, working: list[wire.Cell], started: float) -> tuple[str, str]:
        """Every cell once, for as long as was asked, each from the temperature that the board had at first."""
        for number, cell in enumerate(list(working)):
            if number:
                await self._cool_down(cell, self._at_first_c)
            if not await self._launch(cell, 0, self.spec.sustained_s):
                working.remove(cell)
                self.launch_medians.pop(cell.id)
        return "sustained", f"every cell ran for {self.spec.sustained_s:g} s"

    async def _cool_down(self, cell: wire.Cell, target_c: float | None) -> None:
        """Wait until the board is back within COOLED_C of its first temperature, or for COOL_DOWN_S."""
        began = time.monotonic()
        now_c = hottest_c()
        while target_c is not None and now_c is not None and now_c > target_c + COOLED_C:
            if time.monotonic() - began > COOL_DOWN_S:
                break
            await asyncio.sleep(1.0)
            now_c = hottest_c()
        reached = None if target_c is None or now_c is None else now_c <= target_c + COOLED_C
        waited_s = round(time.monotonic() - began, 1)
        self.record("cooled_down", cell=cell.id, waited_s=waited_s, from_c=target_c, to_c=now_c, reached=reached)

    async def _slices(self, cell: wire.Cell, worker: WorkerProcess, seconds: float) -> list[int]:
        """Go on measuring, a second at a time; returns all latencies."""
        ask = {"type": "measure", "samples": MOST_SAMPLES_PER_SLICE, "launch_s": SLICE_S, "warmup_s": 0.0}
        latencies: list[int] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            measured = await worker.ask({**ask, "first": not latencies})
            latencies += measured["latency_ns"]
            self.record("slice", cell=cell.id, latency_ns=measured["latency_ns"], window_ns=measured["window_ns"],
                        inferences=measured["inferences"])  # fmt: skip
            self._beside.record()
        return latencies

    async def _launch(self, cell: wire.Cell, number: int, sustained_s: float = 0.0) -> bool:
        """One fresh worker for one cell: gate, warm-up, samples. False when the cell failed."""
        spec = self.spec
        self._launches += 1
        try:
            async with self._worker() as worker:
                loaded = await worker.ask(self._load_message(cell, checking=False))
                if not loaded["parity"]["ok"]:
                    raise WorkerFailed("parity", loaded["parity"]["reason"])
                launch = {key: loaded[key] for key in ("init_ms", "first_inference_ms", "runtime", "parity", "cpus")}
                self.record("launch", cell=cell.id, round=number, pid=worker.process.pid, **launch)
                if sustained_s:
                    latencies = await self._slices(cell, worker, sustained_s)
                    self.launch_medians[cell.id].append(median(latencies))
                    return True
                measured = await worker.ask(
                    {
                        "type": "measure",
                        "samples": spec.samples,
                        "launch_s": spec.launch_s,
                        "warmup_s": spec.warmup_s,
                        "window_s": self._beside.window_s,
                    }
                )
        except WorkerFailed as failure:
            self.record("cell_failed", cell=cell.id, round=number, kind=failure.kind, reason=failure.reason,
                        stderr_tail=failure.stderr_tail)  # fmt: skip
            return False
        self.record(
            "samples", cell=cell.id, round=number, warmup_ns=measured["warmup_ns"], latency_ns=measured["latency_ns"],
            window_ns=measured["window_ns"], inferences=measured["inferences"],
        )  # fmt: skip
        self._beside.record()
        self.launch_medians[cell.id].append(median(measured["latency_ns"]))
        return True

    def _worker(self) -> WorkerProcess:
        return WorkerProcess(self.worker_command, self.spec.deadline_s)

    def _load_message(self, cell: wire.Cell, *, checking: bool) -> wire.Message:
        """With the twin and the kernels' report only for the check: a timed launch finds out no path."""
        files, delegate = self.spec.files[cell.variant], None
        if cell.backend == wire.CSR and self.spec.delegate:
            library = str(self.store.object(self.spec.delegate.library))
            delegate = {"library": library, "options": self.spec.delegate.options}
        report = self.store.run_dir(self.spec.run) / f"kernels-{cell.id.replace('/', '-')}.json"
        return {
            "type": "load",
            "model": str(self.store.object(files.model)),
            "twin": str(self.store.object(files.twin)) if checking and files.twin else None,
            "inputs": str(self.store.object(files.inputs)),
            "golden": str(self.store.object(files.golden)),
            "backend": cell.backend,
            "threads": cell.threads,
            "runtime": self.spec.runtime,
            "delegate": delegate,
            "report": str(report) if checking and delegate else None,
            "cpus": self._cpus,
        }


def default_worker_command(zipapp: str) -> list[str]:
    """How the daemon starts a worker: the same Python, the same zipapp."""
    return [sys.executable, zipapp, "worker"]
