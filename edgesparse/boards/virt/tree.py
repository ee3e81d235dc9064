"""The board's files as a directory on the host, with Debian's packages unpacked in it, and a file system made of that.

Nothing of it needs root: who owns what is written into the file system afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from edgesparse.boards.virt.packages import Deb
from edgesparse.boards.virt.tools import run

_MERGED = ("bin", "lib", "sbin")  # links into usr/, as on every Debian since 12
_MAKE_S = 120.0


class Tree:
    """A root file system in the making.

    Args:
        path: an empty directory.
        exclude: directories whose files are left out.
    """

    def __init__(self, path: Path, exclude: Iterable[str]) -> None:
        self.path, self._exclude = path, tuple(f"{each}/" for each in exclude)
        self._owners: dict[str, tuple[int, int]] = {}
        self._status: list[str] = []
        for name in _MERGED:
            (path / "usr" / name).mkdir(parents=True)
            (path / name).symlink_to(f"usr/{name}")
        self._info = path / "var/lib/dpkg/info"
        self._info.mkdir(parents=True)
        (self._info / "format").write_text("1\n")

    def unpack(self, deb: Deb) -> None:
        """Put a package's files in place and tell dpkg's database that it is unpacked, to be set up later."""
        listed = []
        for entry in deb.extract(self.path):
            listed.append(f"/{entry.path}" if entry.path not in ("", ".") else "/.")
            if (entry.uid, entry.gid) != (0, 0):
                self._owners[self._merged(entry.path)] = (entry.uid, entry.gid)
        for name, content in {**deb.control_files, "list": "\n".join([*listed, ""]).encode()}.items():
            target = self._info / f"{deb.info_name}.{name}"
            target.write_bytes(content)
            target.chmod(0o755 if name in deb.programs else 0o644)
        first, _, rest = deb.control.partition("\n")
        conffiles = deb.control_files.get("conffiles", b"").decode().split()
        more = ["Conffiles:", *(f" {name} newconffile" for name in conffiles)] if conffiles else []
        self._status.append("\n".join([first, "Status: install ok unpacked", rest, *more]) + "\n")

    def finish(self) -> None:
        """Write dpkg's database, and drop what is left out now and when packages are added later."""
        (self.path / "var/lib/dpkg/status").write_text("\n".join(self._status))
        for name in self._exclude:
            shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / name).mkdir(parents=True)
        excluded = self.path / "etc/dpkg/dpkg.cfg.d/board"
        excluded.parent.mkdir(parents=True, exist_ok=True)
        excluded.write_text("".join(f"path-exclude=/{name}*\n" for name in self._exclude))

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A file that no package has."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)

    def to_ext4(self, image: Path, size_bytes: int, aside: Path) -> None:
        """Make the file system: a sparse file of this size.

        Args:
            aside: a directory for the list of owners.

        Raises:
            BoardError: the disk is full, for example.
        """
        with image.open("wb") as file:
            file.truncate(size_bytes)
        options = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
        run(
            ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-J", "size=16", "-E", options,
             "-d", self.path, image],
            doing="Making the board's file system", timeout_s=_MAKE_S,
        )  # fmt: skip
        commands = aside / "owners"
        with commands.open("w", encoding="utf-8", errors="surrogateescape") as file:
            for path in self.path.rglob("*"):
                name = str(path.relative_to(self.path))
                uid, gid = self._owners.get(name, (0, 0))
                file.write(f'sif "/{name}" uid {uid}\nsif "/{name}" gid {gid}\n')
        run(["debugfs", "-w", "-f", commands, image], doing="Setting who owns the board's files", timeout_s=_MAKE_S)

    @staticmethod
    def _merged(path: str) -> str:
        return f"usr/{path}" if path.split("/", 1)[0] in _MERGED else path
