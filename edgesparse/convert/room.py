"""Room for checks that run side by side, each in a process of its own: the one that began first may take what it needs,
and those beside it stop growing where all together would take more than there is room for, until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

# How often the memory of those beside the first is looked at.
_LOOK_S = 0.003


@dataclass(frozen=True)
class Needs:
    """What a check takes beyond what its worker has anyway, in bytes, as far as it is known before.

    Args:
        at_once: before it can be stopped well.
        at_most: in all.
    """

    at_once: int
    at_most: int


class _Place:
    """A check that has room."""

    def __init__(self, worker: int, needs: Needs) -> None:
        self.worker, self.needs = worker, needs
        self._stopped_s: float | None = None
        self._waited_s = 0.0
        self._child: Path | None = None
        self._before = 0

    def grown(self) -> int:
        """Bytes that the worker's child has taken since it was first seen."""
        with contextlib.suppress(OSError, ValueError, IndexError):  # one or the other has ended
            if self._child is None:
                children = Path(f"/proc/{self.worker}/task/{self.worker}/children").read_text().split()
                self._child = Path(f"/proc/{children[0]}/statm")
                self._before = _anonymous_bytes(self._child)
            return _anonymous_bytes(self._child) - self._before
        return 0

    def waited_s(self) -> float:
        """How long they have been stopped, in all."""
        return self._waited_s + (0.0 if self._stopped_s is None else time.monotonic() - self._stopped_s)

    def stop(self) -> None:
        """Stop the worker and its child, if they are not."""
        if self._stopped_s is None:
            self._stopped_s = time.monotonic()
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have them go on, if they are stopped."""
        if self._stopped_s is not None:
            self._waited_s, self._stopped_s = self.waited_s(), None
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.worker, number)


class Room:
    """So many bytes for the children of workers together, each worker the leader of a process group of its own.

    Args:
        size: bytes; None for no limit.
    """

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._places: list[_Place] = []
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def taken(self, worker: int, needs: Needs) -> AsyncIterator[Callable[[], float]]:
        """Wait until there is room for what a worker's next child takes at once, and watch it while the block lasts.

        Yields:
            How many seconds of that it has been stopped.
        """
        if self.size is None:
            yield lambda: 0.0
            return
        place = _Place(worker, needs)
        self._places.append(place)
        watching = None
        try:
            while place is not self._places[0] and not (_children_are_told() and needs.at_once <= self._left()):
                self._changed.clear()
                await self._changed.wait()
            watching = asyncio.create_task(self._watch(place))
            yield place.waited_s
        finally:
            self._places.remove(place)
            self._changed.set()
            if watching:
                watching.cancel()
            place.go_on()

    def _left(self) -> int:
        """For those beside the first."""
        assert self.size is not None
        return self.size - self._places[0].needs.at_most

    async def _watch(self, place: _Place) -> None:
        while place is not self._places[0]:
            beside = sum(each.grown() for each in self._places[1:])
            if beside > self._left():
                place.stop()
            await asyncio.sleep(_LOOK_S)
        place.go_on()


def _anonymous_bytes(statm: Path) -> int:
    """That are in memory and of no file."""
    resident, shared = statm.read_text().split()[1:3]
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def _children_are_told() -> bool:
    """Whether this kernel says which processes are a process's children."""
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()
