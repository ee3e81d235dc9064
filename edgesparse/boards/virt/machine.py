"""The emulated board as a machine: booted, looked after, powered off.

Its disk is an overlay over the image, so that the image is never written to: a clean one at every start, unless the
last one is to be gone on with. What it is reached by lies in one directory, with the board's own host key pinned.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import psutil

from edgesparse.boards.types import load_type
from edgesparse.boards.virt import qemu, tools
from edgesparse.boards.virt.image import Image
from edgesparse.boards.virt.recipe import TYPE, load_recipe
from edgesparse.errors import BoardError, UsageError

if TYPE_CHECKING:
    from edgesparse.boards.inventory import Board

USER = "root"
BOOT_S = 240.0
POWER_OFF_S = 30.0
_POLL_S = 0.25
_CONTROL = "control.sock"
_COMMAND_S = 60.0
_FILLER = "/var/filler"
# History of machine.json. A change that an older reader would misread raises the number.
#   1  first.
VERSION = 1


@dataclass(frozen=True)
class State:
    """What is known of the machine that was started last; `started`: when, in seconds since 1970, as the kernel says of
    its process."""

    version: int
    image: str
    port: int
    pid: int
    started: float
    counting: bool
    network: bool
    cpu: str


class Machine:
    """One emulated board; another directory is another board.

    Args:
        directory: where its disk and all that belongs to it lies; the user's own board where None.
        board_type: an emulated one.

    Raises:
        UsageError: this type is not emulated.
    """

    def __init__(self, directory: Path | None = None, board_type: str = TYPE) -> None:
        self.recipe = load_recipe(board_type)
        self.directory = directory or machine_dir(board_type)

    @property
    def type(self) -> str:
        """Its board type, which is its name too."""
        return self.recipe.type

    # -- what there is -----------------------------------------------------------------------------------------------

    def state(self) -> State | None:
        """What was started last, running or not; None if nothing that this edgesparse knows was."""
        try:
            state = State(**json.loads(self._state_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return state if state.version == VERSION else None

    def running(self) -> State | None:
        """The machine that runs now."""
        state = self.state()
        return state if state and self._process(state) else None

    def board(self) -> Board:
        """The board that runs now, to deploy to and to measure on.

        Raises:
            BoardError: none runs.
        """
        from edgesparse.boards.inventory import Board

        state = self.running()
        if state is None:
            raise self._off()
        return Board(
            name=self.type, type=load_type(self.type), transport="ssh", host="127.0.0.1", user=USER, port=state.port,
            identity_file=str(Path(state.image) / "id_ed25519"), known_hosts=str(self._known_hosts),
            counts_instructions=state.counting,
        )  # fmt: skip

    @property
    def ssh_config(self) -> Path:
        """For OpenSSH's own programs: `ssh -F` and `scp -F` this file, and its type as the host."""
        return self.directory / "ssh_config"

    @property
    def console(self) -> Path:
        """What the board has printed."""
        return self.directory / "console.log"

    def usage(self) -> str:
        """How it was booted and what can be done with it, in a few lines.

        Raises:
            BoardError: none runs.
        """
        state = self.running()
        if state is None:
            raise self._off()
        since = time.strftime("%H:%M:%S", time.localtime(state.started))
        how = "counts instructions" if state.counting else f"{qemu.CPUS} CPUs"
        reach = f"-F {shlex.quote(str(self.ssh_config))}"
        named = "" if self.type == TYPE else f" --type {self.type}"
        return (
            f"The emulated board {self.type} runs since {since}: {state.cpu}, {how}, ssh on 127.0.0.1:{state.port}\n"
            f"  measure:  make deploy BOARD={self.type}; make bench BOARD={self.type}\n"
            f"  log in:   edgesparse virt ssh{named}, or ssh {reach} {self.type}\n"
            f"  copy:     scp {reach} FILE {self.type}:\n"
            f"  console:  {self.console}\n"
            f"  stop:     edgesparse virt stop{named}"
        )

    # -- on and off --------------------------------------------------------------------------------------------------

    def start(
        self,
        image: Image,
        *,
        cpu: str | None = None,
        counting: bool = False,
        keep: bool = False,
        network: bool = False,
        memory_mb: int | None = None,
        progress: Callable[[str], None] = lambda text: None,
    ) -> State:
        """Boot it and wait until one can log in. One that runs is powered off before.

        Args:
            image: from `ensure_image`.
            cpu: one of those of its type; the first of them where None.
            counting: let its clock count instructions instead of time.
            keep: go on with the disk as it was left.
            network: let the board reach the network; it can be reached without.
            memory_mb: how much memory it has; as usual for its type where None.
            progress: told each step.

        Raises:
            UsageError: there is no such CPU. BoardError: it does not come up; shows what its console said last.
        """
        model = self.recipe.machine
        cpu = cpu or model.cpus[0]
        if cpu not in model.cpus:
            raise UsageError(f"{self.type} has no CPU {cpu!r}.", hint=f"There are {', '.join(model.cpus)}.")
        tools.require(model.program, build=False)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            if self.running():
                progress("powering off the one that runs")
                self._power_off(cleanly=keep)
            port = self._port(keep)
            self._make_disk(image, keep)
            began = time.monotonic()
            progress("booting" + " in counting mode" * counting)
            process, state = self._launch(image, port, cpu=cpu, counting=counting, network=network, memory_mb=memory_mb)
            try:
                self._write_access(image, state)
                self._wait_for_login(process, state)
            except BaseException:
                process.kill()
                process.wait()
                self._state_file.unlink(missing_ok=True)
                raise
            progress(f"up after {time.monotonic() - began:.0f} s, ssh on 127.0.0.1:{state.port}")
            return state

    def stop(self, *, discard: bool = False) -> bool:
        """Power it off; False if it did not run.

        Args:
            discard: remove its disk as well.
        """
        if not self.directory.is_dir():
            return False
        with self._alone():
            running = self.running() is not None
            if running:
                self._power_off(cleanly=not discard)
        if discard:
            shutil.rmtree(self.directory, ignore_errors=True)
        return running

    def power_cut(self) -> None:
        """Take its power away at once: what it has not given to its disk is lost. `start` with `keep` boots it again.

        Raises:
            BoardError: it does not run.
        """
        state = self.running()
        process = self._process(state) if state else None
        if process is None:
            raise self._off()
        process.kill()
        process.wait(POWER_OFF_S)

    def reset(self) -> None:
        """Press its reset button: it boots again, from the same disk, at the same address. Returns at once.

        Raises:
            BoardError: it does not run.
        """
        with self._control() as control:
            control.do("set-action", reboot="reset")
            control.do("system_reset")

    def set_link(self, up: bool) -> None:
        """Pull its network cable, or put it back.

        Raises:
            BoardError: it does not run.
        """
        with self._control() as control:
            control.do("set_link", name="net", up=up)

    def slow_link(self, delay_s: float | None) -> None:
        """Hold back what goes over its network, each time for up to so long; None: no more.

        Raises:
            BoardError: it does not run, or its link is slow already.
        """
        with self._control() as control:
            if delay_s is None:
                control.do("object-del", id="slow")
            else:
                interval_us = round(delay_s * 1e6)
                control.do(
                    "object-add", **{"qom-type": "filter-buffer", "id": "slow", "netdev": "net"}, interval=interval_us
                )

    def leave_free(self, free_bytes: int) -> None:
        """Make its disk small: a file takes all of it but so much, at once; what that file took before is given back.

        Raises:
            BoardError: it does not run, or more is asked for than there is.
        """
        from edgesparse.boards.ssh import SshTransport

        script = (
            f'rm -f {_FILLER}; free=$(($(stat -f -c "%a*%S" /)))\n'
            f'[ "$free" -ge {free_bytes} ] || {{ echo "$free"; exit 1; }}\n'
            f"fallocate -l $((free - {free_bytes})) {_FILLER}; sync"
        )
        transport = SshTransport(self.board(), connect_timeout_s=_COMMAND_S)
        try:
            done = transport.run(["sh", "-c", script], timeout_s=_COMMAND_S)
        finally:
            transport.close()
        if done.returncode:
            said = done.stdout.decode().strip() or done.stderr.decode(errors="replace").strip()
            raise BoardError(f"The disk of {self.type} cannot have {free_bytes} bytes free; it has {said}.")

    def _control(self) -> qemu.Control:
        if self.running() is None:
            raise self._off()
        return qemu.Control(self.directory, _CONTROL)

    # -- how ---------------------------------------------------------------------------------------------------------

    @property
    def _state_file(self) -> Path:
        return self.directory / "machine.json"

    @property
    def _known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def _disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make_disk(self, image: Image, keep: bool) -> None:
        if keep:
            state = self.state()
            if not self._disk.exists() or state is None:
                raise BoardError(
                    "There is no disk of an emulated board to go on with.", hint="Start a clean one: make board"
                )
            if state.image != str(image.path):
                raise BoardError(
                    "The emulated board's disk belongs to another image than today's.",
                    hint="Start a clean one: make board",
                )
            return
        self._disk.unlink(missing_ok=True)
        tools.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk.absolute(), self._disk],
            doing="Making the board's disk", timeout_s=60,
        )  # fmt: skip

    def _port(self, keep: bool) -> int:
        """A board that is gone on with stays where it was, so that whoever lost it finds it again."""
        before = self.state()
        return before.port if keep and before and _is_free(before.port) else _free_port()

    def _launch(
        self, image: Image, port: int, *, cpu: str, counting: bool, network: bool, memory_mb: int | None
    ) -> tuple[subprocess.Popen[bytes], State]:
        self.console.unlink(missing_ok=True)
        command = qemu.command(
            image, disk=self._disk.absolute(), disk_format="qcow2", console=self.console.absolute(), ssh_port=port,
            cpu=cpu, counting=counting, network=network, memory_mb=memory_mb, control=_CONTROL,
        )  # fmt: skip
        with (self.directory / "qemu.log").open("wb") as log:
            # A session of its own: the board stays when the terminal goes, and Ctrl-C is not for it.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.directory,
            )
        try:
            started = psutil.Process(process.pid).create_time()
            state = State(VERSION, str(image.path), port, process.pid, started, counting, network, cpu)
            aside = self._state_file.with_suffix(".part")
            aside.write_text(json.dumps(asdict(state), indent=2) + "\n")
            aside.replace(self._state_file)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return process, state

    def _write_access(self, image: Image, state: State) -> None:
        """The files that tell ssh where the board is and which key it has to show."""
        kind, key = image.host_key.split()[:2]
        self._known_hosts.write_text(f"[127.0.0.1]:{state.port} {kind} {key}\n")
        options = {
            "HostName": "127.0.0.1",
            "Port": state.port,
            "User": USER,
            "IdentityFile": f'"{image.identity}"',
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self._known_hosts}"',
            "StrictHostKeyChecking": "yes",
        }
        lines = [f"Host {self.type}", *(f"    {name} {value}" for name, value in options.items())]
        self.ssh_config.write_text("\n".join(lines) + "\n")

    def _wait_for_login(self, process: subprocess.Popen[bytes], state: State) -> None:
        from edgesparse.boards.ssh import SshTransport

        deadline = time.monotonic() + BOOT_S
        while not _says_ssh(state.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BoardError(self._why_not_up(process.poll()))
            time.sleep(_POLL_S)
        transport = SshTransport(self.board(), connect_timeout_s=_COMMAND_S)
        try:
            transport.run(["true"], timeout_s=_COMMAND_S)
        finally:
            transport.close()

    def _why_not_up(self, returncode: int | None) -> str:
        said = qemu.console_lines(self.directory / "qemu.log") + qemu.console_lines(self.console)
        what = f"did not come up within {BOOT_S:g} s" if returncode is None else "went down while it booted"
        return f"The emulated board {what}; it said last: {' | '.join(said[-4:]) or 'nothing'}"

    def _power_off(self, *, cleanly: bool) -> None:
        """As a user would, where the disk will be needed again; a board that does not react is switched off."""
        from edgesparse.boards.ssh import SshTransport

        state = self.running()
        process = self._process(state) if state else None
        if process is None:
            return
        with contextlib.suppress(BoardError, psutil.TimeoutExpired):
            if cleanly:
                transport = SshTransport(self.board())
                try:
                    transport.run(["/usr/bin/busybox", "poweroff"], timeout_s=POWER_OFF_S)
                finally:
                    transport.close()
                process.wait(POWER_OFF_S)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(POWER_OFF_S)

    def _off(self) -> BoardError:
        """What to say when it does not run."""
        which = "" if self.type == TYPE else f" BOARD={self.type}"
        return BoardError(f"The emulated board {self.type} is not running.", hint=f"Boot it: make board{which}")

    @staticmethod
    def _process(state: State) -> psutil.Process | None:
        """The emulator's process; another one that has got its number since is not taken for it."""
        try:
            process = psutil.Process(state.pid)
            same = abs(process.create_time() - state.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def machine_dir(board_type: str) -> Path:
    """Where the user's own board of this type is; EDGESPARSE_DATA names another data directory."""
    root = os.environ.get("EDGESPARSE_DATA")
    return (Path(root).expanduser() if root else platformdirs.user_data_path("edgesparse")) / "virt" / board_type


def _is_free(port: int) -> bool:
    """Whether nothing listens there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are just ending do not matter
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    """A port on which nothing listens just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _says_ssh(port: int) -> bool:
    """Whether sshd greets; QEMU itself takes the connection long before."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
        return sock.recv(4) == b"SSH-"
    return False
