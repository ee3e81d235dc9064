"""Ctrl-C for threads: Python gives it to the main thread alone, which passes it on."""

from __future__ import annotations

import threading

# How often whoever waits in such a thread looks whether it was interrupted, in seconds.
LOOK_S = 0.5


class InterruptibleThread(threading.Thread):
    """A thread that hears of Ctrl-C wherever it calls `raise_if_interrupted`."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.interrupted = threading.Event()


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt, once, if this thread is one that was interrupted."""
    thread = threading.current_thread()
    if isinstance(thread, InterruptibleThread) and thread.interrupted.is_set():
        thread.interrupted.clear()
        raise KeyboardInterrupt
