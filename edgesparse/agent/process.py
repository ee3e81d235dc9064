"""The daemon's handle on a worker: a process group, a pipe with deadlines, and a reason when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgesparse import wire

STDERR_TAIL_BYTES = 2000
# The process ids of this agent's workers, as long as they live.
WORKERS: set[int] = set()


class WorkerFailed(Exception):
    """A worker that crashed, hung or said that it cannot.

    Args:
        kind: "crash", "hang", "unsupported", "error".
        reason: one clause.
        stderr_tail: the last that it wrote to stderr.
    """

    def __init__(self, kind: str, reason: str, stderr_tail: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.stderr_tail = kind, reason, stderr_tail


class WorkerProcess:
    """One worker process. Use as an async context manager: on the way out its whole group is gone, whatever happened.

    Args:
        command: the worker's command line; `--parent` and this process are added to it.
        deadline_s: how long one step may take before the worker counts as hanging.

    Attributes:
        asked: whether it has been asked for anything.
        lost: whether it has crashed, or hung, or said what nobody understands.
    """

    def __init__(self, command: Sequence[str], deadline_s: float) -> None:
        self.command, self.deadline_s = [*command, "--parent", str(os.getpid())], deadline_s
        self.asked = self.lost = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __aexit__)

    async def __aenter__(self) -> WorkerProcess:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._stderr,
                limit=wire.MAX_LINE_BYTES,
                start_new_session=True,
            )
        )
        try:
            self.process = await asyncio.shield(starting)
        except asyncio.CancelledError:  # half-started, it would be nobody's
            self.process = await starting
            await self.__aexit__()
            raise
        WORKERS.add(self.process.pid)
        self._offer_to_the_oom_killer()
        return self

    def _offer_to_the_oom_killer(self) -> None:
        """Where memory runs out, let the kernel take the worker, and neither the agent nor the board's sshd.

        Said from here and not by the worker, which may run out of memory before it can say anything.
        """
        with contextlib.suppress(OSError):  # it has ended, or the kernel has no such choice
            Path(f"/proc/{self.process.pid}/oom_score_adj").write_text("800")

    async def __aexit__(self, *error: object) -> None:
        self._end_group()
        WORKERS.discard(self.process.pid)
        cancelled = None
        while self.process.returncode is None:  # a loop that is ending cancels what is on its way out, too
            try:
                await self.process.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        self.process._transport.close()  # type: ignore[attr-defined]  # its pipes too, while there is a loop to do it
        self._stderr.close()
        if cancelled:
            raise cancelled

    def _end_group(self) -> None:
        """End the worker and all that it started, also where it has ended by itself. Its number is given to no other
        process while one of its group lives, so where there is a process of that number again, none of them does."""
        if self.process.returncode is None or not Path(f"/proc/{self.process.pid}").exists():
            with contextlib.suppress(ProcessLookupError):  # it may end between the look and the kill
                os.killpg(self.process.pid, signal.SIGKILL)

    async def ask(self, message: wire.Message, uncounted: Callable[[], float] = lambda: 0.0) -> wire.Message:
        """Send one message and wait for the answer.

        Args:
            message: to send.
            uncounted: seconds since then in which it was kept from answering.

        Raises:
            WorkerFailed: the process died, did not answer in time, answered nonsense or said that it failed.
        """
        assert self.process.stdin is not None
        self.asked = True
        try:
            self.process.stdin.write(wire.encode(message))
            await self.process.stdin.drain()
            line = await self._line(uncounted)
            if not line:
                raise await self._crashed()
            answer = wire.decode(line)
        except asyncio.TimeoutError:
            self.lost = True
            reason = f"no answer to {message['type']!r} within {self.deadline_s:g} s"
            raise WorkerFailed("hang", reason, self._tail()) from None
        except (ConnectionError, BrokenPipeError):
            raise await self._crashed() from None
        except (wire.WireError, ValueError) as error:
            self.lost = True
            raise WorkerFailed("error", f"the worker's answer cannot be read: {error}", self._tail()) from None
        if answer["type"] == "failed":
            raise WorkerFailed(str(answer.get("kind")), str(answer.get("reason")), self._tail())
        return answer

    async def _line(self, uncounted: Callable[[], float]) -> bytes:
        """What it says next; raises asyncio.TimeoutError where that takes too long."""
        assert self.process.stdout is not None
        reading = asyncio.ensure_future(self.process.stdout.readline())
        began_s = time.monotonic()
        try:
            while not reading.done():
                left_s = self.deadline_s + uncounted() - (time.monotonic() - began_s)
                if left_s <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({reading}, timeout=left_s)
            return reading.result()
        finally:
            reading.cancel()

    async def _crashed(self) -> WorkerFailed:
        self.lost = True
        code = await self.process.wait()
        if code < 0:
            reason = f"the worker was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                reason += ", as the kernel does where memory runs out"
        else:
            reason = f"the worker ended with exit code {code}"
        return WorkerFailed("crash", reason, self._tail())

    def _tail(self) -> str:
        descriptor = self._stderr.fileno()  # read at a place of our own: the worker writes through the same offset
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES)).decode(errors="replace")
