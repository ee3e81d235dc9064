"""The runs of this board: who waits, who is measured, and what became of the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgesparse import wire
from edgesparse.agent.journal import Journal, give_up_reserve, last_record
from edgesparse.agent.line import expected_s, in_turn
from edgesparse.agent.machine_lock import MachineLock
from edgesparse.agent.runner import Runner
from edgesparse.agent.store import BoardStore, read_json, write_aside

KEPT_RUNS = 50
# How often an agent asks whether another user's agent on this machine is done.
_LOCK_S = 0.5


class Busy(Exception):
    """The board is not free for a run that would not wait; says who has it and for how long."""


class Entry:
    """A run that waits or is being measured, and who listens to it."""

    def __init__(self, spec: wire.RunSpec, journal_path: Path) -> None:
        self.spec, self.journal_path = spec, journal_path
        self.since = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        self.runner: Runner | None = None
        self.followers = 0
        self.left_alone: asyncio.TimerHandle | None = None

    @property
    def owner(self) -> str:
        return self.spec.owner

    @property
    def remaining_s(self) -> float:
        return self.runner.remaining_s if self.runner else expected_s(self.spec)


class RunQueue:
    """One measurement at a time. Owners take turns, and one owner's runs come in the order of arrival.

    Args:
        store: the board's store.
        agent: version and sha256 of this agent.
        worker_command: the command line that starts a worker.
        machine: the right to measure on this machine, which other users' agents want too.
    """

    def __init__(
        self, store: BoardStore, agent: dict[str, str], worker_command: list[str], machine: MachineLock | None = None
    ) -> None:
        self.store, self.agent, self.worker_command = store, agent, worker_command
        self.machine = machine or MachineLock()
        self.waiting: list[Entry] = []
        self.active: Entry | None = None
        self.held_by: str | None = None
        self.changes = 0
        self._turns: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._soon: set[asyncio.Task[Any]] = set()
        self.on_idle: Callable[[], None] = lambda: None

    def close_interrupted(self) -> None:
        """Mark the runs that an earlier agent left unfinished: nobody will go on with them. A disk that refuses even
        that keeps no agent from starting."""
        for directory in sorted(self._directories()):
            path = directory / "journal.jsonl"
            try:
                give_up_reserve(path)
                last = last_record(path)
                if last is None or last.get("type") != "finished":
                    reason = "the agent was stopped or the board restarted in the middle of the run"
                    _finish(path, "failed", reason)
            except OSError as error:
                _say(f"the end of run {directory.name} cannot be noted: {error}")
        for directory in self._latest()[KEPT_RUNS:]:
            shutil.rmtree(directory, ignore_errors=True)  # what cannot be removed now is tried again at the next start

    def _directories(self) -> list[Path]:
        return [path for path in (self.store.home / "runs").iterdir() if path.is_dir()]

    def _latest(self) -> list[Path]:
        return sorted(self._directories(), key=lambda path: path.stat().st_mtime, reverse=True)

    # -- what clients ask for ----------------------------------------------------------------------------------------

    async def submit(self, spec: wire.RunSpec, *, wait: bool = True) -> int:
        """Put a run in line and return its place (0: it is next or running). Submitting the same run again changes
        nothing.

        Args:
            wait: False to be refused where the board is not free at once.

        Raises:
            wire.WireError: files of the run are not in the store. Busy: the board is not free.
        """
        if self.known(spec.run):
            return self.place(spec.run) or 0
        missing = self.store.missing(spec.objects())
        if missing:
            raise wire.WireError(
                f"{len(missing)} files of the run are not on the board, the first is {missing[0]}; deploy again"
            )
        if not wait:
            self._require_free()
        directory = self.store.run_dir(spec.run)
        try:
            directory.mkdir(mode=0o700)
            write_aside(directory / "spec.json", json.dumps(spec.to_message()).encode())
            Journal(directory / "journal.jsonl", reserve=True).close()
        except OSError:  # a full disk: nothing of it stays
            shutil.rmtree(directory, ignore_errors=True)
            raise
        entry = Entry(spec, directory / "journal.jsonl")
        self.waiting.append(entry)
        self._alone(entry)
        self._start_next()
        await self._announce()
        return self.place(spec.run) or 0

    def known(self, run: str) -> bool:
        """Is there such a run, in whatever state?"""
        return (self.store.run_dir(run) / "spec.json").is_file()

    def place(self, run: str) -> int | None:
        """How many runs are before this one; 0 when it is being measured, None when it is not in line."""
        return next((place for place, entry in enumerate(self._line()) if entry.spec.run == run), None)

    def wait_s(self, run: str) -> float:
        """How many seconds the runs before this one will take at most."""
        line = self._line()
        return sum(entry.remaining_s for entry in line[: self.place(run) or 0])

    def ended(self, run: str) -> bool:
        """Is it neither waiting nor being measured?"""
        return self.place(run) is None

    @contextmanager
    def followed(self, run: str) -> Iterator[None]:
        """While somebody listens to a run, it is his; after he has gone, for its `linger_s` yet."""
        entry = next((entry for entry in self._line() if entry.spec.run == run), None)
        if entry is None:
            yield
            return
        entry.followers += 1
        if entry.left_alone:
            entry.left_alone.cancel()
        try:
            yield
        finally:
            entry.followers -= 1
            if not entry.followers:
                self._alone(entry)

    async def cancel(self, run: str, reason: str = "cancelled") -> bool:
        """Take a run out of line or stop it; returns when the board is free of it. False when it is not in line."""
        if self.active and self.active.spec.run == run and self.active.task:
            if self.active.runner:
                self.active.runner.cancelled_because = reason
            task = self.active.task
            task.cancel()
            await asyncio.wait([task])
            return True
        for entry in self.waiting:
            if entry.spec.run == run:
                self.waiting.remove(entry)
                try:
                    _finish(entry.journal_path, "cancelled", reason + " while it waited")
                except OSError as error:  # a full disk: it is out of line all the same
                    _say(f"the end of run {run} cannot be noted: {error}")
                await self._announce()
                return True
        return False

    async def cancel_all(self) -> None:
        """Stop everything; for the agent's own end."""
        for entry in list(self.waiting):
            await self.cancel(entry.spec.run)
        if self.active:
            await self.cancel(self.active.spec.run)

    async def wait_change(self, seen: int) -> None:
        """Until something is journalled or the line moves after `changes` was `seen`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.changes != seen)

    def status(self) -> dict[str, Any]:
        """Who is measured, who waits and for how many seconds at most, and the latest runs that ended."""
        line, before_s, queue = self._line(), 0.0, []
        for place, entry in enumerate(line):
            queue.append(
                {
                    "run": entry.spec.run,
                    "owner": entry.owner,
                    "place": place,
                    "since_s": round(time.monotonic() - entry.since, 1),
                    "wait_s": round(before_s, 1),
                    "remaining_s": round(entry.remaining_s, 1),
                    "followers": entry.followers,
                }
            )
            before_s += entry.remaining_s
        in_line = {entry.spec.run for entry in line}
        ended = []
        for directory in [path for path in self._latest() if path.name not in in_line][:5]:
            last, spec = last_record(directory / "journal.jsonl") or {}, read_json(directory / "spec.json") or {}
            ended.append({"run": directory.name, "owner": spec.get("owner"), "status": last.get("status", "unknown")})
        state = "idle" if not self.active else "waiting" if self.held_by else "measuring"
        return {"state": state, "held_by": self.held_by, "queue": queue, "ended": ended}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _line(self) -> list[Entry]:
        return ([self.active] if self.active else []) + in_turn(self.waiting, self._turns)

    def _require_free(self) -> None:
        line = self._line()
        if line:
            first, seconds = line[0], sum(entry.remaining_s for entry in line)
            raise Busy(
                f"the board is measuring run {first.spec.run} of {first.owner}, {len(line) - 1} more wait, "
                f"and it will be free in {seconds:.0f} s at most"
            )
        with contextlib.suppress(OSError):  # a lock that cannot be used is done without
            if holder := self.machine.holder():
                raise Busy(f"{holder} is measuring on this machine")

    def _start_next(self) -> None:
        if self.active is None and self.waiting:
            self.active = in_turn(self.waiting, self._turns)[0]
            self.waiting.remove(self.active)
            self._turns[self.active.owner] = max(self._turns.values(), default=0) + 1
            self.active.since = time.monotonic()
            self.active.task = asyncio.get_running_loop().create_task(self._carry_out(self.active))

    async def _carry_out(self, entry: Entry) -> None:
        try:
            with Journal(entry.journal_path, reserve=True) as journal:
                entry.runner = Runner(entry.spec, self.store, journal, agent=self.agent,
                                      worker_command=self.worker_command, notify=self._announce_soon)  # fmt: skip
                await entry.runner.run(before=self._take_machine)
        finally:
            self.machine.release()
            self.active = self.held_by = None
            if entry.left_alone:
                entry.left_alone.cancel()
            self._start_next()
            self._announce_soon()
            if self.active is None:
                self.on_idle()

    async def _take_machine(self) -> None:
        """Wait for the agents of other users on this machine; a lock that cannot be used is done without."""
        while True:
            try:
                if self.machine.acquire():
                    break
                holder = self.machine.holder()
            except OSError as error:
                _say(f"measuring without the machine's lock: {error}")
                break
            if holder != self.held_by:
                self.held_by = holder
                await self._announce()
            await asyncio.sleep(_LOCK_S)
        if self.held_by:
            self.held_by = None
            await self._announce()

    def _alone(self, entry: Entry) -> None:
        """Nobody listens to a run: it is taken off the board if that stays so."""
        linger_s = entry.spec.linger_s
        reason = f"cancelled because nobody had followed it for {linger_s:g} s"

        def give_up() -> None:
            if not self.ended(entry.spec.run):
                self._do_soon(self.cancel(entry.spec.run, reason))

        entry.left_alone = asyncio.get_running_loop().call_later(linger_s, give_up)

    def _announce_soon(self) -> None:
        self._do_soon(self._announce())

    def _do_soon(self, what: Any) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._soon.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._soon.discard)

    async def _announce(self) -> None:
        self.changes += 1
        async with self._changed:
            self._changed.notify_all()


def _finish(path: Path, status: str, reason: str) -> None:
    with Journal(path) as journal:
        journal.append("finished", status=status, reason=reason)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk takes the log, not the agent
        print(text, file=sys.stderr, flush=True)
