"""One measurement at a time on a machine, also where several users have agents of their own on it.

The lock is the kernel's: it goes with the process that holds it, so that none outlives a crash or a reboot.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
from pathlib import Path

# Named by a board that is one machine to the kernel and yet several to whoever measures, such as a network namespace.
VARIABLE = "EDGESPARSE_LOCK"
# Everyone may write there, nobody may remove another's file, and the sandbox of the service has it too.
_PATH = "/tmp/edgesparse-measuring.lock"


class MachineLock:
    """The right to measure on this machine.

    Args:
        path: the lock's file, the same for all users; the usual one where None.
        locks: where the kernel lists who holds what.
    """

    def __init__(self, path: Path | None = None, locks: Path = Path("/proc/locks")) -> None:
        self.path, self._locks = path or default_path(), locks
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take it; False while somebody else has it.

        Raises:
            OSError: the file can neither be opened nor made, or is no regular file.
        """
        if self._descriptor is not None:
            return True
        while True:
            descriptor = _open(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            if _is_at(descriptor, self.path):  # else it was swept away between the opening and the lock
                self._descriptor = descriptor
                return True
            os.close(descriptor)

    def release(self) -> None:
        """Give it back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> bool:
        """Remove the lock's file, where it is this user's and nobody measures; True once there is none. Agents of other
        users make it anew when they want it."""
        try:
            if self.path.lstat().st_uid == os.getuid() and self.acquire():
                self.path.unlink()
                return True
            return False
        except FileNotFoundError:
            return True
        except OSError:  # what lies there is no lock, and not for us to remove
            return False
        finally:
            self.release()

    def holder(self) -> str | None:
        """Who else has it, such as "pi's agent (process 712)"; None if it is free or ours."""
        if self._descriptor is not None:
            return None
        if self.acquire():
            self.release()
            return None
        return self._named() or "another agent on this machine"

    def _named(self) -> str | None:
        try:
            inode = self.path.stat().st_ino
            for line in self._locks.read_text().splitlines():
                # 1: FLOCK  ADVISORY  WRITE 712 fe:00:4711 0 EOF; a line with -> waits for the lock above it
                words = line.split()
                if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
                    user = pwd.getpwuid(os.stat(f"/proc/{words[4]}").st_uid).pw_name
                    return f"{user}'s agent (process {words[4]})"
        except (OSError, LookupError):  # it ended meanwhile, or belongs to another container
            return None
        return None


def default_path() -> Path:
    """Where the lock's file is on this machine."""
    return Path(os.environ.get(VARIABLE) or _PATH)


def _open(path: Path) -> int:
    """A descriptor that can be locked. Never through a symbolic link, and never to write: another user's file cannot
    be written to, and that is no reason not to wait for it. Nor does opening ever wait, as that of a named pipe would:
    anyone may put one there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        try:
            return _regular(os.open(path, flags), path)
        except FileNotFoundError:
            pass  # then it is made
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            continue
        os.fchmod(descriptor, 0o644)  # whatever the umask is
        return descriptor


def _regular(descriptor: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
