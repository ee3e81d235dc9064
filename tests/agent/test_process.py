"""A worker's process and what it started, on its way out."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import psutil

from edgesparse.agent.process import WorkerProcess
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
