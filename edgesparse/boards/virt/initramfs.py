"""The initramfs, made on the host: busybox, the modules that reach the disk and the network, one script.

Debian makes its own on the board, which takes ten minutes when the board is emulated."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgesparse.errors import BoardError

_DIRECTORY, _FILE = 0o040755, 0o100755
_EMPTY_DIRS = ("bin", "dev", "modules", "proc", "root", "sys")


def make_initramfs(init: bytes, busybox: bytes, kernel_tree: Path, modules: Iterable[str]) -> bytes:
    """An uncompressed cpio archive, as the kernel takes it.

    Args:
        init: the script.
        busybox: a static one.
        kernel_tree: the unpacked package of the kernel.
        modules: those to load, each after what it depends on.

    Raises:
        BoardError: the kernel has no such module.
    """
    paths = _in_order(kernel_tree, modules)
    files = [(name, _DIRECTORY, b"") for name in _EMPTY_DIRS]
    files += [("bin/busybox", _FILE, busybox), ("init", _FILE, init)]
    files += [(f"modules/{path.name}", _FILE, path.read_bytes()) for path in paths]
    files.append(("modules/order", _FILE, "".join(f"{path.name}\n" for path in paths).encode()))
    entries = [_cpio_entry(name, mode, content, number) for number, (name, mode, content) in enumerate(files, 1)]
    return b"".join([*entries, _cpio_entry("TRAILER!!!", 0, b"", 0)])


def _in_order(kernel_tree: Path, wanted: Iterable[str]) -> list[Path]:
    """The modules' files, dependencies first."""
    there = {_plain(path.name.partition(".")[0]): path for path in kernel_tree.rglob("*.ko*")}
    ordered: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in ordered:
            return
        path = there.get(name)
        if path is None or path.suffix != ".ko":
            raise BoardError(f"Expected the uncompressed module {name}.ko in the kernel's package, found {path}.")
        for dependency in _depends(path.read_bytes()):
            add(dependency)
        ordered[name] = path

    for name in wanted:
        add(_plain(name))
    return list(ordered.values())


def _depends(module: bytes) -> list[str]:
    """What the module says that it depends on: `depends=a,b` in its section .modinfo."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [_plain(name) for name in match[1].decode().split(",") if name] if match else []


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _cpio_entry(name: str, mode: int, content: bytes, inode: int) -> bytes:
    """One file in the "newc" format: a header of hexadecimal fields and the name, the content, padded to four bytes."""
    encoded = name.encode() + b"\0"
    links = 2 if mode == _DIRECTORY else 1
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return header + b"\0" * (-len(header) % 4) + content + b"\0" * (-len(content) % 4)
