"""The host's end of a conversation with a board's agent, over whatever stream the transport opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgesparse import __version__, wire
from edgesparse.boards.answers import check_answer
from edgesparse.boards.transport import LinkLost, Stream
from edgesparse.errors import BoardError
from edgesparse.interrupting import LOOK_S, raise_if_interrupted

ANSWER_S = 30.0
# Between two records lies at most one launch; the agent's own deadlines end a launch that hangs.
RECORD_S = 900.0


class AgentLink:
    """Messages to and from one agent.

    Args:
        stream: joined to the agent's socket.
        board: the board's name, for sentences.

    Raises:
        LinkLost: nobody answers.
        BoardError: the agent speaks another protocol.
    """

    def __init__(self, stream: Stream, board: str) -> None:
        self._stream, self.board = stream, board
        self.hello = self._receive(ANSWER_S)
        try:
            wire.check_hello(self.hello, whom=f"the agent on {board}")
        except wire.WireError as error:
            hint = (
                f"Replace it: edgesparse agent stop --board {board}, then deploy again with this version of edgesparse."
            )
            raise BoardError(f"{error}.", hint=hint) from None
        self._send(wire.hello(__version__))

    def ask(self, message: wire.Message, timeout_s: float = ANSWER_S) -> wire.Message:
        """Send one message, return its answer.

        Raises:
            BoardError: the agent refuses; LinkLost: the link broke.
        """
        self._send(message)
        return self._answer(timeout_s)

    def submit(self, spec: wire.RunSpec, *, wait: bool = True) -> int:
        """Put a run in line; returns how many are before it.

        Raises:
            BoardError: it would have to wait, and is not to.
        """
        return int(self._expect("accepted", {"type": "submit", "spec": spec.to_message(), "wait": wait})["place"])

    def _expect(self, answer: str, message: wire.Message) -> wire.Message:
        found = self.ask(message)
        if found["type"] != answer:
            raise self._nonsense(wire.WireError(f"{found['type']} is no answer to {message['type']}"))
        return found

    def cancel(self, run: str) -> None:
        """Take a run out of line or stop it; returns when the board is free of it."""
        self._send({"type": "cancel", "run": run})
        while self._answer(ANSWER_S)["type"] != "cancelled":  # records that were on their way come first
            continue

    def follow(self, run: str, have: int) -> Iterator[wire.Message]:
        """Messages about a run from record `have` + 1 on: place, record, and at last end."""
        self._send({"type": "follow", "run": run, "have": have})
        while True:
            message = self._answer(RECORD_S)
            if message["type"] == "ping":
                self._send({"type": "pong"})
                continue
            yield message
            if message["type"] == "end":
                return

    def close(self) -> None:
        """Hang up; the agent goes on with what it does."""
        self._stream.close()

    def __enter__(self) -> AgentLink:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _send(self, message: wire.Message) -> None:
        self._stream.write(wire.encode(message))

    def _receive(self, timeout_s: float) -> wire.Message:
        deadline = time.monotonic() + timeout_s
        while True:
            raise_if_interrupted()
            left_s = deadline - time.monotonic()
            try:
                line = self._stream.readline(max(0.0, min(left_s, LOOK_S)))
                break
            except TimeoutError:
                if left_s <= LOOK_S:
                    raise LinkLost(f"The agent on {self.board} said nothing for {timeout_s:g} s.") from None
        if not line:
            said = self._stream.stderr_tail().strip()
            raise LinkLost(f"The link to the agent on {self.board} ended{': ' + said if said else '.'}")
        if not line.endswith(b"\n"):
            raise LinkLost(f"The link to the agent on {self.board} ended in the middle of a message.")
        try:
            return wire.decode(line)
        except wire.WireError as error:
            raise self._nonsense(error) from None

    def _nonsense(self, error: wire.WireError) -> BoardError:
        return BoardError(
            f"The agent on {self.board} sent what is no message of an agent: {error}.",
            hint=f"Have it replaced: edgesparse agent stop --board {self.board}, then deploy again.",
        )

    def _answer(self, timeout_s: float) -> wire.Message:
        message = self._receive(timeout_s)
        try:
            check_answer(message)
        except wire.WireError as error:
            raise self._nonsense(error) from None
        if message["type"] == "error":
            hint = (
                f"Wait for it (--wait), or look at who measures: edgesparse agent status --board {self.board}"
                if message.get("code") == "busy"
                else ""
            )
            said = " ".join(message["message"].split())  # one sentence, whatever the board sends
            raise BoardError(f"The agent on {self.board} refuses: {said}.", hint=hint)
        return message
