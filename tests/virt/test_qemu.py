"""QEMU's command line, and running it to its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgesparse.boards.virt import TYPE, Image, qemu
from edgesparse.boards.virt.recipe import load_recipe

IMAGE = Image(Path("/images/one"), load_recipe(TYPE))


def words(**how: Any) -> list[str]:
    return qemu.command(IMAGE, disk=Path("/d/disk.qcow2"), disk_format="qcow2", console=Path("/d/console.log"), **how)


def after(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_the_board_is_the_one_of_its_type() -> None:
    command = words()
    assert [after(command, option) for option in ("-M", "-cpu", "-smp", "-m")] == ["virt", "cortex-a76", "2", "2048"]


def test_the_32_bit_board_is_the_one_of_its_type() -> None:
    image = Image(Path("/images/two"), load_recipe("virt-armv7"))
    command = qemu.command(image, disk=Path("/d"), disk_format="raw", console=Path("/c"), memory_mb=256)
    assert command[0].endswith("qemu-system-arm")
    assert [after(command, option) for option in ("-M", "-cpu", "-m")] == ["virt,highmem=off", "cortex-a15", "256"]


def test_counting_is_one_cpu_whose_clock_counts() -> None:
    command = words(counting=True)
    assert after(command, "-smp") == "1"
    assert after(command, "-icount") == "shift=0,sleep=on"
    assert after(command, "-accel") == "tcg,thread=single"
    assert "-icount" not in words()


def test_the_board_is_reached_from_this_machine_alone_and_reaches_nobody_unless_asked() -> None:
    net = after(words(ssh_port=2222), "-netdev").split(",")
    assert "restrict=on" in net
    assert "hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22" in net
    assert "restrict=off" in after(words(ssh_port=2222, network=True), "-netdev").split(",")
    assert "-netdev" not in words()


def test_a_comma_in_a_path_is_no_new_option() -> None:
    command = qemu.command(IMAGE, disk=Path("/a,b/disk"), disk_format="raw", console=Path("/c"))
    assert after(command, "-drive").endswith("file=/a,,b/disk")


def test_an_emulator_that_hangs_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hangs = f"import os, time, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(300)"
    started = time.monotonic()
    assert not qemu.run_to_end([sys.executable, "-c", hangs], timeout_s=5)
    assert time.monotonic() - started < 200
    assert not psutil.pid_exists(int(pid.read_text()))


@pytest.mark.parametrize("text", ["", "one\r\n\r\n  two \r\n"])
def test_what_the_console_says(tmp_path: Path, text: str) -> None:
    (tmp_path / "console.log").write_text(text)
    assert qemu.console_lines(tmp_path / "console.log") == text.split()
    assert qemu.console_lines(tmp_path / "none.log") == []
