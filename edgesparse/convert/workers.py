"""Worker processes here: one for each runtime, started before it is needed, that serves until all is done."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from edgesparse.agent.process import WorkerFailed, WorkerProcess

DEADLINE_S = 120.0
Result = TypeVar("Result")


class Workers:
    """The workers, and a loop in a thread of its own to talk to them: also in a notebook, which has a loop already.

    Use as a context manager: on the way out no worker is left, and what still waits for one is cancelled.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="workers", daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._workers: dict[str, WorkerProcess] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def __enter__(self) -> Workers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.submit(self._end_all()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin with something; a thread may wait for its result."""

        async def begun() -> Result:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                return await work
            finally:
                self._tasks.discard(task)

        return asyncio.run_coroutine_threadsafe(begun(), self._loop)

    async def prepare(self, runtime: str) -> None:
        """Have a runtime's worker ready; one that cannot will say so when it is asked for something."""
        async with self.of(runtime) as worker:
            with contextlib.suppress(WorkerFailed):
                await worker.ask({"type": "prepare", "runtime": runtime})

    @contextlib.asynccontextmanager
    async def of(self, runtime: str) -> AsyncIterator[WorkerProcess]:
        """A runtime's worker, for this block alone: the one that there is, or a new one where it has been lost."""
        async with self._locks[runtime]:
            if runtime in self._workers and self._workers[runtime].process.returncode is not None:
                await self.end(runtime)  # somebody has killed it since
            if runtime not in self._workers:
                worker = WorkerProcess([sys.executable, "-m", "edgesparse.agent", "worker"], DEADLINE_S)
                self._workers[runtime] = await worker.__aenter__()
            served = False
            try:
                yield self._workers[runtime]
                served = not self._workers[runtime].lost
            finally:
                if not served:  # an answer that nobody waited for would be taken for the next one's
                    await self.end(runtime)

    async def end(self, runtime: str) -> None:
        """Let go of a runtime's worker, if there is one."""
        if worker := self._workers.pop(runtime, None):
            await worker.__aexit__()

    async def _end_all(self) -> None:
        others = self._tasks - {asyncio.current_task()}  # and not those that the loop has for itself
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for runtime in list(self._workers):
            await self.end(runtime)
