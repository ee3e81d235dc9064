"""A board's image: built once from Debian's packages and kept in the user's cache.

Packages are fetched and unpacked here; only their own set-up scripts run on ARM, in the emulator, as they would on a
new board. No root, no chroot, no mounts: what an interrupted build leaves is one directory, and that is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgesparse.boards.virt import qemu, tools
from edgesparse.boards.virt.initramfs import make_initramfs
from edgesparse.boards.virt.packages import Apt, Deb, find_mirror
from edgesparse.boards.virt.recipe import TYPE, Recipe, files_dir, is_program, load_recipe, own_files
from edgesparse.boards.virt.tree import Tree
from edgesparse.errors import BoardError

CONFIGURE_S = 900.0
READY = "edgesparse: the image is ready"
_BUSYBOX = "usr/bin/busybox"


@dataclass(frozen=True)
class Image:
    """An image that is there.

    Args:
        path: its directory.
        recipe: what it was made of.
    """

    path: Path
    recipe: Recipe

    @property
    def disk(self) -> Path:
        """The file system, never written to again."""
        return self.path / "root.ext4"

    @property
    def kernel(self) -> Path:
        return self.path / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.path / "initramfs.cpio"

    @property
    def identity(self) -> Path:
        """The key that logs in as root, made for this image."""
        return self.path / "id_ed25519"

    @property
    def host_key(self) -> str:
        """The board's own public key, as a known_hosts file has it."""
        return (self.path / "ssh_host_ed25519_key.pub").read_text(encoding="ascii").strip()


def images_dir() -> Path:
    """Where images are kept; EDGESPARSE_CACHE names another cache directory."""
    root = os.environ.get("EDGESPARSE_CACHE")
    return (Path(root).expanduser() if root else platformdirs.user_cache_path("edgesparse")) / "virt"


def find_image(board_type: str = TYPE) -> Image | None:
    """The image for today's recipe of this type, if it has been built."""
    recipe = load_recipe(board_type)
    image = Image(images_dir() / recipe.key, recipe)
    return image if image.path.is_dir() else None


def ensure_image(progress: Callable[[str], None], board_type: str = TYPE, *, rebuild: bool = False) -> Image:
    """The image; built where it is missing, which takes some minutes. Older ones of the type are removed.

    Args:
        progress: told each step.
        board_type: an emulated one.
        rebuild: build it even if it is there.

    Raises:
        UsageError: this type is not emulated. BoardError: a tool is missing, the packages cannot be fetched, or they
            cannot be set up.
    """
    if (image := find_image(board_type)) and not rebuild:
        return image
    recipe = load_recipe(board_type)
    tools.require(recipe.machine.program, build=True)
    directory = images_dir()
    directory.mkdir(parents=True, exist_ok=True)
    with _only_one(directory / "lock", progress):
        if (image := find_image(board_type)) and not rebuild:
            return image
        for left in directory.glob(".part-*"):  # by one that was killed: nobody else builds now
            shutil.rmtree(left, ignore_errors=True)
        target = directory / recipe.key
        with _terminable(), tempfile.TemporaryDirectory(dir=directory, prefix=".part-") as parent:
            started = time.monotonic()
            made = _build(Path(parent), recipe, progress)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
            progress(f"built the image in {time.monotonic() - started:.0f} s: {target}")
    for old in directory.iterdir():
        if old.name.startswith(f"{board_type}-") and old != target:
            shutil.rmtree(old, ignore_errors=True)
    return Image(target, recipe)


def _build(work: Path, recipe: Recipe, progress: Callable[[str], None]) -> Path:
    """The image's directory, somewhere below `work`."""
    for name in ("apt", "tree", "kernel", "image"):
        (work / name).mkdir()
    image = Image(work / "image", recipe)
    mirror = find_mirror(recipe.suite)
    progress(f"fetching Debian {recipe.suite} for {recipe.architecture} from {mirror}")
    apt = Apt(work / "apt", recipe.suite, recipe.architecture, mirror)
    apt.update()
    kernel = Deb(apt.fetch_kernel(recipe.kernel))
    debs = [Deb(path) for path in apt.fetch(recipe.packages)]

    progress(f"unpacking {len(debs)} packages and {kernel.name}")
    kernel.extract(work / "kernel")
    shutil.copyfile(next((work / "kernel" / "boot").glob("vmlinuz-*")), image.kernel)
    tree = Tree(work / "tree", recipe.exclude)
    for deb in debs:
        tree.unpack(deb)
    tree.finish()
    for name, path in own_files().items():
        tree.write(name, path.read_bytes(), 0o755 if is_program(name) else 0o644)
    tree.write("etc/hostname", f"{recipe.type}\n".encode())
    tree.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {recipe.type}\n".encode())
    _make_keys(image, tree)
    (tree.path / "usr/sbin/init").symlink_to(f"/{_BUSYBOX}")
    tree.to_ext4(image.disk, recipe.disk_bytes, work)
    busybox = (tree.path / _BUSYBOX).read_bytes()
    init = (files_dir() / "init").read_bytes()
    image.initramfs.write_bytes(make_initramfs(init, busybox, work / "kernel", recipe.modules))

    progress("setting the packages up, emulated; this takes some minutes")
    _configure(image, work / "configure.log")
    return image.path


def _make_keys(image: Image, tree: Tree) -> None:
    """A key for the board and one for its user, both of this image alone."""
    login, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    image.identity.touch(mode=0o600)
    image.identity.write_bytes(_private(login))
    tree.write("root/.ssh/authorized_keys", _public(login, "edgesparse") + b"\n", 0o600)
    (tree.path / "root/.ssh").chmod(0o700)
    tree.write("etc/ssh/ssh_host_ed25519_key", _private(host), 0o600)
    tree.write("etc/ssh/ssh_host_ed25519_key.pub", _public(host, image.recipe.type) + b"\n")
    (image.path / "ssh_host_ed25519_key.pub").write_bytes(_public(host, image.recipe.type) + b"\n")


def _private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public(key: Ed25519PrivateKey, comment: str) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" " + comment.encode()


def _configure(image: Image, log: Path) -> None:
    """Boot once to run Debian's set-up scripts; the board powers itself off at their end.

    Raises:
        BoardError: they did not come to their end; shows what was printed last.
    """
    command = qemu.command(image, disk=image.disk, disk_format="raw", append=("edgesparse=configure",), console=log)
    ended = qemu.run_to_end(command, timeout_s=CONFIGURE_S)
    said = qemu.console_lines(log)
    if not ended or READY not in said:
        why = "did not come to an end" if ended else f"was not done within {CONFIGURE_S:g} s"
        raise BoardError(
            f"Setting up the emulated board's packages {why}; the console's last lines: {' | '.join(said[-5:])}",
            hint="Is the disk full, or the machine very busy? Try again: make board",
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """Clean up when the process is told to end, too, not only at Ctrl-C."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _only_one(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock; builds at the same time would do the same work twice."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process builds the image; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
