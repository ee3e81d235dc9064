"""Files onto a board: one stream, a temporary name beside each target, verified there, synced, renamed.

A tar stream over one command costs no round trip per file and leaves the pace to the link; SFTP's 32 KB requests reach
about half of it. The board needs a POSIX shell, tar, gzip and sha256sum (or python3).

Over a link the stream is compressed. Int8 files with 80 % zeros, which are stored dense, shrink to a third that way:
gzip makes 85 kB of 256 kB, zstd at its best level 76 kB, xz 73 kB. Gzip is the one that every board has. It would
read on behind its data, so the board is told how much there is.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from edgesparse.boards.transport import LinkLost, Stream, Transport
from edgesparse.errors import BoardError

CHUNK_BYTES = 1 << 18
GZIP_LEVEL = 6
READY_S = 60.0
FINISH_S = 600.0
# Left free for the journal and the runtime's own files.
SPARE_BYTES = 1 << 20

# Arguments: "gzip" or "plain", the directories. Says "ready PID FREE_BYTES", takes a tar stream (compressed: after a
# line with its size) of files in a directory `.part-PID` beside their targets, the last of them `.part-PID-sums` with
# all SHA-256s, and says "done", "corrupt" or "failed". The PID tells whether the writer of a `.part-` still lives: what
# a broken link or a power cut left is swept by the next put.
_SCRIPT = r"""
LC_ALL=C; export LC_ALL; umask 077
how=$1; shift
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
sweep() { for part in "$1"/.part-*; do
  pid=${part##*/.part-}; pid=${pid%%-*}
  case $pid in ''|*[!0-9]*) continue;; esac
  if [ "$pid" = "$$" ] || ! kill -0 "$pid" 2>/dev/null; then rm -rf -- "$part"; fi
done; }
trap 'for dir do sweep "$dir"; done' EXIT; trap 'exit 1' HUP INT TERM PIPE
# Sets `verdict`, so that it is told after everything is swept.
take() {
  verdict=failed
  if [ "$how" = gzip ]; then
    read -r size && head -c "$size" | gzip -dc | tar -x -m -o -f - -C /
  else
    tar -x -m -o -f - -C /
  fi || return
  said=$(check "$1/.part-$$-sums" 2>&1) || {
    case $said in *': FAILED'*) verdict=corrupt;; esac
    echo "$said" >&2
    return
  }
  for dir do
    mv -f -- "$dir/.part-$$"/* "$dir" && rmdir -- "$dir/.part-$$" || return
    sync "$dir" 2>/dev/null || sync
  done
  verdict=done
}
for dir do
  mkdir -p -- "$dir" && sweep "$dir" || { echo failed; exit 1; }
done
free=$(df -Pk -- "$1" | { read -r _; read -r _ _ _ kilobytes _; echo "$kilobytes"; })
echo "ready $$ $((free * 1024))"
take "$@"
for dir do sweep "$dir"; done
echo "$verdict"
"""


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
        pairs: local file, absolute remote path.
        progress: told how many bytes more of the files were sent, now and then.
        where: the board, for sentences.
        compress: send them compressed.

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
    directories = list(dict.fromkeys(str(PurePosixPath(remote).parent) for _, remote in pairs))
    total_bytes = sum(local.stat().st_size for local, _ in pairs)
    stream = transport.open(["sh", "-c", _SCRIPT, "sh", "gzip" if compress else "plain", *directories])
    try:
        verdict = _answer(stream, READY_S)
        if verdict[0] != "ready":
            raise _failure(stream, verdict, where, total_bytes)
        pid, free_bytes = verdict[1], int(verdict[2])
        if total_bytes + SPARE_BYTES > free_bytes:
            raise _disk_full(where, directories[0], total_bytes, free_bytes)
        try:
            if compress:
                sent_bytes = _send_compressed(
                    stream, _archive(pairs, directories[0], pid, _ignore), total_bytes, progress
                )
            else:
                sent_bytes = _send(stream, _archive(pairs, directories[0], pid, progress))
            verdict = _answer(stream, FINISH_S)
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


def _send_compressed(stream: Stream, pieces: Iterable[bytes], total_bytes: int, progress: Callable[[int], None]) -> int:
    """Write the archive's compressed size, then the archive; progress is told of the files' bytes, as they would be
    were all of it equally compressible."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with tempfile.TemporaryFile() as packed:
        for piece in pieces:
            packed.write(packer.compress(piece))
        packed.write(packer.flush())
        size_bytes = packed.tell()
        packed.seek(0)
        stream.write(f"{size_bytes}\n".encode())
        told_bytes = 0
        while chunk := packed.read(CHUNK_BYTES):
            stream.write(chunk)
            sent_share = packed.tell() / size_bytes
            progress(int(total_bytes * sent_share) - told_bytes)
            told_bytes = int(total_bytes * sent_share)
    return size_bytes


def _ignore(count: int) -> None:
    """The files' bytes while they are packed, which is not yet sending them."""


def _archive(
    pairs: list[tuple[Path, str]], first_directory: str, pid: str, progress: Callable[[int], None]
) -> Iterator[bytes]:
    """The tar stream: every file under its temporary name, then the list that it is checked by."""
    lines = []
    for local, remote in pairs:
        target, digest = PurePosixPath(remote), hashlib.sha256()
        part = str(target.parent / f".part-{pid}" / target.name)
        with local.open("rb") as file:
            size_bytes = left_bytes = os.fstat(file.fileno()).st_size
            yield _header(part, size_bytes)
            while left_bytes:
                chunk = file.read(min(CHUNK_BYTES, left_bytes))
                if not chunk:
                    raise BoardError(
                        f"{local} became shorter while it was sent.", hint="Do it again when nothing writes to it."
                    )
                digest.update(chunk)
                yield chunk
                progress(len(chunk))
                left_bytes -= len(chunk)
        yield _padding(size_bytes)
        lines.append(f"{digest.hexdigest()}  {part}\n")
    sums = "".join(lines).encode()
    yield _header(f"{first_directory}/.part-{pid}-sums", len(sums)) + sums + _padding(len(sums))
    yield bytes(2 * tarfile.RECORDSIZE)  # the archive's end; tar reads whole records


def _header(path: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = size_bytes, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % tarfile.BLOCKSIZE)


def _answer(stream: Stream, timeout_s: float) -> list[str]:
    """The script's next line, in words."""
    try:
        line = stream.readline(timeout_s).decode(errors="replace")
    except TimeoutError:
        raise LinkLost(f"The board said nothing for {timeout_s:g} s while files were put.") from None
    if not line:
        raise LinkLost(f"The board hung up while files were put. {stream.stderr_tail().strip()}".strip())
    return line.split()


def _last_words(stream: Stream) -> list[str]:
    try:
        return _answer(stream, READY_S)
    except LinkLost:
        return []


def _failure(stream: Stream, verdict: list[str], where: str, total_bytes: int) -> BoardError:
    said = stream.stderr_tail().strip()
    if verdict[0] == "corrupt":
        return BoardError(
            f"Files arrived on {where} with another SHA-256 than they were sent with: {said}",
            hint="Try again; if it stays so, the board's storage loses data.",
        )
    if "No space left" in said or "quota exceeded" in said:
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
