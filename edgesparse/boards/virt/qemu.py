"""QEMU's command line for the board, and running it to its end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesparse.boards.virt.tools import find
from edgesparse.errors import BoardError

if TYPE_CHECKING:
    from edgesparse.boards.virt.image import Image

CONTROL_S = 30.0
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
    cpu: str | None = None,
    counting: bool = False,
    network: bool = False,
    memory_mb: int | None = None,
    control: str | None = None,
) -> list[str]:
    """The command line.

    Args:
        disk, disk_format: the root file system, `raw` or `qcow2`.
        console: the file that takes what the board prints.
        append: more words for the kernel.
        ssh_port: the port of 127.0.0.1 that leads to the board's sshd; no network at all where None.
        cpu: one of those of its type; the first of them where None.
        counting: count instructions instead of time.
        network: let the board reach more than its own network, where nobody else is.
        memory_mb: the board's memory; as usual for its type where None.
        control: name of the Unix socket in the working directory that takes QEMU's machine protocol; none where None.
    """
    model = image.recipe.machine
    words = [
        find(model.program) or model.program, "-M", model.model, "-cpu", cpu or model.cpus[0],
        "-m", str(memory_mb or model.memory_mb),
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
    if control is not None:
        words += ["-qmp", f"unix:{control},server=on,wait=off"]
    return words


class Control:
    """QEMU's machine protocol: what one does to a board from outside.

    Args:
        directory, name: where the socket lies, and its name there; a path may be too long for a socket.

    Raises:
        BoardError: nobody listens there.
    """

    def __init__(self, directory: Path, name: str) -> None:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONTROL_S)
        try:
            self._socket.connect(f"/proc/self/fd/{descriptor}/{name}")
        except OSError as error:
            self._socket.close()
            raise BoardError(f"The emulator does not listen on {directory / name}: {error.strerror}.") from None
        finally:
            os.close(descriptor)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()  # its greeting
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: Any) -> None:
        """One command.

        Raises:
            BoardError: the emulator refuses it.
        """
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := json.loads(self._lines.readline() or b'{"error": {"desc": "it hung up"}}')):
            if "error" in answer:
                raise BoardError(f"The emulator refuses {command}: {answer['error']['desc']}.")

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        self._socket.close()


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
