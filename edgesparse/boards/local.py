"""This machine as a board: commands are child processes."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from edgesparse.boards.inventory import Board
from edgesparse.boards.putting import put_files
from edgesparse.boards.transport import Completed, LineStream, LinkLost
from edgesparse.errors import BoardError

_CHUNK_BYTES = 65536
_END_S = 2.0
_LAST_WORDS_S = 1.0


class LocalTransport:
    """Reaches this machine.

    Args:
        board: its `home` is the store's directory; `EDGESPARSE_HOME` or `~/.edgesparse` where it has none.
    """

    def __init__(self, board: Board) -> None:
        self._home = str(
            Path(board.home or os.environ.get("EDGESPARSE_HOME") or "~/.edgesparse").expanduser().absolute()
        )
        self._streams: list[_LocalStream] = []

    is_here = True

    @property
    def home(self) -> str:
        return self._home

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        process = _start(argv, subprocess.PIPE if input is not None else subprocess.DEVNULL)
        try:
            stdout, stderr = process.communicate(input, timeout=timeout_s)
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BoardError(f"{argv[0]} did not end within {timeout_s:g} s on this machine.") from None
            raise
        return Completed(process.returncode, stdout, stderr)

    def open(self, argv: list[str]) -> _LocalStream:
        stream = _LocalStream(_start(argv, subprocess.PIPE))
        self._streams.append(stream)
        return stream

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        return put_files(self, pairs, progress, where="this machine", compress=False)

    def close(self) -> None:
        while self._streams:
            self._streams.pop().close()


class _LocalStream(LineStream):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._process, self._stdin, self._stdout, self._stderr = process, process.stdin, process.stdout, process.stderr
        super().__init__()
        # In a thread of its own, so that the command never blocks on it while we block on the command.
        self._drain = threading.Thread(target=self._read_stderr, name="stderr", daemon=True)
        self._drain.start()

    def _receive(self, timeout_s: float) -> bytes:
        if self._stdout.closed:
            raise LinkLost("The stream to this machine is closed.")
        if not select.select([self._stdout], [], [], timeout_s)[0]:
            raise TimeoutError
        chunk = os.read(self._stdout.fileno(), _CHUNK_BYTES)
        if not chunk:
            self._drain.join(timeout=_LAST_WORDS_S)  # what it said last may come after the end of its output
        return chunk

    def _read_stderr(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            while chunk := os.read(self._stderr.fileno(), _CHUNK_BYTES):
                self._keep_tail(chunk)

    def write(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (OSError, ValueError) as error:
            raise LinkLost(f"The command on this machine takes no more input: {error}.") from None

    def close(self) -> None:
        """The command gets two seconds to end by itself, as the end of its input asks it to."""
        with contextlib.suppress(OSError):  # what was not yet flushed has nobody to take it
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        _kill(self._process)
        self._drain.join(timeout=_END_S)
        self._stdout.close()
        self._stderr.close()


def _start(argv: list[str], stdin: int) -> subprocess.Popen[bytes]:
    # Through a shell, as sshd does it, so that a missing program is the same 127 everywhere; in a session of its own,
    # so that Ctrl-C interrupts us and not what we run.
    command = ["/bin/sh", "-c", f"exec {shlex.join(argv)}"]
    return subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command and what it started in its session."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
