"""How a board is reached: a small interface, and what every implementation of it shares."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgesparse import wire
from edgesparse.errors import BoardError

STDERR_TAIL_BYTES = 8192
_MISSING = 'while IFS= read -r name; do [ -e "$name" ] || printf "%s\\n" "$name"; done'
_MISSING_S = 60.0


class LinkLost(BoardError, ConnectionError):
    """The link to the board broke, or nobody answers at its other end; what runs there may go on."""


class Unreachable(LinkLost):
    """The board does not answer just now: refused, timed out, no way there."""


@dataclass(frozen=True)
class Completed:
    """A command that ended; `returncode` is 127 where there is no such program, negative where a signal ended it."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Stream(Protocol):
    """A command that runs on the board, its stdin and stdout joined to us."""

    def readline(self, timeout_s: float) -> bytes:
        r"""The next line with its `\n`; b"" once the command has closed its output.

        Raises:
            TimeoutError: no whole line came in time; what came is kept for the next call.
            LinkLost: the link broke.
        """

    def write(self, data: bytes) -> None:
        """Send all of it to the command's input.

        Raises:
            LinkLost: the link broke or the command has ended.
        """

    def stderr_tail(self) -> str:
        """The last few kilobytes that the command said on stderr."""

    def close(self) -> None:
        """Hang up; the command sees the end of its input."""


class Transport(Protocol):
    """A reached board. Not for several threads at once."""

    @property
    def home(self) -> str:
        """The absolute path of the board's store; not made here."""

    is_here: bool  # whether the board is this machine

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        """Run a command to its end.

        Raises:
            BoardError: it did not end in time. LinkLost: the link broke.
        """

    def open(self, argv: list[str]) -> Stream:
        """Start a command and talk to it.

        Raises:
            LinkLost: the link is broken.
        """

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        """Put files onto the board, each whole or not at all; see `putting.put_files`."""

    def close(self) -> None:
        """Leave the board; may be called again."""


def missing(transport: Transport, names: Iterable[str]) -> list[str]:
    """Those of the absolute paths that do not exist on the board, found out in one round trip."""
    wanted = list(names)
    if not wanted:
        return []
    done = transport.run(
        ["sh", "-c", _MISSING], input="".join(f"{name}\n" for name in wanted).encode(), timeout_s=_MISSING_S
    )
    if done.returncode:
        raise BoardError(f"The board could not say which files it has: {done.stderr.decode(errors='replace').strip()}.")
    absent = set(done.stdout.decode().split("\n"))
    return [name for name in wanted if name in absent]


class LineStream(ABC):
    """Lines from the chunks that `_receive` gives, and the tail of what `_keep_tail` is given."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._tail = bytearray()

    @abstractmethod
    def _receive(self, timeout_s: float) -> bytes:
        """Some bytes of stdout, b"" at its end; TimeoutError, LinkLost."""

    def readline(self, timeout_s: float) -> bytes:
        """As of `Stream`; BoardError for a line that no message of ours is as long as: it is not kept."""
        deadline, searched = time.monotonic() + timeout_s, 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > wire.MAX_LINE_BYTES:
                self._buffer.clear()
                raise BoardError(
                    f"The board sent a line that does not end within {wire.MAX_LINE_BYTES} bytes.",
                    hint="Is it edgesparse's agent that answers there, and nothing that prints beside it?",
                )
            chunk = self._receive(max(0.0, deadline - time.monotonic()))
            if not chunk:
                end = len(self._buffer) - 1
                break
            self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def stderr_tail(self) -> str:
        return self._tail.decode(errors="replace")

    def _keep_tail(self, chunk: bytes) -> None:
        self._tail += chunk
        del self._tail[:-STDERR_TAIL_BYTES]
