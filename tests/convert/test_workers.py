"""Workers that serve until all is done: which one serves whom, and what is left of them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from edgesparse.agent.process import WorkerFailed
from edgesparse.convert import workers as module
from edgesparse.convert.workers import Workers

RUNTIME = "ai-edge-litert"


async def pid_of(workers: Workers) -> int:
    async with workers.of(RUNTIME) as worker:
        return worker.process.pid


def test_one_worker_serves_all_and_is_gone_in_the_end() -> None:
    with Workers() as workers:
        workers.submit(workers.prepare(RUNTIME)).result()
        pids = {workers.submit(pid_of(workers)).result() for _ in range(3)}
        assert len(pids) == 1
        # What the worker has is what its children need.
        mapped = {Path(each.path).name for each in psutil.Process(*pids).memory_maps()}
        assert any("interpreter_wrapper" in name for name in mapped) and any("multiarray" in name for name in mapped)
    assert not psutil.pid_exists(*pids)


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_a_worker_that_is_lost_is_replaced(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 60.0 if how == "crash" else 1.0)

    async def lose(workers: Workers) -> int:
        async with workers.of(RUNTIME) as worker:
            process = psutil.Process(worker.process.pid)
            process.kill() if how == "crash" else process.suspend()
            with pytest.raises(WorkerFailed) as failed:
                await worker.ask({"type": "prepare", "runtime": RUNTIME})
            assert failed.value.kind == how
            return worker.process.pid

    with Workers() as workers:
        lost = workers.submit(lose(workers)).result()
        assert not psutil.pid_exists(lost)
        workers.submit(workers.prepare(RUNTIME)).result()
        assert workers.submit(pid_of(workers)).result() != lost


def test_a_worker_that_somebody_killed_meanwhile_is_replaced() -> None:
    with Workers() as workers:
        workers.submit(workers.prepare(RUNTIME)).result()
        killed = workers.submit(pid_of(workers)).result()
        psutil.Process(killed).kill()
        while psutil.pid_exists(killed):
            time.sleep(0.01)
        time.sleep(0.1)
        assert workers.submit(pid_of(workers)).result() != killed


def test_a_runtime_that_is_not_here_says_so_when_it_is_needed() -> None:
    async def ask(workers: Workers) -> None:
        async with workers.of("tvm") as worker:
            await worker.ask({"type": "prepare", "runtime": "tvm"})

    with Workers() as workers:
        workers.submit(workers.prepare("tvm")).result()
        with pytest.raises(WorkerFailed, match="no runtime is called 'tvm'"):
            workers.submit(ask(workers)).result()


def test_leaving_waits_for_nothing_that_is_still_on() -> None:
    pids = []

    async def wait(workers: Workers) -> None:
        async with workers.of(RUNTIME) as worker:
            pids.append(worker.process.pid)
            await asyncio.sleep(600)

    with pytest.raises(KeyboardInterrupt), Workers() as workers:
        work = [workers.submit(wait(workers)) for _ in range(2)]  # the second waits for the first
        while not pids:
            time.sleep(0.01)
        began_s = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began_s < 10
    assert all(each.cancelled() for each in work)
    assert not psutil.pid_exists(*pids)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.1])
def test_leaving_while_a_worker_starts_leaves_none(after_s: float) -> None:
    before = set(psutil.Process().children())  # other tests' servers
    with Workers() as workers:
        starting = workers.submit(workers.prepare(RUNTIME))
        time.sleep(after_s)
    assert starting.done()
    assert not set(psutil.Process().children()) - before


def test_workers_serve_where_a_loop_runs_already() -> None:
    async def notebook() -> int:
        with Workers() as workers:
            return workers.submit(pid_of(workers)).result()

    assert asyncio.run(notebook()) > 0
