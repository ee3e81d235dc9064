"""Children that can be interrupted."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """In a child: hear SIGINT, also where the tests run in the background and a shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
