"""A board over SSH: paramiko, with the user's own keys, agent, `~/.ssh/config` and known hosts."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paramiko

from edgesparse.boards.inventory import Board
from edgesparse.boards.putting import put_files
from edgesparse.boards.ssh_config import route
from edgesparse.boards.ssh_connect import CONNECT_S, connect, hang_up
from edgesparse.boards.transport import Completed, LineStream, LinkLost
from edgesparse.errors import BoardError
from edgesparse.interrupting import LOOK_S, raise_if_interrupted

KEEPALIVE_S = 15.0
DEAD_LINK_S = 30.0
_CHUNK_BYTES = 65536
_COMMAND_S = 30.0
_LOOK_AT_STDERR_S = 0.5
# A user's shell may run scripts that print something first; what comes before this line is theirs.
_BEGIN = b"edgesparse-begins\n"


class SshTransport:
    """Reaches a board.

    Args:
        board: where it is; what it leaves open, `~/.ssh/config` says. Its `home` is the store's directory; without one
            that is the board's `EDGESPARSE_HOME`, or `~/.edgesparse` there.
        accept_new_host_key: trust a host that is seen for the first time and remember its key.
        confirm: asked about the key of such a host otherwise; without it the host is refused.
        connect_timeout_s: for each step of connecting.
        keepalive_s: how often the other end is asked whether it is there; without an answer in `dead_link_s` the link
            is lost.

    Raises:
        Unreachable: the board does not answer. BoardError: its key is not trusted, or it does not let the user in.
    """

    def __init__(
        self,
        board: Board,
        *,
        accept_new_host_key: bool = False,
        confirm: Callable[[str], bool] | None = None,
        connect_timeout_s: float = CONNECT_S,
        keepalive_s: float = KEEPALIVE_S,
        dead_link_s: float = DEAD_LINK_S,
    ) -> None:
        self._board, self._timeout_s = board, connect_timeout_s
        self._home: str | None = None
        self._closed = threading.Event()
        hops = route(board.host or board.name, board.user, board.port, board.identity_file)
        if board.known_hosts is not None:
            hops[-1] = replace(hops[-1], known_hosts=[Path(board.known_hosts)], identities_only=True)
        self._links = connect(
            hops, accept_new_host_key=accept_new_host_key, confirm=confirm, timeout_s=connect_timeout_s
        )
        self._link = self._links[-1]
        threading.Thread(target=self._watch, args=(keepalive_s, dead_link_s), name="keepalive", daemon=True).start()

    is_here = False

    @property
    def home(self) -> str:
        if self._home is None:
            script = 'printf "%s\\n%s\\n" "$HOME" "${EDGESPARSE_HOME:-$HOME/.edgesparse}"'
            said = self.run(["sh", "-c", script], timeout_s=_COMMAND_S).stdout.decode(errors="replace")
            user_home, _, store = said.removesuffix("\n").partition("\n")
            home = self._board.home or store
            self._home = user_home + home[1:] if home.startswith("~/") else home
            if not self._home.startswith("/"):
                raise BoardError(
                    f"The store of {self._board.name} has no absolute path: {self._home!r}.",
                    hint=f'Give one in the inventory: [boards.{self._board.name}] home = "/data/edgesparse"',
                )
        return self._home

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        deadline = time.monotonic() + timeout_s
        channel = self._start(argv)
        stdout, stderr = bytearray(), bytearray()
        # The three directions share a window, so that each has to flow for the others not to stall.
        readers = [_thread(_collect, channel.recv, stdout), _thread(_collect, channel.recv_stderr, stderr)]
        _thread(_feed, channel, input or b"")
        try:
            for reader in readers:
                while reader.is_alive() and time.monotonic() < deadline:
                    reader.join(min(LOOK_S, max(0.0, deadline - time.monotonic())))
                    raise_if_interrupted()
            if any(reader.is_alive() for reader in readers) or not channel.status_event.wait(
                max(0.0, deadline - time.monotonic())
            ):
                raise BoardError(f"{argv[0]} did not end within {timeout_s:g} s on {self._board.name}.")
            returncode = channel.recv_exit_status()
        finally:
            channel.close()
        if returncode < 0 and not self._link.is_active():
            raise LinkLost(f"The link to {self._board.name} is lost.")
        return Completed(returncode, bytes(stdout).partition(_BEGIN)[2], bytes(stderr))

    def open(self, argv: list[str]) -> _SshStream:
        return _SshStream(self._link, self._start(argv), self._board.name)

    def _start(self, argv: list[str]) -> paramiko.Channel:
        try:
            channel = self._link.open_session(timeout=self._timeout_s)
            channel.exec_command(f"echo {_BEGIN.decode().strip()}; exec {shlex.join(argv)}")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise LinkLost(f"The link to {self._board.name} is lost: {error or 'it hung up'}.") from None
        return channel

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        return put_files(self, pairs, progress, where=self._board.name, compress=True)

    def close(self) -> None:
        self._closed.set()
        hang_up(self._links)

    def _watch(self, keepalive_s: float, dead_link_s: float) -> None:
        """Ask the board now and then whether it is there, and hang up when it does not answer.

        TCP alone takes a quarter of an hour to give up, and behind a jump host it never does.
        """
        while not self._closed.wait(keepalive_s) and self._link.is_active():
            silence = threading.Timer(dead_link_s, self._link.close)
            silence.daemon = True
            silence.start()
            with contextlib.suppress(
                paramiko.SSHException, OSError, EOFError
            ):  # the link is gone, and users of it notice
                self._link.global_request("keepalive@openssh.com", wait=True)
            silence.cancel()


class _SshStream(LineStream):
    def __init__(self, link: paramiko.Transport, channel: paramiko.Channel, board: str) -> None:
        super().__init__()
        self._link, self._channel, self._board = link, channel, board
        self._before: bytes | None = b""  # what came before the command's own output; None once that has begun

    def _receive(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            self._read_stderr()
            left_s = deadline - time.monotonic()
            self._channel.settimeout(max(0.0, min(left_s, _LOOK_AT_STDERR_S)))
            try:
                data = self._channel.recv(_CHUNK_BYTES)
            except TimeoutError:
                if left_s <= _LOOK_AT_STDERR_S:
                    raise
                continue
            # To paramiko a broken link is one more end of output.
            if not data and not self._link.is_active() and self._channel.exit_status < 0:
                raise LinkLost(f"The link to {self._board} is lost.")
            if data and self._before is not None:
                self._before, begin, data = (self._before + data).partition(_BEGIN)
                self._before = None if begin else self._before
                if not data:
                    continue
            return data

    def _read_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            self._keep_tail(self._channel.recv_stderr(_CHUNK_BYTES))

    def write(self, data: bytes) -> None:
        self._channel.settimeout(None)
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise LinkLost(f"The link to {self._board} is lost, or the command there has ended: {error}.") from None

    def stderr_tail(self) -> str:
        self._read_stderr()
        return super().stderr_tail()

    def close(self) -> None:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # the link is lost: nobody is left to tell
            self._channel.close()


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def _collect(receive: Callable[[int], bytes], into: bytearray) -> None:
    while chunk := receive(_CHUNK_BYTES):
        into += chunk


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # a command may end without reading its input
        channel.sendall(data)
        channel.shutdown_write()
