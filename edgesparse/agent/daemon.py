"""The agent daemon: a Unix socket that only its user can open, a queue of runs, and their records to whoever
follows."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

from edgesparse import __version__, wire
from edgesparse.agent.conditions import program_architecture
from edgesparse.agent.control import RUNTIME
from edgesparse.agent.dialling import SOCKET
from edgesparse.agent.journal import read_from
from edgesparse.agent.queue import Busy, RunQueue
from edgesparse.agent.service import Service
from edgesparse.agent.store import LOCK, LOG, BoardStore
from edgesparse.agent.tuning import Tuning

SEND_DEADLINE_S = 60.0
LOCK_DEADLINE_S = 5.0
# How often a follower is asked whether it is there, and how often in vain before it counts as gone: nothing else tells
# that a link has fallen silent while a run waits in line.
PING_S = 15.0
UNANSWERED_PINGS = 3
# For clients to hear how their runs ended, and to go, when the agent ends.
LAST_WORDS_S = 2.0


class Daemon:
    """Serves one board's store.

    Args:
        store: the board's store.
        sha256: the hash that names this agent's zipapp.
        worker_command: the command line that starts a worker.
        idle_exit_s: end after so long without a run or a client; None: stay.
    """

    def __init__(self, store: BoardStore, sha256: str, worker_command: list[str], idle_exit_s: float | None) -> None:
        self.store, self.sha256, self.idle_exit_s = store, sha256, idle_exit_s
        self.queue = RunQueue(store, {"version": __version__, "sha256": sha256}, worker_command)
        self.queue.on_idle = self._restart_idle_timer
        self.clients: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._followers: set[asyncio.Future[None]] = set()
        self.started = time.time()
        self._ending = asyncio.Event()
        self._idle_timer: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Until stopped. The socket's name is relative to the store, so that its length never matters."""
        os.chdir(self.store.home)
        Path(SOCKET).unlink(missing_ok=True)
        self.queue.close_interrupted()
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._client, path=SOCKET, limit=wire.MAX_LINE_BYTES)
        finally:
            os.umask(mask)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        self._restart_idle_timer()
        say(f"agent {__version__} {self.sha256[:12]} listens on {self.store.home / SOCKET}")
        try:
            await self._ending.wait()
        finally:
            server.close()  # not waited for: since Python 3.12.1 that would be for every client to hang up
        await self.queue.cancel_all()
        await self._hang_up()
        Path(SOCKET).unlink(missing_ok=True)
        say("agent ends")

    async def _hang_up(self) -> None:
        """Let followers hear the end of their runs, then hang up on every client, also on one that does not listen."""
        if self._followers:
            await asyncio.wait(self._followers, timeout=LAST_WORDS_S)
        for writer in self.clients.values():
            writer.close()
        if self.clients:
            await asyncio.wait(set(self.clients), timeout=LAST_WORDS_S)
        for writer in self.clients.values():
            writer.transport.abort()

    def _restart_idle_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
        if self.idle_exit_s is not None:
            self._idle_timer = asyncio.get_running_loop().call_later(self.idle_exit_s, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.queue.active or self.queue.waiting or self.clients:
            self._restart_idle_timer()
        else:
            self._ending.set()

    # -- one client --------------------------------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients[task] = writer
        try:
            await self._send(writer, self._hello())
            greeted = False
            while line := await reader.readline():
                if greeted:
                    await self._answer(wire.decode(line), reader, writer)
                else:
                    wire.check_hello(wire.decode(line), whom="the host")
                    greeted = True
        except (wire.WireError, ValueError, asyncio.LimitOverrunError) as error:
            await self._complain(writer, str(error))
        except (ConnectionError, asyncio.TimeoutError):
            say("a client's link broke")
        except OSError as error:  # such as a full disk
            await self._complain(writer, str(error))
        finally:
            del self.clients[task]
            self._restart_idle_timer()
            writer.close()

    async def _complain(self, writer: asyncio.StreamWriter, message: str) -> None:
        say(f"refused: {message}")
        try:
            await self._send(writer, {"type": "error", "code": "refused", "message": message})
        except (ConnectionError, asyncio.TimeoutError):
            say("and the client had gone")

    async def _send(self, writer: asyncio.StreamWriter, message: wire.Message) -> None:
        writer.write(wire.encode(message))
        await asyncio.wait_for(writer.drain(), SEND_DEADLINE_S)

    async def _answer(self, message: wire.Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = message["type"]
        if kind == "status":
            await self._send(writer, self._status())
        elif kind == "submit":
            spec = wire.RunSpec.from_message(message.get("spec"))
            await self._submit(spec, message.get("wait") is not False, writer)
        elif kind == "follow":
            await self._follow(wire.identifier(message, "run"), wire.whole(message, "have"), reader, writer)
        elif kind == "cancel":
            run = wire.identifier(message, "run")
            await self._send(writer, {"type": "cancelled", "run": run, "was_in_line": await self.queue.cancel(run)})
        elif kind == "logs":
            await self._send(writer, {"type": "logs", "lines": self._log_tail(wire.whole(message, "lines"))})
        elif kind == "stop":
            await self._stop(bool(message.get("force")), writer)
        elif kind != "pong":  # one that crossed the end of a run
            raise wire.WireError(f"this agent does not know messages of type {kind!r:.60}")

    async def _submit(self, spec: wire.RunSpec, wait: bool, writer: asyncio.StreamWriter) -> None:
        try:
            place = await self.queue.submit(spec, wait=wait)
        except Busy as busy:
            await self._send(writer, {"type": "error", "code": "busy", "message": str(busy)})
            return
        accepted = {"type": "accepted", "run": spec.run, "place": place, "wait_s": self._wait_s(spec.run)}
        await self._send(writer, accepted)

    def _wait_s(self, run: str) -> float:
        return round(self.queue.wait_s(run), 1)

    def _hello(self) -> wire.Message:
        return wire.hello(
            __version__, sha256=self.sha256, pid=os.getpid(), python=sys.executable, arch=program_architecture(),
            pythonpath=os.environ.get("PYTHONPATH", ""), runtime=os.environ.get(RUNTIME, ""),
        )  # fmt: skip

    def _status(self) -> wire.Message:
        return {
            "type": "status",
            "version": __version__,
            "sha256": self.sha256,
            "pid": os.getpid(),
            "python": sys.executable,
            "uptime_s": round(time.time() - self.started, 1),
            "home": str(self.store.home),
            "service": Service(self.store.home).installed(),
            **self.queue.status(),
        }

    async def _follow(self, run: str, have: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the run's records from `have` + 1 on, live, until it ends or the client says or is something else."""
        if not self.queue.known(run):
            raise wire.WireError(f"there is no run {run} on this board")
        told = asyncio.get_running_loop().create_future()
        self._followers.add(told)
        try:
            with self.queue.followed(run):
                line = await self._tell(run, have, reader, writer)
        finally:
            self._followers.discard(told)
            told.set_result(None)
        if line:
            await self._answer(wire.decode(line), reader, writer)

    async def _tell(self, run: str, have: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The records, and then the line that the client said meanwhile; b"" if it said none.

        Raises:
            ConnectionError: the client does not answer any more.
        """
        path, offset = self.store.run_dir(run) / "journal.jsonl", 0
        last: wire.Message = {}
        told: wire.Message = {}
        unanswered, asked = 0, time.monotonic()
        said = asyncio.ensure_future(reader.readline())
        try:
            while True:
                if said.done():
                    if not _is_pong(said.result()):
                        break
                    unanswered, said = 0, asyncio.ensure_future(reader.readline())
                seen = self.queue.changes
                ended = self.queue.ended(run)  # looked at before reading: nothing is written after the end
                for position, last in read_from(path, offset):
                    offset = position
                    if last["seq"] > have:
                        await self._send(writer, {"type": "record", "record": last})
                if ended:
                    end = last if last.get("type") == "finished" else {}
                    await self._send(
                        writer, {"type": "end", "run": run, "status": end.get("status"), "reason": end.get("reason")}
                    )
                    break
                now = {"place": self.queue.place(run), "held_by": self.queue.held_by}
                if now != told:
                    told = now
                    await self._send(writer, {"type": "place", "run": run, **now, "wait_s": self._wait_s(run)})
                if time.monotonic() >= asked + PING_S:
                    if unanswered == UNANSWERED_PINGS:
                        raise ConnectionError(f"no answer to {unanswered} pings")
                    await self._send(writer, {"type": "ping"})
                    unanswered, asked = unanswered + 1, time.monotonic()
                change = asyncio.ensure_future(self.queue.wait_change(seen))
                until_ping_s = max(0.0, asked + PING_S - time.monotonic())
                await asyncio.wait([change, said], timeout=until_ping_s, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            said.cancel()
            await asyncio.wait([said])  # only one may wait on the reader
        return b"" if said.cancelled() else said.result()

    def _log_tail(self, lines: int) -> list[str]:
        path = self.store.home / LOG
        return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() and lines else []

    async def _stop(self, force: bool, writer: asyncio.StreamWriter) -> None:
        if self.queue.active and not force:
            entry = self.queue.active.spec
            message = f"the board is measuring run {entry.run} of {entry.owner}"
            await self._send(writer, {"type": "error", "code": "busy", "message": message})
            return
        await self._send(writer, {"type": "stopping"})
        self._ending.set()


def _is_pong(line: bytes) -> bool:
    return bool(line) and wire.decode(line)["type"] == "pong"


def say(text: str) -> None:
    """A line in the agent's log, which is where the daemon's stderr goes."""
    with contextlib.suppress(OSError):  # a full disk takes the log, not the agent
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), text, file=sys.stderr, flush=True)


def _put_back(home: Path) -> None:
    """What an agent that was killed in a run had changed of the board."""
    try:
        if Tuning(home).restore():
            say("put the governor back that a run before had changed")
    except OSError as error:
        say(f"the governor that a run before had changed cannot be put back: {error}")


def main(home: Path, sha256: str, worker_command: list[str], idle_exit_s: float | None) -> int:
    """Run the daemon in this process; 1 when another one already serves this store."""
    store = BoardStore(home)
    lock = (home / LOCK).open("w")
    if not _acquired(lock):
        say(f"another agent already serves {home}")
        return 1
    store.sweep()
    _put_back(home)

    async def serve() -> None:  # asyncio's primitives want the loop to run already, on the oldest Python
        await Daemon(store, sha256, worker_command, idle_exit_s).serve()

    asyncio.run(serve())
    return 0


def _acquired(lock: IO[str]) -> bool:
    """Take the store's lock; waits a little for an agent that is just ending."""
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
