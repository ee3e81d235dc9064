"""A board made ready: reached, with a runtime, this version's agent running, and the files of a bundle in its store.

Each step asks first what is there already, so that doing all of it again moves nothing and takes a second.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stamina

from edgesparse import wire
from edgesparse.agent import dialling
from edgesparse.agent.store import LOG
from edgesparse.boards.agent_link import AgentLink
from edgesparse.boards.inventory import Board
from edgesparse.boards.provision import (
    BoardFacts,
    Interpreter,
    RuntimeEnv,
    RuntimePlan,
    carry_out,
    choose_python,
    ensure_runtime,
    probe,
)
from edgesparse.boards.transport import LinkLost, Stream, Transport, missing
from edgesparse.errors import BoardError
from edgesparse.interrupting import raise_if_interrupted
from edgesparse.zipapp import agent_zipapp

stamina.instrumentation.set_on_retry_hooks([])  # retries are told through `progress`; a log line would break --json

# The agent itself waits for two minutes for another one to end, and as long for the new one to start.
CONTROL_S = 300.0
RECONNECT_S = 120.0
PUSH_ATTEMPTS = 3
LOOK_S = 60.0

# Argument: the board's store. Ends with 1 where no agent listens.
_LISTENS = inspect.getsource(dialling) + "import sys; sys.exit(dial(Path(sys.argv[1])) is None)"

Progress = Callable[[str], None]


class AgentBusy(BoardError):
    """The agent on the board measures, and what was asked for would end that."""


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
        self._running: wire.Message | None = None
        self._spare: AgentLink | None = None

    def __enter__(self) -> BoardSession:
        return self

    def __exit__(self, *error: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        self._spare = self._running = None
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
            self._runtime = self._of_the_agent_that_runs()
        if self._runtime is None:
            self._runtime = ensure_runtime(self.transport, self.board, self.facts, self.python, self.progress)
        return self._runtime

    def set_up(self, plan: RuntimePlan) -> RuntimeEnv:
        """Provide the runtime of a plan, whatever an agent that runs there has: the next start replaces that."""
        self._runtime = carry_out(self.transport, self.board, self.facts, self.python, plan, self.progress)
        return self._runtime

    @property
    def arch(self) -> str:
        """What programs there are built for."""
        return str(self._running["arch"]) if self._running else self.facts.arch

    def _of_the_agent_that_runs(self) -> RuntimeEnv | None:
        """The runtime of the agent there, if it is this version's and nothing of it has gone: then there is nothing to
        ask and to make ready."""
        try:
            link = AgentLink(
                self.transport.open([self.board.python or "python3", self._zipapp, "connect", "--home", self.home]),
                self.board.name,
            )
        except BoardError:  # none runs, or another
            return None
        hello = link.hello
        name, _, version = str(hello.get("runtime", "")).partition(" ")
        pythonpath = [each for each in str(hello.get("pythonpath", "")).split(os.pathsep) if each]
        same = hello.get("sha256") == agent_zipapp()[1] and name in self.board.type.runtimes
        same = same and isinstance(hello.get("python"), str) and isinstance(hello.get("arch"), str)
        chosen = self.board.python in (None, hello.get("python"))
        if not (same and chosen) or missing(self.transport, [self._zipapp, *pythonpath]):
            link.close()
            return None
        self._running, self._spare = hello, link
        return RuntimeEnv(str(hello["python"]), pythonpath, name, version)

    # -- files -------------------------------------------------------------------------------------------------------

    def push(self, files: Iterable[tuple[Path, str]], on_bytes: Callable[[int], None] = lambda count: None) -> Pushed:
        """Put files, each with its SHA-256, into the board's store; those that are there are skipped."""
        wanted = {sha256: local for local, sha256 in files}
        for attempt in range(PUSH_ATTEMPTS):
            try:
                absent = missing(self.transport, [f"{self.home}/objects/{sha256}" for sha256 in wanted])
                pairs = [(wanted[remote.rsplit("/", 1)[1]], remote) for remote in absent]
                sent_bytes = self.transport.put(pairs, on_bytes) if pairs else 0
                break
            except LinkLost:
                if attempt + 1 == PUSH_ATTEMPTS:
                    raise
                self._reach_again()
        moved_bytes = sum(local.stat().st_size for local, _ in pairs)
        return Pushed(len(wanted) - len(pairs), len(pairs), moved_bytes, sent_bytes)

    # -- the agent ---------------------------------------------------------------------------------------------------

    def push_agent(self, *, anew: bool = False) -> None:
        """Put this version's agent onto the board, where it is not there or `anew`; not started yet."""
        data, sha256 = agent_zipapp()
        remote = self._zipapp
        if anew or missing(self.transport, [remote]):
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
        if self.runtime and self._running:
            return
        self.control("start")

    def control(self, command: str, *arguments: str) -> dict[str, Any]:
        """Have the agent's own program on the board do something: start, install, upgrade, stop, uninstall.

        Returns:
            What it says: `state` and what belongs to the command.

        Raises:
            AgentBusy: a run is on. BoardError: it cannot.
        """
        self.push_agent()
        state = self._run_agent(command, *arguments)
        if state is None:  # it cannot even be read: a file that lost its content
            self.push_agent(anew=True)
            state = self._run_agent(command, *arguments, last=True)
        assert state is not None
        if state["state"] == "busy":
            hint = f"Wait for it, or end it: edgesparse agent stop --force --board {self.board.name}"
            raise AgentBusy(f"{self.board.name} is busy: {state['message']}.", hint=hint)
        if state["state"] == "failed":
            raise BoardError(f"{self.board.name}: {state['message']}.", hint="Is its disk full, its home writable?")
        return state

    def _run_agent(self, command: str, *arguments: str, last: bool = False) -> dict[str, Any] | None:
        """What it says; None where that is nothing that the agent says, unless it was the last try."""
        words = self._agent_command(command, "--home", self.home, *arguments)
        if self.board.type.agent.idle_exit_s is not None:
            words += ["--idle-exit", str(self.board.type.agent.idle_exit_s)]
        if command not in ("stop", "uninstall"):  # for which no runtime is put there first
            runtime = self.runtime
            named = f"EDGESPARSE_RUNTIME={runtime.name} {runtime.version}"
            words = ["env", f"PYTHONPATH={os.pathsep.join(runtime.pythonpath)}", named, *words]
        done = self.transport.run(words, timeout_s=CONTROL_S)
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(done.stdout)
            if isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("state", "message")):
                return found
        if not last:
            return None
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise BoardError(
            f"The agent on {self.board.name} did not start: {self.python.path} said {said[0]!r}.",
            hint=f"Look at its log: edgesparse agent logs --board {self.board.name}",
        )

    def agent_runs(self) -> bool:
        """Whether an agent of any version listens there; nothing is put there for that."""
        done = self.transport.run([self.python.path, "-c", _LISTENS, self.home], timeout_s=LOOK_S)
        if done.returncode not in (0, 1):
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            raise BoardError(f"{self.board.name} does not tell whether an agent runs there, it said {said!r}.")
        return done.returncode == 0

    def agent_log(self, lines: int) -> list[str]:
        """The last lines of the agent's log, whether an agent runs or not.

        Raises:
            BoardError: there is no log.
        """
        path = f"{self.home}/{LOG}"
        done = self.transport.run(["tail", "-n", str(lines), path], timeout_s=LOOK_S)
        if done.returncode:
            raise BoardError(
                f"{self.board.name} has no log of an agent: there is no {path}.",
                hint=f"Start one: edgesparse agent start --board {self.board.name}",
            )
        return done.stdout.decode(errors="replace").splitlines()

    def open_agent(self, command: str, *arguments: str) -> Stream:
        """Run a command of the agent's program on the board that talks on its stdout until it ends."""
        self.push_agent()
        path = f"PYTHONPATH={os.pathsep.join(self.runtime.pythonpath)}"
        return self.transport.open(["env", path, *self._agent_command(command, "--home", self.home, *arguments)])

    def look_at_sensors(self, *, watch: bool = False) -> Iterator[dict[str, Any]]:
        """What the board's power sensors read in a second; with `watch` second after second, until it is closed.

        Raises:
            BoardError: the link broke, or what came is no answer.
        """
        arguments = ["--watch"] * watch
        if self.board.meter:
            arguments += ["--meter", self.board.meter, "--meter-scope", self.board.meter_scope]
        stream = self.open_agent("sensors", *arguments)
        try:
            while True:
                yield self._answer_in(stream, "sensors")
                if not watch:
                    return
        finally:
            stream.close()

    def examine(self) -> list[dict[str, Any]]:
        """What on the board would spoil a measurement: {what, found, fine, why, cure} each.

        Raises:
            BoardError: the link broke, or what came is no answer.
        """
        stream = self.open_agent("examine")
        try:
            return list(self._answer_in(stream, "examine").get("findings") or [])
        finally:
            stream.close()

    def _answer_in(self, stream: Stream, command: str) -> dict[str, Any]:
        try:
            line = stream.readline(CONTROL_S)
        except TimeoutError:
            raise BoardError(f"The agent's {command} on {self.board.name} said nothing for {CONTROL_S:g} s.") from None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
        said = (stream.stderr_tail().strip().splitlines() or ["nothing"])[-1]
        raise BoardError(f"The agent's {command} on {self.board.name} gave no answer, it said {said!r}.")

    def link(self) -> AgentLink:
        """A conversation with the agent that runs there.

        Raises:
            LinkLost: no agent listens.
        """
        if self._spare is not None:
            link, self._spare = self._spare, None
            return link
        return AgentLink(self.transport.open(self._agent_command("connect", "--home", self.home)), self.board.name)

    def _agent_command(self, *arguments: str) -> list[str]:
        python = str(self._running["python"]) if self._running else self.python.path
        return [python, self._zipapp, *arguments]

    @property
    def _zipapp(self) -> str:
        return f"{self.home}/agent/{agent_zipapp()[1]}.pyz"

    def reconnect(self, *, start: bool = True) -> None:
        """Reach the board anew after the link was lost, for up to two minutes, and see that its agent runs.

        Args:
            start: start it where it does not; else it is only asked whether it does.

        Raises:
            BoardError: it stays out of reach.
        """
        self._reach_again(then=self.start_agent if start else lambda: self.link().close())

    def _reach_again(self, then: Callable[[], None] = lambda: None) -> None:
        self._leave()
        for attempt in stamina.retry_context(on=LinkLost, attempts=None, timeout=RECONNECT_S, wait_max=10.0):
            with attempt:
                raise_if_interrupted()
                self.progress(f"the link to {self.board.name} is lost; reaching it again (attempt {attempt.num})")
                self.transport = self._reach(self.board)
                then()
