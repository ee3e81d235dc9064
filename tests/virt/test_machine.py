"""What is said of a machine that runs, one that does not, and what it needs; no emulator is started here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

import edgesparse.commands.virt
from edgesparse.boards.inventory import resolve
from edgesparse.boards.virt import Machine, tools
from edgesparse.boards.virt.machine import VERSION, State
from edgesparse.boards.virt.packages import MIRROR_VARIABLE, PUBLIC_MIRROR, find_mirror
from edgesparse.boards.virt.recipe import TYPE, emulated_types, load_recipe, own_files
from edgesparse.errors import BoardError, UsageError


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A process that stands for the emulator."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def remember(machine: Machine, process: psutil.Process, *, counting: bool = False, started: float = 0.0) -> State:
    state = State(VERSION, "/image", 2222, process.pid, started or process.create_time(), counting, False, "cortex-a76")
    machine.directory.mkdir(parents=True, exist_ok=True)
    (machine.directory / "machine.json").write_text(json.dumps(asdict(state)))
    return state


def test_a_board_that_does_not_run_is_said_to_be_off() -> None:
    with pytest.raises(BoardError, match=r"not running.*make board"):
        resolve("virt-aarch64")
    assert Machine().running() is None
    assert Machine().stop() is False


@pytest.mark.parametrize("counting", [False, True])
def test_the_running_board_is_resolved_by_its_type(sleeper: psutil.Process, counting: bool) -> None:
    machine = Machine()
    remember(machine, sleeper, counting=counting)
    board = resolve("virt-aarch64")
    assert board.address == "root@127.0.0.1:2222"
    assert board.type.emulated and board.counts_instructions is counting
    assert board.identity_file == "/image/id_ed25519"
    assert board.known_hosts == str(machine.directory / "known_hosts"), "its host key is pinned"
    assert resolve("virt-aarch64", host="root@127.0.0.1:2222") == board, "a run that is attached to names its address"


def test_another_host_of_the_type_is_an_ordinary_board(sleeper: psutil.Process) -> None:
    remember(Machine(), sleeper)
    board = resolve("virt-aarch64", host="me@10.0.0.7")
    assert (board.host, board.known_hosts, board.counts_instructions) == ("10.0.0.7", None, False)


def test_a_process_that_has_got_the_number_since_is_not_the_board(sleeper: psutil.Process) -> None:
    remember(Machine(), sleeper, started=sleeper.create_time() - 60)
    assert Machine().running() is None


def test_a_state_of_another_version_or_torn_is_none(sleeper: psutil.Process) -> None:
    machine = Machine()
    state = remember(machine, sleeper)
    file = machine.directory / "machine.json"
    for text in (json.dumps({**asdict(state), "version": VERSION + 1}), file.read_text()[:20], "[]"):
        file.write_text(text)
        assert machine.state() is None


def test_a_board_that_hangs_is_switched_off(sleeper: psutil.Process) -> None:
    machine = Machine()
    remember(machine, sleeper)
    started = time.monotonic()
    assert machine.stop(discard=True) is True
    assert time.monotonic() - started < 60
    assert not psutil.pid_exists(sleeper.pid)
    assert not machine.directory.exists()


def test_what_is_missing_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_SYSTEM_DIRS", ())
    with pytest.raises(BoardError) as caught:
        tools.require("qemu-system-arm", build=False)
    assert "apt-get install --no-install-recommends qemu-system-arm qemu-utils" in caught.value.hint


def fake_apt(directory: Path, monkeypatch: pytest.MonkeyPatch, *sources: str) -> None:
    program = directory / "apt-get"
    lines = "\n".join(sources)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


def test_the_mirror_is_the_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path, monkeypatch, "noble http://ubuntu.example/ubuntu/", "bookworm http://near.example/debian/")
    assert find_mirror("bookworm") == "http://near.example/debian"
    fake_apt(tmp_path, monkeypatch, "bookworm-security http://a.example/s", "trixie http://near.example/debian/")
    assert find_mirror("bookworm") == "http://near.example/debian", "of another release, but Debian's"
    fake_apt(tmp_path, monkeypatch, "noble http://ubuntu.example/ubuntu/")
    assert find_mirror("bookworm") == PUBLIC_MIRROR
    monkeypatch.setenv(MIRROR_VARIABLE, "http://mine.example/debian")
    assert find_mirror("bookworm") == "http://mine.example/debian"


def test_the_image_is_another_when_a_file_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from edgesparse.boards.virt import recipe

    before = [load_recipe(each).key for each in emulated_types()]
    assert len(set(before)) == 2
    shutil.copytree(recipe.files_dir(), tmp_path / "virt")
    monkeypatch.setattr(recipe, "files_dir", lambda: tmp_path / "virt")
    assert [load_recipe(each).key for each in emulated_types()] == before
    boot = own_files()["etc/board/boot"]
    boot.write_text(boot.read_text() + "# changed\n")
    assert not {load_recipe(each).key for each in emulated_types()} & set(before)


def test_two_types_are_two_boards(sleeper: psutil.Process) -> None:
    remember(Machine(board_type="virt-armv7"), sleeper)
    assert resolve("virt-armv7").name == "virt-armv7"
    with pytest.raises(BoardError, match="virt-aarch64 is not running"):
        resolve("virt-aarch64")
    with pytest.raises(UsageError, match=r"no emulated board 'virt-x86'") as caught:
        Machine(board_type="virt-x86")
    assert "virt-aarch64, virt-armv7" in caught.value.hint
    assert edgesparse.commands.virt.TYPE == TYPE


def test_an_unknown_board_is_still_an_error_of_usage() -> None:
    with pytest.raises(UsageError, match="virt-aarch64"):
        resolve("virt-x86")
