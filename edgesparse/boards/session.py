"""A board made ready: reached, with a runtime, this version's agent running, and the files of a bundle in its store.

Each step asks first what is there already, so that doing all of it again moves nothing and takes a second.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stamina

from edgesparse.boards.agent_link import AgentLink
from edgesparse.boards.inventory import Board
from edgesparse.boards.provision import BoardFacts, Interpreter, RuntimeEnv, choose_python, ensure_runtime, probe
from edgesparse.boards.transport import LinkLost, Transport, missing
from edgesparse.errors import BoardError
from edgesparse.zipapp import agent_zipapp

stamina.instrumentation.set_on_retry_hooks([])  # retries are told through `progress`; a log line would break --json

COMMAND_S = 60.0
RECONNECT_S = 120.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """What a push did: objects that were already there, and bytes that had to move; `sent_bytes` is what they took on
    the link, compressed where there is one."""

    present: int
    moved: int
    moved_bytes: int
    sent_bytes: int = 0


class BoardSession:
    """One board, reached.

    Args:
        board: which, and where.
        reach: opens a transport to it; called again when the link is lost.
        progress: told each step in a few words.

    Raises:
        BoardError: the board cannot be reached, has no usable Python, no runtime, or is busy under another agent.
    """

    def __init__(
        self, board: Board, reach: Callable[[Board], Transport], progress: Progress = lambda text: None
    ) -> None:
        self.board, self._reach, self.progress = board, reach, progress
        progress(f"reaching {board.name}")
        self.transport = reach(board)
        self.home = self.transport.home
        self._facts: BoardFacts | None = None
        self._python: Interpreter | None = None
        self._runtime: RuntimeEnv | None = None

    def __enter__(self) -> BoardSession:
        return self

    def __exit__(self, *error: Any) -> None:
        self.transport.close()

    @property
    def facts(self) -> BoardFacts:
        """What the board has; asked once."""
        if self._facts is None:
            self.progress(f"asking {self.board.name} what it has")
            self._facts = probe(self.transport, self.board)
        return self._facts

    @property
    def python(self) -> Interpreter:
        """The Python that runs the agent there."""
        if self._python is None:
            self._python = choose_python(self.facts, self.board)
        return self._python

    @property
    def runtime(self) -> RuntimeEnv:
        """The Python and TFLite runtime that workers use there; provided where the board has none."""
        if self._runtime is None:
            self._runtime = ensure_runtime(self.transport, self.board, self.facts, self.python, self.progress)
        return self._runtime

    # -- files -------------------------------------------------------------------------------------------------------

    def push(self, files: Iterable[tuple[Path, str]], on_bytes: Callable[[int], None] = lambda count: None) -> Pushed:
        """Put files, each with its SHA-256, into the board's store; those that are there are skipped."""
        wanted = {sha256: local for local, sha256 in files}
        absent = missing(self.transport, [f"{self.home}/objects/{sha256}" for sha256 in wanted])
        pairs = [(wanted[remote.rsplit("/", 1)[1]], remote) for remote in absent]
        moved_bytes = sum(local.stat().st_size for local, _ in pairs)
        sent_bytes = self.transport.put(pairs, on_bytes) if pairs else 0
        return Pushed(len(wanted) - len(pairs), len(pairs), moved_bytes, sent_bytes)

    # -- the agent ---------------------------------------------------------------------------------------------------

    def push_agent(self) -> None:
        """Put this version's agent onto the board; not started yet."""
        data, sha256 = agent_zipapp()
        remote = f"{self.home}/agent/{sha256}.pyz"
        if missing(self.transport, [remote]):
            self.progress(f"pushing the agent to {self.board.name}")
            with tempfile.TemporaryDirectory() as directory:
                local = Path(directory) / f"{sha256}.pyz"
                local.write_bytes(data)
                self.transport.put([(local, remote)], lambda count: None)

    def start_agent(self) -> None:
        """Make sure that this version's agent runs there, with the runtime's Python and path.

        Raises:
            BoardError: another version measures just now, or the agent does not start.
        """
        self.push_agent()
        arguments = ["start", "--home", self.home]
        if self.board.type.agent.idle_exit_s is not None:
            arguments += ["--idle-exit", str(self.board.type.agent.idle_exit_s)]
        pythonpath = f"PYTHONPATH={os.pathsep.join(self.runtime.pythonpath)}"
        done = self.transport.run(["env", pythonpath, *self._agent_command(*arguments)], timeout_s=COMMAND_S)
        try:
            state = json.loads(done.stdout)
        except ValueError:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise BoardError(
                f"The agent on {self.board.name} did not start: {self.python.path} said {said[0]!r}.",
                hint=f"Look at its log: edgesparse agent logs --board {self.board.name}",
            ) from None
        if state["state"] == "busy":
            hint = f"Wait for it, or end it: edgesparse agent stop --force --board {self.board.name}"
            raise BoardError(f"{self.board.name} is busy: {state['message']}.", hint=hint)
        if state["state"] == "failed":
            raise BoardError(f"{self.board.name}: {state['message']}.", hint="Is its disk full, its home writable?")

    def link(self) -> AgentLink:
        """A conversation with the agent that runs there.

        Raises:
            LinkLost: no agent listens.
        """
        return AgentLink(self.transport.open(self._agent_command("connect", "--home", self.home)), self.board.name)

    def _agent_command(self, *arguments: str) -> list[str]:
        return [self.python.path, f"{self.home}/agent/{agent_zipapp()[1]}.pyz", *arguments]

    def reconnect(self) -> None:
        """Reach the board anew after the link was lost, for up to two minutes, and see that its agent runs.

        Raises:
            BoardError: it stays out of reach.
        """
        self.transport.close()
        for attempt in stamina.retry_context(on=LinkLost, attempts=None, timeout=RECONNECT_S, wait_max=10.0):
            with attempt:
                self.progress(f"the link to {self.board.name} is lost; reaching it again (attempt {attempt.num})")
                self.transport = self._reach(self.board)
                self.start_agent()
