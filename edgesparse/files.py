"""Files and directories that are either whole or absent: written beside their place, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgesparse.errors import UsageError


def refuse_foreign(out: Path, marker: str) -> None:
    """Make sure, before the work, that `out` can be written, and that replacing it destroys nothing but an earlier
    result, known by its file `marker`.

    Raises:
        UsageError: `out` is a file, or a directory that holds other things; or what is to hold it is no directory, or
            one that this user may not write to.
    """
    if (out / marker).is_file():
        return
    above = next(each for each in out.absolute().parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        what = "may not be written to" if above.is_dir() else "is no directory"
        raise UsageError(f"{out} cannot be made: {above} {what}.", hint="Give another directory.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    raise UsageError(
        f"{out} exists and was not made by this command; it is left alone.", hint="Give another directory."
    )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh directory to write into; when the block ends well it takes the place of `out`, else it is removed."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex[:8]
    partial, old = (out.parent / f".{out.name}.{unique}.{state}" for state in ("partial", "old"))
    partial.mkdir()
    try:
        yield partial
        for path in [*partial.rglob("*"), partial]:
            sync(path)
        if out.exists():
            out.rename(old)
        partial.rename(out)
        sync(out.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A place to write a file to; when the block ends well it is synced and takes the place of `path`, else it is
    removed. Where `path` is a link, what it leads to is replaced; who may read what was there may read what is now.

    Raises:
        OSError: it cannot be written, or what is there is no file: a directory, a device, a pipe.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    target = Path(os.path.realpath(path))
    aside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        yield aside
        sync(aside)
        with suppress(FileNotFoundError):  # where there is none yet
            shutil.copymode(target, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is whole or not there: beside its place, synced, renamed. Raises OSError as `replacing_file`
    does; nothing is left of it then."""
    with replacing_file(path) as aside:
        aside.write_bytes(data)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file as bytes that stay on disk until they are read."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield content
    # Arrays may still look at it: it is closed when the last of them goes.


def leave_memory(content: mmap.mmap) -> None:
    """Take out of this process's memory what has been read of a mapped file; it comes back when it is read again."""
    content.madvise(mmap.MADV_DONTNEED)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        hashed = hashlib.sha256()
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    return hashed.hexdigest()


def sync(path: Path) -> None:
    """Have a file's content, or the names in a directory, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
