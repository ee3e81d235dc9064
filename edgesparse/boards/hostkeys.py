"""Is this the host that it was? Keys are held against the user's known hosts; a new one is never trusted unasked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import paramiko

from edgesparse.errors import BoardError

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")


class HostKeys(paramiko.MissingHostKeyPolicy):
    """The known hosts as they concern one host.

    Args:
        host, port: the one that is connected to.
        known_hosts: UserKnownHostsFile of the user's configuration; its first file is used, ~/.ssh/known_hosts where None.
        accept_new: trust and remember a key of a host that is not known yet.
        confirm: asks the user about such a key; None where nobody can be asked.
    """

    def __init__(
        self, host: str, port: int, known_hosts: str | None, accept_new: bool, confirm: Callable[[str], bool] | None
    ) -> None:
        self.name = host if port == 22 else f"[{host}]:{port}"
        self.path = Path((known_hosts or "~/.ssh/known_hosts").split()[0]).expanduser()
        self.accept_new, self.confirm = accept_new, confirm

    def prepare(self, client: paramiko.SSHClient) -> None:
        """Load the known hosts into a client and become its policy for unknown ones."""
        for path in (SYSTEM_KNOWN_HOSTS, self.path):
            if path.is_file():
                client.load_system_host_keys(str(path))
        client.set_missing_host_key_policy(self)

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """A host that is not known: remember it if that is wanted.

        Raises:
            BoardError: it is not.
        """
        if not self.accept_new:
            question = f"The host {self.name} is not known. Its {key.get_name()} key is {key.fingerprint}. Trust it?"
            if self.confirm is None:
                self._refuse(key)
            if not self.confirm(question):
                raise BoardError(f"The host key of {self.name} was not accepted.", hint="Nothing was sent to it.")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(paramiko.hostkeys.HostKeyEntry([self.name], key).to_line())

    def _refuse(self, key: paramiko.PKey) -> NoReturn:
        raise BoardError(
            f"The host {self.name} is not known; its {key.get_name()} key is {key.fingerprint}.",
            hint="Compare it with the board's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), "
            "then trust it with --accept-new-host-key.",
        )

    def changed(self, key: paramiko.PKey) -> BoardError:
        """The refusal of a key that is not the one that is known."""
        return BoardError(
            f"The host key of {self.name} has changed: it is {key.fingerprint} ({key.get_name()}) now. "
            "Either the board was set up anew, or something stands between.",
            hint="If it was set up anew, remove the old key: "
            f"ssh-keygen -R {shlex.quote(self.name)} -f {shlex.quote(str(self.path))}",
        )
