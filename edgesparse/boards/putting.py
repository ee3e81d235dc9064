"""Files onto a board: one stream, a temporary name beside each target, verified there, synced, renamed.

A tar stream over one command costs no round trip per file and leaves the pace to the link; SFTP's 32 KB requests reach
about half of it. The board needs a POSIX shell, tar, gzip and sha256sum (or python3).

Over a link the stream is compressed where that shrinks it much: int8 files with 80 % zeros, which are stored dense, to
0.42 of their size. Gzip's first level does that at some 60 MB/s, the sixth at 8 MB/s to 0.38; and gzip is what every
board has. It would read on behind its data, so the board is told how much there is. Floats hardly shrink, and
compressing them would only keep the link waiting.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from edgesparse.boards.transport import LinkLost, Stream, Transport
from edgesparse.errors import BoardError
from edgesparse.files import sha256_of
from edgesparse.interrupting import raise_if_interrupted

CHUNK_BYTES = 1 << 18
GZIP_LEVEL = 1
# Compressed where samples come out smaller than this share.
SHRUNK_SHARE = 0.6
SAMPLE_BYTES = 1 << 14
SAMPLES_OF_A_FILE = 8
PACKS_KEPT = 4
READY_S = 60.0
FINISH_S = 600.0
LAST_WORDS_S = 5.0
# What tar and the shell say of a full disk; a write that was only half done comes before the one that fails.
_FULL = ("No space left", "quota exceeded", "Wrote only", "short write")
# Left free for the journal and the runtime's own files.
SPARE_BYTES = 1 << 20

# Arguments: the directories. Says "ready FREE_BYTES", takes a line with the size of a tar stream (0: it is not
# compressed) and the stream, of files in numbered directories, one for each that is named, and last the list of their
# SHA-256s, into a temporary directory in the first, and says "done", "corrupt" or "failed". Nothing is made before that
# line has come: a host that hangs up because the files do not fit leaves nothing to sweep. Temporary names are those of
# `agent/leftovers.py`: what a broken link or a power cut left is swept by the next put.
_SCRIPT = r"""
LC_ALL=C; export LC_ALL; umask 077
# Python's SHA-256 uses the CPU's instructions for it; coreutils' often does not, and takes seven times as long.
check() { if command -v python3 >/dev/null; then python3 -c '
import hashlib, os, sys
bad = []
for line in open(sys.argv[1], "rb"):
    want, name = line.rstrip(b"\n").split(b"  ", 1)
    sha256 = hashlib.sha256()
    with open(name, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            sha256.update(chunk)
        os.fsync(file.fileno())
    if sha256.hexdigest().encode() != want:
        bad.append("%r: FAILED" % name)
sys.exit("\n".join(bad) or 0)' "$1"; else sha256sum -c "$1" && sync; fi; }
# When a process began; nothing where there is none.
began() { read -r stat <"/proc/$1/stat" && set -- ${stat##*) } && shift 19 && echo "$1"; } 2>/dev/null
read -r boot </proc/sys/kernel/random/boot_id; boot=${boot%%-*}
me=$$.$(began $$).$boot
sweep() { for part in "$1"/.part-*; do
  writer=${part##*/.part-}; writer=${writer%%-*}; pid=${writer%%.*}
  case $writer in *[!0-9a-f.]*|*.*.*.*) continue;; *.*.*) ;; *) continue;; esac
  if [ "$writer" = "$me" ] || [ "$writer" != "$pid.$(began "$pid").$boot" ]; then rm -rf -- "$part"; fi
done; }
trap 'for dir do sweep "$dir"; done' EXIT; trap 'exit 1' HUP INT TERM PIPE
# Sets `verdict`, so that it is told after everything is swept.
take() {
  verdict=failed part=$1/.part-$me number=0
  read -r size && mkdir -- "$part" || return
  if [ "$size" -gt 0 ]; then
    head -c "$size" | gzip -dc | tar -x -m -o -f - -C "$part"
  else
    tar -x -m -o -f - -C "$part"
  fi || return
  said=$(cd -- "$part" && check sums 2>&1) || {
    case $said in *': FAILED'*) verdict=corrupt;; esac
    echo "$said" >&2
    return
  }
  for dir do
    mv -f -- "$part/$number"/* "$dir" || return
    number=$((number + 1))
    sync "$dir" 2>/dev/null || sync
  done
  verdict=done
}
for dir do
  mkdir -p -- "$dir" && sweep "$dir" || { echo failed; exit 1; }
done
free=$(df -Pk -- "$1" | { read -r _; read -r _ _ _ kilobytes _; echo "$kilobytes"; })
echo "ready $((free * 1024))"
take "$@"
for dir do sweep "$dir"; done
echo "$verdict"
"""


class Pack:
    """Files as they go over a link, the same to every board: a tar archive of `DIRECTORY/NAME`, where the directory is
    a number, and last of all the list of their SHA-256s. Made once, sent as often as wanted, also by several threads.

    Args:
        pairs: local file, absolute remote path.
        compress: whether the link may have it compressed; it is where that makes it much smaller.
    """

    def __init__(self, pairs: list[tuple[Path, str]], compress: bool) -> None:
        numbers = {directory: number for number, directory in enumerate(directories_of(pairs))}
        self._members = [
            (local, f"{numbers[str(PurePosixPath(remote).parent)]}/{PurePosixPath(remote).name}")
            for local, remote in pairs
        ]
        self.total_bytes = sum(local.stat().st_size for local, _ in pairs)
        self._sums = "".join(f"{sha256_of(local)}  {name}\n" for local, name in self._members).encode()
        self._packed = self._compressed() if compress and _shrinks([local for local, _ in pairs]) else None

    def send(self, stream: Stream, progress: Callable[[int], None]) -> int:
        """Write it; returns how many bytes it was. Progress is told of the files' bytes, as they would be were all of
        it equally compressible."""
        if self._packed is None:
            stream.write(b"0\n")
            return _send(stream, self._archive(progress))
        size_bytes = os.fstat(self._packed.fileno()).st_size
        stream.write(f"{size_bytes}\n".encode())
        sent_bytes = told_bytes = 0
        while chunk := os.pread(self._packed.fileno(), CHUNK_BYTES, sent_bytes):  # a place of each thread's own
            raise_if_interrupted()
            stream.write(chunk)
            sent_bytes += len(chunk)
            now_bytes = self.total_bytes * sent_bytes // size_bytes
            progress(now_bytes - told_bytes)
            told_bytes = now_bytes
        return size_bytes

    def _compressed(self) -> IO[bytes]:
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        packed = tempfile.TemporaryFile()  # noqa: SIM115  (closed when nobody has the pack any more)
        for piece in self._archive(lambda count: None):
            packed.write(packer.compress(piece))
        packed.write(packer.flush())
        packed.flush()
        return packed

    def _archive(self, progress: Callable[[int], None]) -> Iterator[bytes]:
        for local, name in self._members:
            with local.open("rb") as file:
                size_bytes = left_bytes = os.fstat(file.fileno()).st_size
                yield _header(name, size_bytes)
                while left_bytes:
                    chunk = file.read(min(CHUNK_BYTES, left_bytes))
                    if not chunk:
                        raise BoardError(
                            f"{local} became shorter while it was sent.", hint="Do it again when nothing writes to it."
                        )
                    yield chunk
                    progress(len(chunk))
                    left_bytes -= len(chunk)
            yield _padding(size_bytes)
        yield _header("sums", len(self._sums)) + self._sums + _padding(len(self._sums))
        yield bytes(2 * tarfile.RECORDSIZE)  # the archive's end; tar reads whole records


def directories_of(pairs: list[tuple[Path, str]]) -> list[str]:
    """The remote directories, each once, in the order in which they come."""
    return list(dict.fromkeys(str(PurePosixPath(remote).parent) for _, remote in pairs))


def _shrinks(files: list[Path]) -> bool:
    """Whether compressing is worth its time, by samples of the files."""
    samples = bytearray()
    for path in files:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            for place in range(0, size_bytes, max(SAMPLE_BYTES, size_bytes // SAMPLES_OF_A_FILE)):
                file.seek(place)
                samples += file.read(SAMPLE_BYTES)
    return len(zlib.compress(samples, GZIP_LEVEL)) < SHRUNK_SHARE * len(samples)


_packs: OrderedDict[tuple[Any, ...], Pack] = OrderedDict()
_packing = threading.Lock()


def pack(pairs: list[tuple[Path, str]], compress: bool) -> Pack:
    """The pack of these files: the one of before, where many boards are to have the same."""
    stats = [local.stat() for local, _ in pairs]
    key = (
        compress,
        *((str(local), remote, stat.st_ino, stat.st_size, stat.st_mtime_ns)
          for (local, remote), stat in zip(pairs, stats, strict=True)),
    )  # fmt: skip
    with _packing:
        if key not in _packs:
            _packs[key] = Pack(pairs, compress)
        _packs.move_to_end(key)
        while len(_packs) > PACKS_KEPT:
            _packs.popitem(last=False)
        return _packs[key]


def put_files(
    transport: Transport,
    pairs: list[tuple[Path, str]],
    progress: Callable[[int], None],
    *,
    where: str,
    compress: bool,
) -> int:
    """Put files onto a board. A target that exists is replaced; one that fails half-way is left as it was.

    Args:
        pairs: local file, absolute remote path; the directories of all of them on one file system.
        progress: told how many bytes more of the files were sent, now and then.
        where: the board, for sentences.
        compress: send them compressed, where that makes them much smaller.

    Returns:
        Bytes that went over the link.

    Raises:
        BoardError: no space, no permission, or what arrived is not what was sent. LinkLost: the link broke.
    """
    if not pairs:
        return 0
    odd = [remote for _, remote in pairs if not remote.startswith("/") or set(remote) & set("\\\r\n")]
    if odd:  # sha256sum writes such names in another way
        raise BoardError(f"Expected an absolute path without backslashes and line ends, found {odd[0]!r}.")
    total_bytes, directories = sum(local.stat().st_size for local, _ in pairs), directories_of(pairs)
    stream = transport.open(["sh", "-c", _SCRIPT, "sh", *directories])
    try:
        verdict = _answer(stream, READY_S)
        if verdict[0] != "ready" or not verdict[-1].isdecimal():
            raise _failure(stream, verdict, where, total_bytes)
        free_bytes = int(verdict[-1])
        if total_bytes + SPARE_BYTES > free_bytes:
            raise _disk_full(where, directories[0], total_bytes, free_bytes)
        packed = pack(pairs, compress)  # not before: packing what does not fit would take long
        try:
            sent_bytes = packed.send(stream, progress)
            verdict = _answer(stream, FINISH_S)
        except _Silent:
            raise
        except LinkLost:
            # The board may have hung up with a reason, such as a disk that filled meanwhile.
            verdict = _last_words(stream)
            if not verdict:
                raise
        if verdict != ["done"]:
            raise _failure(stream, verdict, where, total_bytes)
    finally:
        stream.close()
    return sent_bytes


def _send(stream: Stream, pieces: Iterable[bytes]) -> int:
    """Write the archive in large pieces, so that small files share the link's packets; returns how many bytes."""
    waiting, sent_bytes = bytearray(), 0
    for piece in pieces:
        raise_if_interrupted()
        sent_bytes += len(piece)
        if not waiting and len(piece) == CHUNK_BYTES:
            stream.write(piece)
            continue
        waiting += piece
        if len(waiting) >= CHUNK_BYTES:
            stream.write(bytes(waiting))
            waiting.clear()
    stream.write(bytes(waiting))
    return sent_bytes


def _header(path: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mode = size_bytes, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % tarfile.BLOCKSIZE)


class _Silent(LinkLost):
    """The board says nothing any more, so that there are no last words to wait for."""


def _answer(stream: Stream, timeout_s: float) -> list[str]:
    """The script's next line, in words."""
    try:
        line = stream.readline(timeout_s).decode(errors="replace")
    except TimeoutError:
        raise _Silent(f"The board said nothing for {timeout_s:g} s while files were put.") from None
    if not line:
        raise LinkLost(f"The board hung up while files were put. {stream.stderr_tail().strip()}".strip())
    return line.split() or [""]


def _last_words(stream: Stream) -> list[str]:
    try:
        return _answer(stream, READY_S)
    except LinkLost:
        return []


def _failure(stream: Stream, verdict: list[str], where: str, total_bytes: int) -> BoardError:
    # The reason comes by a way of its own; all of it is here only when the script has ended.
    with suppress(TimeoutError, LinkLost):
        while stream.readline(LAST_WORDS_S):
            continue
    said = stream.stderr_tail().strip()
    if verdict[0] == "corrupt":
        return BoardError(
            f"Files arrived on {where} with another SHA-256 than they were sent with: {said}",
            hint="Try again; if it stays so, the board's storage loses data.",
        )
    if any(words in said for words in _FULL):
        return BoardError(
            f"The disk of {where} filled up while {_mb(total_bytes)} were put there.",
            hint=f"Free some space there. It said: {said}",
        )
    return BoardError(
        f"{where} could not take the files: {said or 'it gave no reason'}",
        hint="Is its store writable? Are tar and gzip there?",
    )


def _disk_full(where: str, directory: str, needed_bytes: int, free_bytes: int) -> BoardError:
    return BoardError(
        f"The disk of {where} is full: {_mb(needed_bytes)} are needed in {directory}, {_mb(free_bytes)} are free.",
        hint="Free some space there, or give the board another `home` in the inventory.",
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
