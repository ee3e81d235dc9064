"""QEMU's command line for the board, and running it to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgesparse.boards.virt.tools import find

if TYPE_CHECKING:
    from edgesparse.boards.virt.image import Image

PROGRAM = "qemu-system-aarch64"
# With dot products of bytes, as a Raspberry Pi 5 or an Orin has; without, as a Raspberry Pi 4; small and without.
CPU_MODELS = ("cortex-a76", "cortex-a72", "cortex-a53")
MEMORY_MB = 2048
CPUS = 2
# One CPU, and a clock that goes one nanosecond forward for each instruction. While the CPU sleeps it goes as any clock
# does: had it to leap to the next timer instead (sleep=off), hours would pass within seconds while a disk or a host is
# awaited, and every deadline on the board would be over at once. An inference of one thread never sleeps.
COUNTING = ("-smp", "1", "-icount", "shift=0,sleep=on", "-accel", "tcg,thread=single")
NOT_COUNTING = ("-smp", str(CPUS), "-accel", "tcg,thread=multi")


def command(
    image: Image,
    *,
    disk: Path,
    disk_format: str,
    console: Path,
    append: Sequence[str] = (),
    ssh_port: int | None = None,
    cpu: str = CPU_MODELS[0],
    counting: bool = False,
    network: bool = False,
) -> list[str]:
    """The command line.

    Args:
        disk, disk_format: the root file system, `raw` or `qcow2`.
        console: the file that takes what the board prints.
        append: more words for the kernel.
        ssh_port: the port of 127.0.0.1 that leads to the board's sshd; no network at all where None.
        cpu: one of CPU_MODELS.
        counting: count instructions instead of time.
        network: let the board reach more than its own network, where nobody else is.
    """
    words = [
        find(PROGRAM) or PROGRAM, "-M", "virt", "-cpu", cpu, "-m", str(MEMORY_MB),
        *(COUNTING if counting else NOT_COUNTING),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
        "-append", " ".join(["console=ttyAMA0", "quiet", "panic=-1", *append]),
        "-chardev", f"file,id=console,path={_escaped(console)}", "-serial", "chardev:console",
        # No disk cache has to be flushed: the base is never written to after its making, and overlays are thrown away.
        "-drive", f"if=none,id=root,format={disk_format},cache=unsafe,discard=unmap,file={_escaped(disk)}",
        "-device", "virtio-blk-device,drive=root,serial=root",
    ]  # fmt: skip
    if ssh_port is not None:
        forward = f"hostfwd=tcp:127.0.0.1:{ssh_port}-10.0.2.15:22"
        words += ["-netdev", f"user,id=net,restrict={'off' if network else 'on'},{forward}"]
        words += ["-device", "virtio-net-device,netdev=net"]
    return words


def run_to_end(command: list[str], *, timeout_s: float) -> bool:
    """Run the emulator until the board powers itself off; False when it did not in time. It does not outlive this
    call."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()
    return True


def console_lines(console: Path) -> list[str]:
    """What the board has printed so far."""
    try:
        text = console.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _escaped(path: Path) -> str:
    """In QEMU's options a comma ends a value, and two of them stand for one."""
    return str(path).replace(",", ",,")
