"""The emulated board as a test bench: its reset button, its cable, a slow link, little memory, a second board."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.transport import LinkLost
from edgesparse.boards.virt import Image, Machine, ensure_image, tools
from edgesparse.errors import BoardError
from tests.waiting import wait_until

MISSING = tools.missing_packages(build=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt)"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(print)


@pytest.fixture(scope="module")
def machine(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine") / ("long" * 25))
    made.start(image)
    yield made
    made.stop(discard=True)


def shell(machine: Machine, script: str, timeout_s: float = 60) -> str:
    transport = SshTransport(machine.board(), connect_timeout_s=30)
    try:
        return transport.run(["sh", "-c", script], timeout_s=timeout_s).stdout.decode().strip()
    finally:
        transport.close()


def test_reset_boots_the_same_board_again(machine: Machine) -> None:
    shell(machine, "echo kept > /root/kept; sync; echo lost > /dev/shm/lost")
    before, boot = machine.running(), shell(machine, "cat /proc/sys/kernel/random/boot_id")
    machine.reset()

    def booted_again() -> bool:
        try:
            return shell(machine, "cat /proc/sys/kernel/random/boot_id") != boot
        except BoardError:
            return False

    wait_until(booted_again, 300)
    assert machine.running() == before
    assert shell(machine, "cat /root/kept; cat /dev/shm/lost 2>/dev/null") == "kept"


def test_a_cable_that_is_pulled_and_put_back(machine: Machine) -> None:
    transport = SshTransport(machine.board(), keepalive_s=1, dead_link_s=3)
    machine.set_link(False)
    with pytest.raises(LinkLost):
        transport.run(["true"], timeout_s=60)
    transport.close()
    machine.set_link(True)
    assert shell(machine, "echo back") == "back"


def test_a_link_that_is_slow(machine: Machine) -> None:
    transport = SshTransport(machine.board())

    def round_trip_s() -> float:
        started = time.monotonic()
        transport.run(["true"], timeout_s=60)
        return time.monotonic() - started

    machine.slow_link(1.0)
    assert round_trip_s() > 1.0  # a command takes several turns, and each answer waits from one second to the next
    machine.slow_link(None)
    wait_until(lambda: round_trip_s() < 1.0)
    transport.close()


def test_a_disk_that_is_small(machine: Machine) -> None:
    free = 'echo $(($(stat -f -c "%a*%S" /)))'
    machine.leave_free(5 << 20)
    assert abs(int(shell(machine, free)) - (5 << 20)) < 1 << 20
    assert shell(machine, "head -c 20000000 /dev/zero 2>&1 > /root/large || echo no").endswith("no")
    machine.leave_free(50 << 20)
    assert shell(machine, "head -c 20000000 /dev/zero > /root/large && rm /root/large && echo fits") == "fits"
    with pytest.raises(BoardError, match=r"cannot have \d+ bytes free; it has \d+"):
        machine.leave_free(1 << 40)


def test_little_memory_and_a_second_board_beside_the_first(
    image: Image, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = Machine(tmp_path_factory.mktemp("second"))
    try:
        second.start(image, memory_mb=256)
        assert int(shell(second, "grep MemTotal /proc/meminfo | tr -dc 0-9")) < 256 * 1024
        shell(second, "echo second > /root/name")
        assert shell(machine, "cat /root/name 2>/dev/null") == ""
        assert second.board().address != machine.board().address
    finally:
        second.stop(discard=True)
    assert shell(machine, "echo still there") == "still there"
    with pytest.raises(BoardError, match="not running"):
        second.reset()
