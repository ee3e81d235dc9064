"""The daemon's socket, from beside it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

SOCKET = "agent.sock"


def dial(home: Path) -> socket.socket | None:
    """A connection to the daemon's socket; None when nobody listens. Changes the working directory to the store."""
    if not home.is_dir():
        return None
    os.chdir(home)  # the socket's name is relative, so that the length of the path never matters
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(SOCKET)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection
