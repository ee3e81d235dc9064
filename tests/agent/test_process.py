"""A worker's process and what it started, on its way out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from edgesparse.agent.process import WorkerFailed, WorkerProcess
from tests.waiting import wait_until

# Leaves a process of its group behind and ends.
LEAVES_ONE = """read line; sleep 600 </dev/null >/dev/null 2>&1 & echo '{"type":"ran","pid":'$!'}'"""


def test_what_a_worker_started_goes_also_where_it_has_ended_itself() -> None:
    async def left() -> int:
        async with WorkerProcess(["sh", "-c", LEAVES_ONE], 60.0) as worker:
            pid = int((await worker.ask({"type": "run"}))["pid"])
            await worker.process.wait()
            assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return pid

    pid = asyncio.run(left())
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(("stopped_s", "answers"), [(0.0, False), (1.5, True)])
def test_time_in_which_it_was_kept_from_answering_does_not_count(stopped_s: float, answers: bool) -> None:
    async def ask() -> dict[str, Any]:
        async with WorkerProcess(["sh", "-c", """read line; sleep 1.5; echo '{"type":"ran"}'"""], 1.0) as worker:
            assert not worker.asked
            began_s = time.monotonic()
            try:
                return await worker.ask({"type": "run"}, lambda: min(time.monotonic() - began_s, stopped_s))
            finally:
                assert worker.asked and worker.lost is not answers

    if answers:
        assert asyncio.run(ask()) == {"type": "ran"}
        return
    with pytest.raises(WorkerFailed, match="no answer to 'run' within 1 s"):
        asyncio.run(ask())


def test_a_worker_that_says_what_nobody_understands_is_lost() -> None:
    async def ask() -> None:
        async with WorkerProcess(["sh", "-c", "read line; echo no JSON"], 60.0) as worker:
            with pytest.raises(WorkerFailed, match="cannot be read"):
                await worker.ask({"type": "run"})
            assert worker.lost

    asyncio.run(ask())


def test_a_worker_whose_parent_has_ended_before_it_began_does_nothing() -> None:
    command = [sys.executable, "-m", "edgesparse.agent", "worker", "--parent", "1"]
    done = subprocess.run(command, input=b'{"type":"measure"}\n', capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


def test_workers_that_are_left_in_a_hurry_leave_nothing_to_grumble_about() -> None:
    """Ctrl-C cancels all that is beside each other, and once more what is still on its way out when the loop ends."""
    code = "\n".join([
        "import asyncio, sys",
        "from edgesparse.agent.process import WorkerProcess",
        "async def hold():",
        "    async with WorkerProcess([sys.executable, '-c', 'input()'], 60.0) as worker:",
        "        workers.append(worker.process.pid)",
        "        await asyncio.sleep(60)",
        "async def main():",
        "    both = asyncio.gather(hold(), hold(), hold())",
        "    while len(workers) < 3:",
        "        await asyncio.sleep(0.01)",
        "    both.cancel()",
        "    await both",
        "for _ in range(5):",
        "    workers = []",
        "    try:",
        "        asyncio.run(main())",
        "    except asyncio.CancelledError:",
        "        print(len(workers))",
    ])  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3\n" * 5, "")
