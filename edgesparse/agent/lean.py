"""Large models in as little memory as can be, for who checks them: each in a child of the worker's, which takes all its
memory along when it ends, with the mapped file kept out of memory while the runtime makes its own of it."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# How often what has been read of a file is given back while a runtime reads on.
_GIVE_BACK_S = 0.01


def give_back(path: str) -> None:
    """What has been read of a mapped file leaves this process's memory; what is read again comes back from the kernel's
    cache."""
    import ctypes

    path = os.path.realpath(path)
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        if name == [path]:
            start, end = (int(each, 16) for each in span.split("-"))
            if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), f"madvise on {path}")


@contextlib.contextmanager
def kept_out_of_memory(path: str) -> Iterator[None]:
    """Give back what is read of a mapped file, all the time that the block takes and lets other threads run."""
    give_back(path)
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(_GIVE_BACK_S):
            give_back(path)

    thread = threading.Thread(target=go_on, name="giving back", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Delegate:
    """A runtime's handle on a delegate, in front of which what was read of the model's file is given back.

    Args:
        loaded: the handle.
        path: of the model.
    """

    def __init__(self, loaded: Any, path: str) -> None:
        self._loaded, self._path = loaded, path

    def _get_native_delegate_pointer(self) -> Any:
        """Called by the interpreter when it has read the graph."""
        give_back(self._path)
        return self._loaded._get_native_delegate_pointer()


def in_child(work: Callable[[], bytes], end_with: Callable[[int], None]) -> bytes:
    """What `work` gives, done in a child of this process. Where the child dies, this process dies of the same.

    Args:
        work: raises nothing.
        end_with: has the child end with the process of this number.
    """
    parent = os.getpid()
    inward, outward = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(inward)
            end_with(parent)
            with os.fdopen(outward, "wb") as out:
                out.write(work())
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(outward)
    with os.fdopen(inward, "rb") as answer:
        found = answer.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.kill(parent, -code)
    if code:
        raise SystemExit(abs(code))
    return found
