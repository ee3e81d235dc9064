"""The agent as a systemd user unit: started at boot, restarted when it dies, and kept in a sandbox."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import Any

from edgesparse.agent.leftovers import sweep
from edgesparse.agent.store import LOG, write_aside

UNIT = "edgesparse-agent.service"
_COMMAND_S = 60.0
# A user in this directory has his services started at boot; whoever else may want that, so it is not taken back.
_LINGERING = Path("/var/lib/systemd/linger")

# On failure means: not when it was told to end. A worker that the kernel kills for its memory is one failed cell, and
# no end of the agent.
_UNIT = """\
# Written by `edgesparse agent install`; `edgesparse agent uninstall` removes it.
[Unit]
Description=edgesparse agent, which measures models on this board
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
ExecStart={command}
Environment={environment}
StandardOutput=append:{log}
StandardError=inherit
Restart=on-failure
RestartSec=1
TimeoutStopSec=30
UMask=0077
MemoryMax=80%
OOMPolicy=continue
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{sandbox}
[Install]
WantedBy=default.target
"""

# What takes namespaces, which some kernels keep from users: without them the unit would not start at all.
_SANDBOX = """\
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home} /tmp
PrivateNetwork=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
"""


class ServiceError(Exception):
    """systemd refuses; says in its words why."""


class Service:
    """The unit of one user, for the agent of one store.

    Args:
        home: the board's store.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        self.path = Path(config).expanduser() / "systemd" / "user" / UNIT

    @staticmethod
    def available() -> bool:
        """Whether a systemd looks after this user's services."""
        try:
            return _systemctl("show-environment").returncode == 0
        except OSError:  # there is no such program
            return False

    def installed(self) -> bool:
        """Whether there is a unit for this store."""
        return self._belongs_to() == str(self.home)

    def check_free(self) -> None:
        """Refuse to take another store's unit.

        Raises:
            ServiceError: there is one.
        """
        other = self._belongs_to()
        if other is not None and other != str(self.home):
            raise ServiceError(f"{self.path} is the agent of another store, {other}; uninstall that first")

    def write(self, command: list[str], environment: dict[str, str], *, sandboxed: bool) -> None:
        """Write the unit and tell systemd.

        Args:
            command: the daemon's command line.
            environment: what it is started with.
            sandboxed: with the options that take namespaces.

        Raises:
            ServiceError: systemd refuses. OSError: the file cannot be written.
        """
        sandbox = _SANDBOX.format(home=_path(self.home)) if sandboxed else ""
        text = _UNIT.format(
            command=" ".join(_word(word) for word in command),
            environment=" ".join(_word(f"{name}={value}") for name, value in environment.items()),
            log=_path(self.home / LOG),
            sandbox=sandbox,
        )
        sweep([self.path.parent])
        if self.path.is_file() and self.path.read_text(encoding="utf-8") == text:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(self.path, text.encode())
        _do("daemon-reload")

    def sandboxed(self) -> bool:
        """Whether the unit as it is has the options that take namespaces."""
        return "ProtectSystem=strict" in self._text()

    def restart(self) -> None:
        """Start it anew; returns once its program runs.

        Raises:
            ServiceError: it does not.
        """
        _systemctl("reset-failed", UNIT)  # which fails where there is nothing to reset
        _do("restart", UNIT)

    @property
    def lingering(self) -> Path:
        """The file that has this user's services started at boot; it is there where `enable` or anybody made it."""
        return _LINGERING / pwd.getpwuid(os.getuid()).pw_name

    def failed(self) -> bool:
        """Whether systemd has given it up, or it has ended."""
        return _systemctl("is-active", UNIT).stdout.decode().strip() in ("failed", "inactive")

    def enable(self) -> str:
        """Have it started at boot; "" or why that needs an administrator.

        Raises:
            ServiceError: systemd refuses.
        """
        _do("enable", "--quiet", UNIT)
        try:
            done = subprocess.run(
                ["loginctl", "enable-linger"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else _said(done)

    def remove(self) -> None:
        """Stop it, and remove the unit.

        Raises:
            ServiceError: systemd refuses.
        """
        if self.available():
            _do("disable", "--quiet", "--now", UNIT)
        self.path.unlink(missing_ok=True)
        (self.path.parent / "default.target.wants" / UNIT).unlink(missing_ok=True)  # where no systemd has disabled it
        sweep([self.path.parent])
        if self.available():
            _do("daemon-reload")

    def _belongs_to(self) -> str | None:
        """The store of the unit that is there."""
        found = re.search(r"^StandardOutput=append:(.*)/[^/]*$", self._text(), re.MULTILINE)
        return found[1].replace("%%", "%") if found else None

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""


def _do(*arguments: str) -> None:
    done = _systemctl(*arguments)
    if done.returncode:
        raise ServiceError(f"systemctl --user {arguments[0]}: {_said(done)}")


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ, LC_ALL="C")
    environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")  # a command over SSH may have none
    return subprocess.run(
        ["systemctl", "--user", "--no-ask-password", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        timeout=_COMMAND_S, env=environment,
    )  # fmt: skip


def _said(done: subprocess.CompletedProcess[Any]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return lines[0] if lines else f"it ended with exit code {done.returncode}"


def _word(word: str) -> str:
    """A word of a unit's command line or environment, whatever is in it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")
