"""Reaching an SSH server over its hops, with a deadline for each step and a sentence for each way in which it fails."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

import paramiko
import stamina
from paramiko.ssh_exception import IncompatiblePeer

from edgesparse.boards.ssh_config import Hop
from edgesparse.boards.ssh_keys import HostKeyCheck, Login
from edgesparse.boards.transport import Unreachable
from edgesparse.errors import BoardError

CONNECT_S = 10.0
AUTH_S = 30.0  # an agent may ask its user first
ATTEMPTS = 3
# AES-GCM first: it authenticates itself, so that no second pass makes a MAC, and nearly all hardware speeds it up.
FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

# Without a handler Python prints the library's tracebacks of a refused connection to stderr; ours are the sentences.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def connect(
    hops: list[Hop],
    *,
    accept_new_host_key: bool,
    confirm: Callable[[str], bool] | None,
    timeout_s: float = CONNECT_S,
) -> list[paramiko.Transport]:
    """Connect to each hop through the one before.

    What may pass, such as a refusal by a board that is just booting, is tried up to three times while `timeout_s` lasts
    (the kernel repeats what is lost within an attempt); refused keys and wrong host keys are not tried again.

    Returns:
        Every hop's connection, logged in; the board's is the last.

    Raises:
        Unreachable: a hop does not answer. BoardError: a hop's key is not trusted, or it does not let the user in.
    """
    for attempt in stamina.retry_context(
        on=Unreachable, attempts=ATTEMPTS, timeout=timeout_s, wait_initial=0.2, wait_max=2.0
    ):
        with attempt:
            return _connect(hops, accept_new_host_key, confirm, timeout_s)
    raise AssertionError("stamina either returns or raises")


def _connect(
    hops: list[Hop], accept_new_host_key: bool, confirm: Callable[[str], bool] | None, timeout_s: float
) -> list[paramiko.Transport]:
    transports: list[paramiko.Transport] = []
    try:
        for number, hop in enumerate(hops):
            sock = _tunnel(transports[-1], hops[number - 1], hop, timeout_s) if transports else _dial(hop, timeout_s)
            trust = HostKeyCheck(hop.known_hosts, accept_new_host_key, confirm)
            transports.append(_handshake(sock, hop, trust, timeout_s))
            _log_in(transports[-1], hop)
    except BaseException:
        hang_up(transports)
        raise
    return transports


def hang_up(transports: list[paramiko.Transport]) -> None:
    """Close the connections, the board's first."""
    while transports:
        transports.pop().close()


def _dial(hop: Hop, timeout_s: float) -> socket.socket:
    try:
        sock = socket.create_connection((hop.host, hop.port), timeout=timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a question's last packet need not wait for company
        return sock
    except socket.gaierror as error:
        kind = Unreachable if error.errno == socket.EAI_AGAIN else BoardError
        raise kind(
            f"The host name {hop.host!r} is not known: {error.strerror}.",
            hint="Check the spelling, or give the address: --host user@10.0.0.5",
        ) from None
    except ConnectionRefusedError:
        raise Unreachable(
            f"{hop.host} is there, but nothing listens on port {hop.port}.",
            hint="Is its SSH server running (sudo apt install openssh-server), and is this its port?",
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{hop.host} port {hop.port} did not answer within {timeout_s:g} s.", hint=_HINT_OFF
        ) from None
    except OSError as error:
        raise Unreachable(f"{hop.host} port {hop.port} cannot be reached: {error.strerror}.", hint=_HINT_OFF) from None


_HINT_OFF = "Is the board on, on this network, and is this its address?"


def _tunnel(through: paramiko.Transport, jump: Hop, hop: Hop, timeout_s: float) -> paramiko.Channel:
    try:
        return through.open_channel("direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=timeout_s)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Unreachable(
            f"{hop.host} port {hop.port} cannot be reached through the jump host {jump.name}: {error or 'it hung up'}.",
            hint=_HINT_OFF,
        ) from None


def _handshake(
    sock: socket.socket | paramiko.Channel, hop: Hop, trust: HostKeyCheck, timeout_s: float
) -> paramiko.Transport:
    """Agree on ciphers and check whom we talk to."""
    try:
        transport = paramiko.Transport(sock)  # a channel serves as a socket
    except BaseException:
        sock.close()
        raise
    try:
        transport.banner_timeout = timeout_s
        transport.auth_timeout = AUTH_S
        options = transport.get_security_options()
        options.ciphers = sorted(options.ciphers, key=lambda cipher: cipher not in FAST_CIPHERS)
        trust.prefer_known_types(transport, hop.host_key_name)
        started = time.monotonic()
        try:
            transport.start_client(timeout=timeout_s)
            key = transport.get_remote_server_key()  # raises when the time was not enough
        except IncompatiblePeer as error:
            raise BoardError(
                f"{hop.host} port {hop.port} speaks no SSH that is still safe: {error}.", hint="Update its SSH server."
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            if time.monotonic() - started >= timeout_s:
                raise Unreachable(
                    f"{hop.host} port {hop.port} takes connections and then says nothing for {timeout_s:g} s.",
                    hint="Is the board very busy, or something else than an SSH server there?",
                ) from None
            raise Unreachable(
                f"What answers at {hop.host} port {hop.port} does not speak SSH: {error or 'it hung up'}.",
                hint=f"Is this the port of its SSH server? Try: ssh -p {hop.port} {hop.user}@{hop.host}",
            ) from None
        trust.check(hop.host_key_name, key)
    except BaseException:
        transport.close()
        raise
    return transport


def _log_in(transport: paramiko.Transport, hop: Hop) -> None:
    login = Login(hop.identities, hop.identities_only)
    taken = False
    try:
        taken = login.authenticate(transport, hop.user)
    except TimeoutError:
        raise Unreachable(
            f"{hop.host} said nothing for {transport.auth_timeout:g} s while {hop.user} was to be logged in.",
            hint="Is the board very busy, or does an ssh-agent wait for you to confirm the use of a key?",
        ) from None
    except EOFError:  # it hung up: what was tried tells why
        pass
    if taken:
        return
    tried = "; ".join(login.tried) or "no key: there is none in ~/.ssh and no ssh-agent has one"
    port = f"-p {hop.port} " if hop.port != paramiko.config.SSH_PORT else ""
    hints = [f"Unlock the key for the ssh-agent: ssh-add {login.encrypted[0]}"] if login.encrypted else []
    if not login.tried:
        hints.append("Make a key: ssh-keygen -t ed25519")
    hints.append(f"Let the board know your key: ssh-copy-id {port}{hop.user}@{hop.host}")
    raise BoardError(f"{hop.host} does not let {hop.user} in. Tried: {tried}.", hint="; or: ".join(hints))
