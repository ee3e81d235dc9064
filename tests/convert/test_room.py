"""Checks that share room: real processes that grow, how much they have together, and in which order they go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from edgesparse.convert import room as rooms
from edgesparse.convert.room import Needs, Room

MB = 1_000_000

# A worker whose children grow by a megabyte at a time, and end.
WORKER = """
import os, sys, time
for line in sys.stdin:
    size, pause_s = line.split()
    if not (child := os.fork()):
        held = []
        for _ in range(int(size)):
            held.append(b"x" * 1_000_000)
            time.sleep(float(pause_s))
        os._exit(0)
    os.waitpid(child, 0)
    print("done", flush=True)
"""


class Growing:
    """A worker, and what of its children has been seen."""

    async def __aenter__(self) -> Growing:
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, stdin=pipe, stdout=pipe, start_new_session=True
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self.end()
        await self.process.wait()

    def end(self) -> None:
        """With its child."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def grow(self, room: Room, megabytes: int, needs: Needs, pause_s: float = 0.004) -> float:
        """When a child of so many has ended."""
        assert self.process.stdin and self.process.stdout
        async with room.taken(self.process.pid, needs):
            self.process.stdin.write(f"{megabytes} {pause_s}\n".encode())
            assert await self.process.stdout.readline() == b"done\n"
        return asyncio.get_running_loop().time()

    def seen(self) -> Iterator[tuple[float, str]]:
        """Megabytes that each child has of its own, and its state."""
        for child in psutil.Process(self.process.pid).children():
            try:
                yield child.memory_full_info().uss / MB, child.status()
            except psutil.NoSuchProcess:
                continue


async def watched(workers: list[Growing], work: list[Any]) -> tuple[list[float], float, set[int]]:
    """When each ended, the most that all had together, and the numbers of those that were seen stopped."""
    tasks = [asyncio.ensure_future(each) for each in work]
    most, stopped = 0.0, set()
    while not all(task.done() for task in tasks):
        seen = [list(worker.seen()) for worker in workers]
        most = max(most, sum(size for each in seen for size, _ in each))
        stopped |= {number for number, each in enumerate(seen) if any(how == psutil.STATUS_STOPPED for _, how in each)}
        await asyncio.sleep(0.01)
    return [task.result() for task in tasks], most, stopped


@pytest.mark.parametrize(("size", "most_mb", "second_stops"), [(130 * MB, 140, True), (None, 400, False)])
def test_the_one_beside_the_first_stops_where_both_would_take_too_much(
    size: int | None, most_mb: int, second_stops: bool
) -> None:
    async def both() -> tuple[list[float], float, set[int]]:
        room = Room(size)
        async with Growing() as one, Growing() as other:
            work = [one.grow(room, 100, Needs(0, 100 * MB)), other.grow(room, 90, Needs(0, 100 * MB))]
            return await watched([one, other], work)

    ended, most, stopped = asyncio.run(both())
    assert most < most_mb
    assert stopped == ({1} if second_stops else set())
    if second_stops:
        assert ended[0] < ended[1]
    else:
        assert most > 140


def test_who_needs_more_at_once_than_is_left_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(at_once: int) -> tuple[list[float], float, set[int]]:
        room = Room(100 * MB)
        async with Growing() as one, Growing() as other:
            work = [one.grow(room, 60, Needs(0, 60 * MB)), other.grow(room, 30, Needs(at_once, 60 * MB))]
            return await watched([one, other], work)

    ended, most, stopped = asyncio.run(both(41 * MB))
    assert ended[0] < ended[1] and most < 70 and not stopped
    ended, most, stopped = asyncio.run(both(39 * MB))
    assert ended[1] < ended[0] and not stopped
    # Where nobody can see how much a worker's child has, one goes after the other.
    monkeypatch.setattr(rooms, "_children_are_told", lambda: False)
    ended, most, stopped = asyncio.run(both(0))
    assert ended[0] < ended[1] and most < 70


def test_whoever_came_first_goes_on_first() -> None:
    """A worker's second check comes behind the other worker's first."""

    async def three() -> tuple[list[float], float, set[int]]:
        room, needs = Room(130 * MB), Needs(0, 100 * MB)

        async def twice(worker: Growing) -> float:
            await worker.grow(room, 100, needs)
            return await worker.grow(room, 100, needs)

        async with Growing() as one, Growing() as other:
            return await watched([one, other], [twice(one), other.grow(room, 100, needs)])

    ended, most, stopped = asyncio.run(three())
    assert ended[1] < ended[0] and most < 140
    assert stopped == {0, 1}


def test_a_worker_that_ends_or_is_given_up_leaves_its_room() -> None:
    async def given_up() -> None:
        room, needs = Room(50 * MB), Needs(30 * MB, 50 * MB)
        async with Growing() as one, Growing() as other, Growing() as third:
            first = asyncio.ensure_future(one.grow(room, 1000, needs))
            waiting = asyncio.ensure_future(other.grow(room, 10, needs))
            last = asyncio.ensure_future(third.grow(room, 10, needs))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            waiting.cancel()
            one.end()
            with pytest.raises(AssertionError):  # no answer
                await first
            await asyncio.wait_for(last, 30)

    asyncio.run(given_up())
