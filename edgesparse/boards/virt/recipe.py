"""What the image is made of: `devices/virt/`, read."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from edgesparse.boards.types import devices_dir

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# History of how an image is built from its files. A change that makes another image of them raises the number.
#   1  first.
BUILDER = 1


class Recipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`image.toml`. `packages` come besides the essential ones; `exclude` are directories that are left out of them;
    `modules` are loaded by the initramfs."""

    version: int
    suite: str
    kernel: str
    modules: list[str]
    packages: list[str]
    exclude: list[str]
    disk_bytes: int


def files_dir() -> Path:
    """Where the image's own files are: image.toml, init, and root/ as it lies on the disk."""
    return devices_dir() / "virt"


def load_recipe() -> Recipe:
    """The recipe that comes with edgesparse."""
    return msgspec.convert(tomllib.loads((files_dir() / "image.toml").read_text(encoding="utf-8")), Recipe)


def own_files() -> dict[str, Path]:
    """The files that are not from packages, by their path on the disk."""
    root = files_dir() / "root"
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def is_program(name: str) -> bool:
    """Whether one of these is run; not told by its mode, which a wheel need not keep."""
    return name.startswith(("etc/board/", "usr/sbin/"))


def image_key() -> str:
    """Names an image: another recipe, script or builder is another image."""
    hashed = hashlib.sha256(f"builder {BUILDER}\n".encode())
    for name, path in {"image.toml": files_dir() / "image.toml", "init": files_dir() / "init", **own_files()}.items():
        hashed.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hashed.hexdigest()[:16]
