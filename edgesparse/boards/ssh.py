"""The `ssh` transport: paramiko, with the user's own keys, agent, `~/.ssh/config` and known hosts. Host keys are always checked."""

from __future__ import annotations

import contextlib
import shlex
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import stamina

from edgesparse.boards.hostkeys import HostKeys
from edgesparse.boards.inventory import Board
from edgesparse.boards.putting import put_files
from edgesparse.boards.transport import Completed, LineStream, LinkLost
from edgesparse.errors import BoardError

CONNECT_S = 10.0
KEEPALIVE_S = 10
DEAD_LINK_MS = 30_000
HOME_S = 30.0
CHUNK_BYTES = 1 << 16
MAX_JUMPS = 8

Confirm = Callable[[str], bool]


class SshTransport:
    """A board over SSH.

    Args:
        board: where it is; what it leaves open, `~/.ssh/config` says.
        accept_new_host_key: trust and remember the key of a host that is not known yet.
        confirm: asks the user whether to trust such a key; None where nobody can be asked.

    Raises:
        LinkLost: it does not answer. BoardError: its key is unknown or has changed, or it does not let this user in.
    """

    def __init__(self, board: Board, *, accept_new_host_key: bool = False, confirm: Confirm | None = None) -> None:
        self.board = board
        self._config = _user_config()
        self._trust = (accept_new_host_key, confirm)
        self._clients: list[paramiko.SSHClient] = []
        try:
            for attempt in stamina.retry_context(on=LinkLost, attempts=3, wait_initial=0.2, wait_max=1.0):
                with attempt:
                    self._client = self._connect(board.host or board.name, board.user, board.port, board.identity_file)
            self._home = board.home or self._find_home()
        except BaseException:
            self.close()
            raise

    # -- connecting --------------------------------------------------------------------------------------------------

    def _connect(
        self, host: str, user: str | None, port: int | None, identity: str | None, jump: str | None = None, jumps: int = 0
    ) -> paramiko.SSHClient:
        """Connect to one host, through `jump` where that is given, else through what the user's configuration says."""
        config = self._config.lookup(host)
        name = config.get("hostname", host)
        port = port or int(config.get("port", 22))
        user = user or config.get("user")
        where = f"{user + '@' if user else ''}{name}:{port}"
        if jumps > MAX_JUMPS:
            raise BoardError(f"More than {MAX_JUMPS} ProxyJump hosts lead to {where}.", hint="Mend ~/.ssh/config.")
        jump = jump or config.get("proxyjump", "none")
        sock = self._through(jump, name, port, jumps) if jump != "none" else self._dial(name, port, where)
        keys = HostKeys(name, port, config.get("userknownhostsfile"), *self._trust)
        client = paramiko.SSHClient()
        keys.prepare(client)
        identities = [str(Path(path).expanduser()) for path in [identity, *config.get("identityfile", [])] if path]
        try:
            client.connect(
                name, port, username=user, key_filename=[path for path in identities if Path(path).is_file()] or None,
                sock=sock, timeout=CONNECT_S, banner_timeout=CONNECT_S, auth_timeout=CONNECT_S,
            )  # fmt: skip
        except paramiko.BadHostKeyException as error:
            raise keys.changed(error.key) from None
        except paramiko.PasswordRequiredException:
            raise BoardError(
                f"{where}: the private key is encrypted, and no ssh-agent holds it.", hint="Run ssh-add, then try again."
            ) from None
        except paramiko.AuthenticationException as error:
            raise BoardError(
                f"{where} does not let this user in: {error}.",
                hint=f"Tried: {', '.join(identities) or 'the default keys'} and the ssh-agent. "
                f"Copy a key there: ssh-copy-id -p {port} {user + '@' if user else ''}{name}",
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise LinkLost(
                f"{where} does not speak SSH with us: {error or type(error).__name__}.", hint=f"Does this work? ssh {where}"
            ) from None
        self._clients.append(client)
        self._open_transport(client).set_keepalive(KEEPALIVE_S)
        return client

    def _dial(self, name: str, port: int, where: str) -> socket.socket:
        try:
            sock = socket.create_connection((name, port), timeout=CONNECT_S)
        except socket.gaierror as error:
            raise BoardError(
                f"No address is known for {name!r}: {error.strerror}.", hint="Mend HOST= or the inventory's host."
            ) from None
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror
            hint = "Is the board switched on, in this network, and its SSH server running?"
            raise LinkLost(f"{where} cannot be reached: {reason}.", hint=hint) from None
        with contextlib.suppress(OSError, AttributeError):  # not on every system; keepalives then notice later
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_MS)
        return sock

    def _through(self, jump: str, name: str, port: int, jumps: int) -> Any:
        """A channel to the host from the last of the jump hosts, each reached through the one before."""
        before, _, last = jump.rpartition(",")
        user, _, rest = last.strip().rpartition("@")
        host, _, port_text = rest.partition(":")
        client = self._connect(host, user or None, int(port_text) if port_text else None, None, before or None, jumps + 1)
        try:
            return self._open_transport(client).open_channel("direct-tcpip", (name, port), ("127.0.0.1", 0), timeout=CONNECT_S)
        except paramiko.SSHException as error:
            raise LinkLost(f"{host} cannot reach {name}:{port}: {error}.", hint="Is the board on?") from None

    def _open_transport(self, client: paramiko.SSHClient) -> paramiko.Transport:
        transport = client.get_transport()
        if transport is None or not transport.is_active():
            raise LinkLost(f"The link to {self.board.name} is lost.")
        return transport

    def _find_home(self) -> str:
        done = self.run(["sh", "-c", 'printf %s "${EDGESPARSE_HOME:-$HOME/.edgesparse}"'], timeout_s=HOME_S)
        return done.stdout.decode()

    # -- the interface -----------------------------------------------------------------------------------------------

    @property
    def home(self) -> str:
        """The store's absolute path on the board."""
        return self._home

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        """See Transport."""
        channel = self._session(argv)
        deadline = time.monotonic() + timeout_s
        stdout, stderr = bytearray(), bytearray()
        try:
            if input:
                channel.sendall(input)
            channel.shutdown_write()
            while True:
                while channel.recv_ready():
                    stdout += channel.recv(CHUNK_BYTES)
                while channel.recv_stderr_ready():
                    stderr += channel.recv_stderr(CHUNK_BYTES)
                # `eof_received` comes after all output, the exit status before or after it.
                if channel.exit_status_ready() and (channel.eof_received or channel.closed):
                    if not channel.recv_ready() and not channel.recv_stderr_ready():
                        return Completed(channel.recv_exit_status(), bytes(stdout), bytes(stderr))
                elif channel.closed or not self._open_transport(self._client).is_active():
                    raise LinkLost(f"The link to {self.board.name} is lost.")
                if time.monotonic() > deadline:
                    raise BoardError(f"{argv[0]} did not end within {timeout_s:g} s on {self.board.name}.")
                time.sleep(0.003)
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise LinkLost(f"The link to {self.board.name} is lost: {error or type(error).__name__}.") from None
        finally:
            channel.close()

    def open(self, argv: list[str]) -> SshStream:
        """See Transport."""
        return SshStream(self._session(argv), self.board.name)

    def _session(self, argv: list[str]) -> paramiko.Channel:
        try:
            channel = self._open_transport(self._client).open_session(timeout=CONNECT_S)
            channel.exec_command(shlex.join(argv))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise LinkLost(f"The link to {self.board.name} is lost: {error or type(error).__name__}.") from None
        return channel

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        """See Transport."""
        return put_files(self, pairs, progress, where=self.board.name)

    def close(self) -> None:
        """Close it, the jump hosts last."""
        for client in reversed(self._clients):
            client.close()


class SshStream(LineStream):
    """A command on the board and its channel."""

    def __init__(self, channel: paramiko.Channel, board: str) -> None:
        self._channel, self._board = channel, board
        super().__init__()

    def _receive(self, timeout_s: float) -> bytes:
        self._channel.settimeout(timeout_s)
        return self._channel.recv(CHUNK_BYTES)  # raises TimeoutError

    def _receive_stderr(self) -> bytes:
        try:
            return self._channel.recv_stderr(CHUNK_BYTES)
        except OSError:  # TimeoutError among them: `readline` sets one timeout for both
            return b""

    def write(self, data: bytes) -> None:
        """See Stream."""
        try:
            self._channel.settimeout(None)
            self._channel.sendall(data)
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise LinkLost(f"The link to {self._board} is lost: {error or type(error).__name__}.") from None

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _user_config() -> paramiko.SSHConfig:
    path = Path("~/.ssh/config").expanduser()
    if not path.is_file():
        return paramiko.SSHConfig()
    try:
        return paramiko.SSHConfig.from_path(str(path))
    except paramiko.ConfigParseError as error:
        raise BoardError(f"{path} cannot be read: {error}.", hint="Mend the file; ssh itself would say the same.") from None
