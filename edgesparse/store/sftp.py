"""A store over SSH. fsspec's own file system trusts whatever host answers; this one knows the keys in known_hosts."""

from __future__ import annotations

from typing import Any

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem


class CheckedSFTPFileSystem(SFTPFileSystem):  # type: ignore[misc]
    """Opens sftp:// and ssh:// URLs, and refuses a host whose key is unknown or another one."""

    def _connect(self) -> None:
        options = {name: value for name, value in self.ssh_kwargs.items() if name != "host_key_policy"}
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        self.client.connect(self.host, **options)
        self.ftp = self.client.open_sftp()


def open_sftp(url: str) -> tuple[Any, str]:
    """The file system and the path of a URL. Raises OSError and paramiko.SSHException."""
    found = CheckedSFTPFileSystem(**CheckedSFTPFileSystem._get_kwargs_from_urls(url))
    return found, str(CheckedSFTPFileSystem._strip_protocol(url))
