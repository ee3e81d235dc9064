"""Large models in as little memory as can be, for who checks them: each in a child of the worker's, which takes all its
memory along when it ends, with the mapped file kept out of memory while the runtime makes its own of it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# How often what has been read of a file is given back: by the kernels' library, and where there is none.
_GIVE_BACK_S, _IN_PYTHON_S = 0.002, 0.01


def give_back(path: str) -> list[tuple[int, int]]:
    """What has been read of a mapped file leaves this process's memory; what is read again comes back from the kernel's
    cache.

    Returns:
        Where it is mapped: address and bytes of each span.
    """
    path = os.path.realpath(path)
    libc = ctypes.CDLL(None, use_errno=True)
    spans = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        if name == [path]:
            start, end = (int(each, 16) for each in span.split("-"))
            if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), f"madvise on {path}")
            spans.append((start, end - start))
    return spans


def give_back_unused() -> None:
    """What this process has no more use for leaves its memory: garbage, and what the C library keeps for it."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # it is not glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def kept_out_of_memory(path: str, library: str | None = None) -> Iterator[None]:
    """Give back what is read of a mapped file, all the time that the block takes.

    Args:
        path: of the file. It stays mapped until the block ends.
        library: of the kernels, which do it while the block holds Python's lock, too; without them it is done while the
            block lets other threads run.
    """
    spans = give_back(path)
    ended = ctypes.c_int(0)
    begun = [ctypes.c_int(0) for _ in spans]

    def in_python() -> None:
        while not ended.value:
            time.sleep(_IN_PYTHON_S)
            give_back(path)

    in_c = _in_c(library)
    threads = [threading.Thread(target=in_python, daemon=True)]
    if in_c:
        pause_ns = ctypes.c_long(int(1e9 * _GIVE_BACK_S))
        arguments = [
            (ctypes.c_void_p(start), ctypes.c_size_t(size), pause_ns, ctypes.byref(one), ctypes.byref(ended))
            for (start, size), one in zip(spans, begun)
        ]
        threads = [threading.Thread(target=in_c, args=each, daemon=True) for each in arguments]
    started = []
    try:
        with contextlib.suppress(RuntimeError):  # there can be no more threads: more memory, then
            for thread in threads:
                started.append(thread)
                thread.start()
            while in_c and not all(one.value for one in begun):
                time.sleep(_GIVE_BACK_S / 10)  # what holds Python's lock after this would keep them from beginning
        yield
    finally:
        ended.value = 1
        for thread in started:
            if thread.ident is not None:
                thread.join()


def _in_c(library: str | None) -> Any:
    """What gives back in the kernels' library; None where there is none, or one that does not load or is older."""
    try:
        return ctypes.CDLL(library).edgesparse_give_back if library else None
    except (OSError, AttributeError):
        return None


class Delegate:
    """A runtime's handle on a delegate, which calls back when the interpreter has read the graph.

    Args:
        loaded: the handle.
        begins: called before the delegate gets the graph.
    """

    def __init__(self, loaded: Any, begins: Callable[[], object]) -> None:
        self._loaded, self._begins = loaded, begins

    def _get_native_delegate_pointer(self) -> Any:
        """Called by the interpreter."""
        self._begins()
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
