"""What an emulated board is made of: `devices/virt/`, read."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from edgesparse.boards.types import devices_dir
from edgesparse.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The emulated board that is meant where none is named.
TYPE = "virt-aarch64"
# History of how an image is built from its files. A change that makes another image of them raises the number.
#   1  first.
#   2  the host's name is written by the builder; no blocks of the disk are reserved for root, who is its user.
BUILDER = 2


class MachineModel(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What QEMU emulates: its `program`, the machine's `model`, and its CPUs, the usual one first."""

    program: str
    model: str
    cpus: list[str]
    memory_mb: int


class Recipe(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`<board type>.toml`. `architecture` and `suite` are Debian's words; `packages` come besides the essential ones;
    `exclude` are directories that are left out of them; `modules` are loaded by the initramfs."""

    type: str
    version: int
    architecture: str
    suite: str
    kernel: str
    modules: list[str]
    packages: list[str]
    exclude: list[str]
    disk_bytes: int
    machine: MachineModel

    @property
    def key(self) -> str:
        """Names the image: another recipe, script or builder is another image."""
        hashed = hashlib.sha256(f"builder {BUILDER}\n".encode())
        shared = {"recipe": _recipe_file(self.type), "init": files_dir() / "init", **own_files()}
        for name, path in shared.items():
            hashed.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return f"{self.type}-{hashed.hexdigest()[:16]}"


def files_dir() -> Path:
    """Where the images' own files are: a recipe for each type, and for all of them init, and root/ as it lies on the
    disk."""
    return devices_dir() / "virt"


def emulated_types() -> list[str]:
    """The board types that can be emulated."""
    return sorted(path.stem for path in files_dir().glob("*.toml"))


def load_recipe(board_type: str) -> Recipe:
    """The recipe of a board type.

    Raises:
        UsageError: this type is not emulated.
    """
    if board_type not in emulated_types():
        raise UsageError(
            f"There is no emulated board {board_type!r}.", hint=f"There are {', '.join(emulated_types())}."
        )
    found = tomllib.loads(_recipe_file(board_type).read_text(encoding="utf-8"))
    return msgspec.convert({"type": board_type, **found}, Recipe)


def _recipe_file(board_type: str) -> Path:
    return files_dir() / f"{board_type}.toml"


def own_files() -> dict[str, Path]:
    """The files that are not from packages, by their path on the disk."""
    root = files_dir() / "root"
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def is_program(name: str) -> bool:
    """Whether one of these is run; not told by its mode, which a wheel need not keep."""
    return name.startswith(("etc/board/", "usr/sbin/"))
