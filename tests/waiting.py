"""Waiting for something to come true, with a limit that only what hangs reaches: machines may be slow."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], within_s: float = 120) -> None:
    """Poll; fails where it does not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
