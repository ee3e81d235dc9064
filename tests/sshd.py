"""A real OpenSSH server on a loopback port, with keys and a board store of its own, for tests to reach, cut and kill.

`from tests.sshd import make_sshd, sshd` in a conftest makes the fixtures known.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

INSTALL = "These tests need OpenSSH's server. Install it: sudo apt install openssh-server"
START_DEADLINE_S = 60.0


class Sshd:
    """The server, and a client's home that may log in.

    Args:
        root: a directory of this server alone.
        client_home: the client's home; `root/client` where None.
    """

    def __init__(self, root: Path, client_home: Path | None = None) -> None:
        binary = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if binary is None or shutil.which("ssh-keygen") is None:
            pytest.fail(INSTALL)
        self.binary, self.root = binary, root
        self.address, self.port, self.user = "127.0.0.1", free_port(), getpass.getuser()
        self.user_home = root / "board"
        self.board_home = self.user_home / ".edgesparse"
        self.client_home = client_home or root / "client"
        self.ssh_dir = self.client_home / ".ssh"
        self.known_hosts = self.ssh_dir / "known_hosts"
        self.identity = self.ssh_dir / "id_ed25519"
        self.authorized_keys = root / "authorized_keys"
        self.host_key = root / "host_key"
        self.log = root / "sshd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()
        self.ssh_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.user_home.mkdir(parents=True)
        if not self.identity.exists():
            make_key(self.identity)
        shutil.copy(self.identity.with_suffix(".pub"), self.authorized_keys)
        self.new_host_key()

    @property
    def host(self) -> str:
        """As HOST= takes it."""
        return f"{self.user}@{self.address}:{self.port}"

    @property
    def fingerprint(self) -> str:
        """The host key's, as OpenSSH's own ssh-keygen prints it."""
        shown = subprocess.run(["ssh-keygen", "-lf", self.host_key], check=True, capture_output=True, text=True)
        return shown.stdout.split()[1]

    def new_host_key(self, kind: str = "ed25519") -> None:
        """As after a new installation of the board; takes effect at the next start."""
        for path in self.root.glob("host_key*"):
            path.unlink()
        make_key(self.host_key, kind=kind)

    def know_host(self) -> None:
        """Make the server's present key the one that the client knows of it."""
        kind, key = self.host_key.with_suffix(".pub").read_text().split()[:2]
        name = f"[{self.address}]:{self.port}"
        others = self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else []
        lines = [line for line in others if not line.startswith(f"{name} ")]
        self.known_hosts.write_text("\n".join([*lines, f"{name} {kind} {key}"]) + "\n")

    def start(self, *options: str) -> None:
        """Start it, with more lines of sshd_config, and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # where sshd, run by root, separates its privileges
        self.options = options
        lines = [
            # The first value of a setting counts, so that options come first.
            *options, f"ListenAddress {self.address}:{self.port}", f"HostKey {self.host_key}", "PidFile none",
            f"AuthorizedKeysFile {self.authorized_keys}", "StrictModes no", "UsePAM no", "PrintMotd no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
            "Subsystem sftp internal-sftp", "MaxStartups 100", "LogLevel VERBOSE",
            f"SetEnv HOME={self.user_home} EDGESPARSE_HOME={self.board_home} "
            f"EDGESPARSE_LOCK={self.root}/measuring.lock",
        ]  # fmt: skip
        config = self.root / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.binary, "-D", "-e", "-f", str(config)], stderr=log)
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), timeout=1):
                return
            time.sleep(0.02)
        pytest.fail(f"sshd does not listen: {self.log.read_text()[-500:]}")

    def restart(self) -> None:
        """As after a reboot: every connection is gone, and it listens again."""
        self.stop()
        self.start(*self.options)

    def sessions(self) -> list[psutil.Process]:
        """The server's processes that serve connections."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True) if self.process else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    found.append(process)
        return found

    def cut(self) -> int:
        """Break every connection; returns how many processes served them. What ran over them is left to itself."""
        return self._signal(signal.SIGKILL)

    def freeze(self) -> int:
        """Make every connection silent without ending it, as a pulled cable or a board that hangs does."""
        return self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> int:
        sessions = self.sessions()
        for process in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return len(sessions)

    def stop(self) -> None:
        """End it and every connection."""
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop_agent(self) -> None:
        """End what was started on the board."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.board_home) in part for part in process.info["cmdline"] or []):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519") -> None:
    """A key pair by OpenSSH's ssh-keygen."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)


def free_port() -> int:
    """A port on which nothing listens just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def make_sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sshd]]:
    """Makes servers that run; they share one client, whose home is HOME, and who knows none of their keys yet."""
    servers: list[Sshd] = []
    client_home = tmp_path / "sshd" / "client"
    monkeypatch.setenv("HOME", str(client_home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def make(*options: str) -> Sshd:
        servers.append(Sshd(tmp_path / "sshd" / str(len(servers)), client_home))
        servers[-1].start(*options)
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
        server.stop_agent()


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    """A server that runs and that this process, with its HOME changed, knows and may log in to."""
    server = make_sshd()
    server.know_host()
    return server
