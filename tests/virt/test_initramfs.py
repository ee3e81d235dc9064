"""The initramfs: what the kernel finds in it, and in which order modules are loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesparse.boards.virt.initramfs import make_initramfs
from edgesparse.boards.virt.recipe import TYPE, files_dir, load_recipe
from edgesparse.errors import BoardError


def unpack(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """A cpio archive in the "newc" format: name → mode, content."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size])
        at = (start + size + 3) // 4 * 4


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """Modules that depend on one another, one of them under a name with a dash."""
    for name, depends in {"virtio": "", "ring": "virtio", "net-failover": "", "net": "ring,net_failover"}.items():
        path = tmp_path / "lib/modules/6.1/kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=" + name.encode() + b"\0")
    return tmp_path


def test_modules_come_after_what_they_depend_on(kernel: Path) -> None:
    found = unpack(make_initramfs(b"#!script", b"busybox", kernel, ["net", "virtio"]))
    assert found["modules/order"][1].decode().split() == ["virtio.ko", "ring.ko", "net-failover.ko", "net.ko"]
    assert b"name=ring" in found["modules/ring.ko"][1]


def test_the_kernel_finds_a_program_to_start(kernel: Path) -> None:
    found = unpack(make_initramfs(b"#!script", b"busybox", kernel, []))
    assert found["init"] == (0o100755, b"#!script")
    assert found["bin/busybox"] == (0o100755, b"busybox")
    assert {name for name, (mode, _) in found.items() if mode == 0o040755} >= {"dev", "proc", "sys", "root"}


def test_a_module_that_is_missing_is_named(kernel: Path) -> None:
    with pytest.raises(BoardError, match=r"module virtio_blk\.ko"):
        make_initramfs(b"", b"", kernel, ["virtio_blk"])


def test_the_script_and_the_recipe_are_there() -> None:
    assert (files_dir() / "init").read_bytes().startswith(b"#!/bin/busybox sh\n")
    assert "virtio_blk" in load_recipe(TYPE).modules
