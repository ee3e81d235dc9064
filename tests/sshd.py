"""A real OpenSSH server on a loopback port, with keys and a board store of its own, for tests to reach, cut and
kill."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

SSHD = "/usr/sbin/sshd"


class Sshd:
    """The server, and a client's home that knows it and may log in.

    Args:
        root: a directory of this server alone.
    """

    def __init__(self, root: Path) -> None:
        if not Path(SSHD).exists():
            pytest.fail("These tests need OpenSSH's server. Install it: sudo apt install openssh-server")
        self.root = root
        self.port = free_port()
        self.board_home = root / "board" / ".edgesparse"
        self.client_home = root / "client"
        self.known_hosts = self.client_home / ".ssh" / "known_hosts"
        self.identity = self.client_home / ".ssh" / "id_ed25519"
        self.identity.parent.mkdir(parents=True, mode=0o700)
        (root / "board").mkdir()
        make_key(self.identity)
        shutil.copy(self.identity.with_suffix(".pub"), root / "authorized_keys")
        self.new_host_key()
        self.know_host()
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # where sshd, run by root, separates its privileges
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """As HOST= takes it."""
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    def new_host_key(self) -> None:
        for path in self.root.glob("host_key*"):
            path.unlink()
        make_key(self.root / "host_key")

    def know_host(self) -> None:
        kind, key = (self.root / "host_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def start(self, *options: str) -> None:
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.root}/host_key", "PidFile none",
            f"AuthorizedKeysFile {self.root}/authorized_keys", "StrictModes no", "UsePAM no", "PrintMotd no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
            "Subsystem sftp internal-sftp", "MaxStartups 100", "AllowTcpForwarding yes",
            f"SetEnv EDGESPARSE_HOME={self.board_home}", *options,
        ]  # fmt: skip
        (self.root / "sshd_config").write_text("\n".join(lines) + "\n")
        with (self.root / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self.root / "sshd_config")], stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        pytest.fail(f"sshd does not listen: {(self.root / 'sshd.log').read_text()[-500:]}")

    def cut(self) -> int:
        """Break every connection; returns how many there were."""
        assert self.process is not None
        sessions = psutil.Process(self.process.pid).children()
        for session in sessions:
            for process in [*session.children(), session]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.name().startswith("sshd"):
                        process.kill()
        return len(sessions)

    def stop(self) -> None:
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


def make_key(path: Path, passphrase: str = "") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A server that runs and that this process, with its HOME changed, may log in to."""
    server = Sshd(tmp_path / "sshd")
    monkeypatch.setenv("HOME", str(server.client_home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    server.start()
    yield server
    server.stop()
    server.stop_agent()
