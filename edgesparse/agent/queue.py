"""The runs of this board: who waits, who is measured, and what became of the others."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesparse import wire
from edgesparse.agent.journal import Journal, last_record
from edgesparse.agent.runner import Runner
from edgesparse.agent.store import BoardStore, read_json, write_aside

KEPT_RUNS = 50


class Entry:
    """A run that waits or is being measured."""

    def __init__(self, spec: wire.RunSpec, journal_path: Path) -> None:
        self.spec, self.journal_path = spec, journal_path
        self.task: asyncio.Task[None] | None = None


class RunQueue:
    """One measurement at a time, in the order of arrival.

    Args:
        store: the board's store.
        agent: version and sha256 of this agent.
        worker_command: the command line that starts a worker.
    """

    def __init__(self, store: BoardStore, agent: dict[str, str], worker_command: list[str]) -> None:
        self.store, self.agent, self.worker_command = store, agent, worker_command
        self.waiting: list[Entry] = []
        self.active: Entry | None = None
        self.changes = 0
        self._changed = asyncio.Condition()
        self._announcing: set[asyncio.Task[None]] = set()
        self.on_idle: Callable[[], None] = lambda: None

    def close_interrupted(self) -> None:
        """Mark the runs that an earlier agent left unfinished: nobody will go on with them."""
        for directory in sorted((self.store.home / "runs").iterdir()):
            last = last_record(directory / "journal.jsonl")
            if last is None or last["type"] != "finished":
                with Journal(directory / "journal.jsonl") as journal:
                    reason = "the agent was stopped or the board restarted in the middle of the run"
                    journal.append("finished", status="failed", reason=reason)
        kept = sorted((self.store.home / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
        for directory in kept[:-KEPT_RUNS]:
            shutil.rmtree(directory)

    # -- what clients ask for ----------------------------------------------------------------------------------------

    async def submit(self, spec: wire.RunSpec) -> int:
        """Put a run in line and return its place (0: it is next or running). Submitting the same run again changes
        nothing.

        Raises:
            wire.WireError: files of the run are not in the store.
        """
        if self.known(spec.run):
            return self.place(spec.run) or 0
        wanted = {
            name for files in spec.files.values() for name in (files.model, files.twin, files.inputs, files.golden)
        }
        if spec.delegate:
            wanted.add(spec.delegate.library)
        missing = self.store.missing(sorted(name for name in wanted if name))
        if missing:
            raise wire.WireError(
                f"{len(missing)} files of the run are not on the board, the first is {missing[0]}; deploy again"
            )
        directory = self.store.run_dir(spec.run)
        directory.mkdir(mode=0o700)
        write_aside(directory / "spec.json", json.dumps(spec.to_message()).encode())
        self.waiting.append(Entry(spec, directory / "journal.jsonl"))
        self._start_next()
        await self._announce()
        return self.place(spec.run) or 0

    def known(self, run: str) -> bool:
        """Is there such a run, in whatever state?"""
        return (self.store.run_dir(run) / "spec.json").is_file()

    def place(self, run: str) -> int | None:
        """How many runs are before this one; 0 when it is being measured, None when it is not in line."""
        line = ([self.active] if self.active else []) + self.waiting
        return next((place for place, entry in enumerate(line) if entry.spec.run == run), None)

    def ended(self, run: str) -> bool:
        """Is it neither waiting nor being measured?"""
        return self.place(run) is None

    async def cancel(self, run: str) -> bool:
        """Take a run out of line or stop it; returns when the board is free of it. False when it is not in line."""
        if self.active and self.active.spec.run == run and self.active.task:
            task = self.active.task
            task.cancel()
            await asyncio.wait([task])
            return True
        for entry in self.waiting:
            if entry.spec.run == run:
                self.waiting.remove(entry)
                with Journal(entry.journal_path) as journal:
                    journal.append("finished", status="cancelled", reason="cancelled while it waited")
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
        """Who is measured, who waits, and the latest runs that ended."""
        line = ([self.active] if self.active else []) + self.waiting
        latest = sorted((self.store.home / "runs").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        in_line = {entry.spec.run for entry in line}
        ended = []
        for directory in [path for path in latest if path.name not in in_line][:5]:
            last, spec = last_record(directory / "journal.jsonl") or {}, read_json(directory / "spec.json") or {}
            ended.append({"run": directory.name, "owner": spec.get("owner"), "status": last.get("status", "unknown")})
        return {
            "state": "measuring" if self.active else "idle",
            "queue": [{"run": entry.spec.run, "owner": entry.spec.owner, "place": n} for n, entry in enumerate(line)],
            "ended": ended,
        }

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start_next(self) -> None:
        if self.active is None and self.waiting:
            self.active = self.waiting.pop(0)
            self.active.task = asyncio.get_running_loop().create_task(self._carry_out(self.active))

    async def _carry_out(self, entry: Entry) -> None:
        try:
            with Journal(entry.journal_path) as journal:
                runner = Runner(entry.spec, self.store, journal, agent=self.agent, worker_command=self.worker_command,
                                notify=self._announce_soon)  # fmt: skip
                await runner.run()
        finally:
            self.active = None
            self._start_next()
            self._announce_soon()
            if self.active is None:
                self.on_idle()

    def _announce_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._announce())
        self._announcing.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._announcing.discard)

    async def _announce(self) -> None:
        self.changes += 1
        async with self._changed:
            self._changed.notify_all()
