"""Debian packages of another architecture, fetched by this machine's own apt: its mirrors, proxies and signatures, but
a state of its own, so that the machine's packages are not touched and no root is needed."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edgesparse.boards.virt.tools import KEYRING, find, run
from edgesparse.errors import BoardError

MIRROR_VARIABLE = "EDGESPARSE_DEBIAN_MIRROR"
PUBLIC_MIRROR = "http://deb.debian.org/debian"
FETCH_S = 600.0


def find_mirror(suite: str) -> str:
    """Where packages come from: what the environment names, else this machine's own mirror where it is one of Debian's,
    else the public one."""
    if mirror := os.environ.get(MIRROR_VARIABLE):
        return mirror
    listed = run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        doing="Reading apt's sources", timeout_s=60,
    )  # fmt: skip
    sources = [line.split(None, 1) for line in listed.splitlines() if line.count(" ") == 1]
    mirrors = [uri.rstrip("/") for release, uri in sources if release == suite]
    # On another release, or on Ubuntu, only a mirror's name tells that it is Debian's.
    mirrors += [uri.rstrip("/") for _, uri in sources if uri.rstrip("/").endswith("/debian")]
    return mirrors[0] if mirrors else PUBLIC_MIRROR


class Apt:
    """apt with a state of its own.

    Args:
        directory: where that state lies.
        suite: the Debian release.
        architecture: as Debian calls it.
        mirror: from `find_mirror`.
    """

    def __init__(self, directory: Path, suite: str, architecture: str, mirror: str) -> None:
        self.directory, self.mirror, self._architecture = directory, mirror, architecture
        self._config = directory / "apt.conf"
        for name in ("lists/partial", "archives/partial", "kernel"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        (directory / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Dir::State": directory,
            "Dir::State::status": directory / "status",
            "Dir::State::lists": directory / "lists",
            "Dir::Cache": directory,
            "Dir::Cache::archives": directory / "archives",
            "Dir::Etc::SourceList": directory / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
        }
        if os.geteuid() == 0:
            settings["APT::Sandbox::User"] = "root"  # apt's own user could not write here
        # The hooks of this machine are for its packages; a list has to be cleared before it is set.
        cleared = ("APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success", "APT::Architectures")
        lines = [f"#clear {name};" for name in cleared]
        lines += [f'{name} "{value}";' for name, value in settings.items()]
        self._config.write_text("\n".join(lines) + "\n")

    def update(self) -> None:
        """Fetch the list of packages. Raises BoardError."""
        try:
            self._run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
        except BoardError as error:
            raise BoardError(
                f"{error.message} (mirror {self.mirror})",
                hint=f"Is the mirror in reach? {MIRROR_VARIABLE}=http://… names another one of Debian's.",
            ) from None

    def fetch(self, packages: list[str]) -> list[Path]:
        """The files of the essential packages, of these, and of all that they depend on. Raises BoardError."""
        self._run("apt-get", "-qq", "--yes", "--download-only", "install", "?essential", *packages)
        return sorted((self.directory / "archives").glob("*.deb"))

    def fetch_kernel(self, name: str) -> Path:
        """The file of the kernel that a package such as linux-image-arm64 stands for. Raises BoardError."""
        depends = self._run("apt-cache", "depends", "--important", name).split()
        images = [word for word in depends if word.startswith("linux-image-") and word != name]
        if not images:
            raise BoardError(f"Expected the package {name} to depend on a kernel, found {' '.join(depends)!r:.100}.")
        self._run("apt-get", "-qq", "download", f"{images[0]}:{self._architecture}", cwd=self.directory / "kernel")
        return next((self.directory / "kernel").glob("*.deb"))

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        command: list[str | Path] = [program, f"--config-file={self._config}", *words]
        if cwd is not None:
            command = ["env", f"--chdir={cwd}", *command]
        return run(command, doing="Fetching Debian's packages", timeout_s=FETCH_S)


@dataclass(frozen=True)
class Entry:
    """One file of a package, as its archive lists it; the path has no leading slash."""

    path: str
    uid: int
    gid: int


class Deb:
    """A package's file.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(fileobj=io.BytesIO(self._read("--ctrl-tarfile"))) as archive:
            members = {member.name.removeprefix("./"): member for member in archive if member.isreg()}
            self.control_files = {name: _content(archive, member) for name, member in members.items()}
            self.programs = {name for name, member in members.items() if member.mode & 0o100}
        self.control = self.control_files.pop("control").decode().strip("\n")
        fields = dict(line.split(": ", 1) for line in self.control.splitlines() if ": " in line and line[0] != " ")
        self.name, self.architecture = fields["Package"], fields["Architecture"]
        self.several_architectures = fields.get("Multi-Arch") == "same"

    @property
    def info_name(self) -> str:
        """What dpkg calls the package's files in its database."""
        return f"{self.name}:{self.architecture}" if self.several_architectures else self.name

    def extract(self, into: Path) -> list[Entry]:
        """Unpack its files over a directory, where directories that are links stay links; owned by whoever does it.

        Returns:
            Every file and directory in it, in order.
        """
        content = self._read("--fsys-tarfile")
        command = [find("tar") or "tar", "-x", "-p", "--no-same-owner", "--keep-directory-symlink", "-C", str(into)]
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        if done.returncode:
            raise BoardError(f"{self.path.name} cannot be unpacked: {done.stderr.decode(errors='replace').strip()}")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return [Entry(each.name.removeprefix("./").rstrip("/"), each.uid, each.gid) for each in archive]

    def _read(self, what: str) -> bytes:
        program = find("dpkg-deb") or "dpkg-deb"
        done = subprocess.run([program, what, self.path], capture_output=True, check=False)
        if done.returncode:
            raise BoardError(f"{self.path.name} cannot be read: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""
