"""From a package's file to a file system: who owns what, links that stay links, what dpkg is told."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from edgesparse.boards.virt.packages import Deb
from edgesparse.boards.virt.tools import find
from edgesparse.boards.virt.tree import Tree
from edgesparse.errors import BoardError

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg, which Debian and Ubuntu have")

CONTROL = """Package: hello
Version: 1.0
Architecture: arm64
Multi-Arch: same
Maintainer: me <me@example.org>
Description: says it
 twice
"""


def archive(members: list[tuple[str, int, int, int, bytes | None]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode, uid, gid, content in members:
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid = mode, uid, gid
            if content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))
    return out.getvalue()


@pytest.fixture
def deb(tmp_path: Path) -> Deb:
    """A package in Debian's format: an ar archive of two tar archives."""
    control = archive(
        [
            ("./control", 0o644, 0, 0, CONTROL.encode()),
            ("./postinst", 0o755, 0, 0, b"#!/bin/sh\n"),
            ("./conffiles", 0o644, 0, 0, b"/etc/hello\n"),
        ]
    )
    data = archive(
        [
            ("./", 0o755, 0, 0, None),
            ("./bin/", 0o755, 0, 0, None),
            ("./bin/hello", 0o2755, 0, 43, b"#!/bin/sh\necho hello\n"),
            ("./etc/", 0o755, 0, 0, None),
            ("./etc/hello", 0o640, 7, 8, b"loud\n"),
            ("./usr/share/doc/hello/", 0o755, 0, 0, None),
            ("./usr/share/doc/hello/manual", 0o644, 0, 0, b"long\n"),
        ]
    )
    path = tmp_path / "hello_1.0_arm64.deb"
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in (("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar", data)):
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return Deb(path)


@pytest.fixture
def tree(tmp_path: Path, deb: Deb) -> Tree:
    (tmp_path / "tree").mkdir()
    made = Tree(tmp_path / "tree", ["usr/share/doc"])
    made.unpack(deb)
    made.finish()
    return made


def test_a_package_lands_behind_the_merged_directories(tree: Tree) -> None:
    assert (tree.path / "bin").is_symlink()
    assert (tree.path / "usr/bin/hello").read_bytes() == b"#!/bin/sh\necho hello\n"


def test_dpkg_is_told_what_it_would_have_written_itself(tree: Tree) -> None:
    info = tree.path / "var/lib/dpkg/info"
    assert (info / "hello:arm64.list").read_text().splitlines()[:3] == ["/.", "/bin", "/bin/hello"]
    assert (info / "hello:arm64.postinst").stat().st_mode & 0o111
    status = (tree.path / "var/lib/dpkg/status").read_text()
    assert (
        status == CONTROL.replace("\n", "\nStatus: install ok unpacked\n", 1) + "Conffiles:\n /etc/hello newconffile\n"
    )
    if find("dpkg-query"):
        asked = ["dpkg-query", f"--admindir={tree.path}/var/lib/dpkg", "-W", "-f", "${db:Status-Abbrev} ${Package}"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "iU  hello"


def test_what_is_left_out_stays_out(tree: Tree) -> None:
    assert list((tree.path / "usr/share/doc").iterdir()) == []
    assert (tree.path / "etc/dpkg/dpkg.cfg.d/board").read_text() == "path-exclude=/usr/share/doc/*\n"


@pytest.mark.skipif(find("debugfs") is None, reason="needs e2fsprogs, which Debian and Ubuntu have")
def test_the_file_system_has_the_packages_owners_whoever_made_it(tree: Tree, tmp_path: Path) -> None:
    tree.write("etc/board/boot", b"#!/bin/sh\n", 0o755)
    image = tmp_path / "root.ext4"
    tree.to_ext4(image, 64 << 20, tmp_path)
    assert image.stat().st_blocks * 512 < image.stat().st_size / 2, "the file is sparse"
    assert owner(image, "/usr/bin/hello") == ("02755", "0", "43")
    assert owner(image, "/etc/hello") == ("0640", "7", "8")
    assert owner(image, "/etc/board/boot") == ("0755", "0", "0")
    assert owner(image, "/bin") == ("0777", "0", "0")
    checked = subprocess.run([str(find("e2fsck")), "-fn", str(image)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def owner(image: Path, path: str) -> tuple[str, ...]:
    """Mode, user and group, as debugfs says."""
    command = [str(find("debugfs")), "-R", f"stat {path}", str(image)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(re.findall(rf"{key}:\s+(\d+)", said)[0] for key in ("Mode", "User", "Group"))


def test_a_damaged_package_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.deb"
    path.write_bytes(b"!<arch>\nnothing")
    with pytest.raises(BoardError, match=r"broken\.deb cannot be read"):
        Deb(path)
