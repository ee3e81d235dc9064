"""What boards say of themselves, and the script itself on this one.

In data/boards/captured lies what systems have really said (`edgesparse boards probe BOARD --raw`); the files beside it
are put together from what such boards are known to say, as data/boards/README.md has it.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from edgesparse.agent import conditions
from edgesparse.boards import facts as boards_facts
from edgesparse.boards import reach
from edgesparse.boards.facts import BoardFacts, Interpreter, Sensor, parse_facts, probe
from edgesparse.boards.fitting import fitting_type
from edgesparse.boards.inventory import Board, resolve
from edgesparse.boards.provision import choose_python
from edgesparse.boards.transport import Transport
from edgesparse.boards.types import cpu_name, instruction_sets, list_types
from edgesparse.errors import BoardError
from tests.agent.sensors.trees import write
from tests.sshd import Sshd

SAMPLES = Path(__file__).parent.parent / "data" / "boards"


def facts(sample: str) -> BoardFacts:
    return parse_facts((SAMPLES / f"{sample}.txt").read_text())


def test_a_debian_machine() -> None:
    assert facts("debian-12") == BoardFacts(
        arch="x86_64",
        kernel="6.1.0-28-amd64",
        hostname="box",
        libc="glibc 2.36",
        system="Debian GNU/Linux 12 (bookworm)",
        model="OptiPlex 7070",
        memory_bytes=16241572 * 1024,
        disk_free_bytes=79666620 * 1024,
        pythons=[Interpreter("/usr/bin/python3", (3, 11, 2), {})],
        cpu="Intel(R) Core(TM) i7-9700 CPU @ 3.00GHz",
        isa=["sse2", "sse4_1", "avx", "avx2", "fma"],
        cores=8,
        governors=["powersave"],
        sensors=[
            Sensor("thermal", "x86_pkg_temp", True),
            Sensor("energy", "package-0", False),
            Sensor("energy", "core", False),
        ],
        systemd="running",
    )


CAPTURED = {
    "ubuntu-20.04-x86_64": ("x86_64", (2, 31), "Ubuntu 20.04 LTS", (3, 8, 2), {"pip"}, "x86-64"),
    "ubuntu-22.04-x86_64": ("x86_64", (2, 35), "Ubuntu 22.04 LTS", (3, 10, 4), {"pip"}, "x86-64"),
    "ubuntu-24.04-x86_64": ("x86_64", (2, 39), "Ubuntu 24.04 LTS", (3, 12, 3), {"pip"}, "x86-64"),
    "debian-12-x86_64": ("x86_64", (2, 36), "Debian GNU/Linux 12 (bookworm)", (3, 11, 2), set(), "x86-64"),
    "debian-13-x86_64": ("x86_64", (2, 41), "Debian GNU/Linux 13 (trixie)", (3, 13, 5), set(), "x86-64"),
    "debian-12-aarch64-emulated": (
        "aarch64", (2, 36), "Debian GNU/Linux 12 (bookworm)", (3, 11, 2), set(), "virt-aarch64",
    ),
    "debian-12-armv7l-emulated": (
        "armv7l", (2, 36), "Debian GNU/Linux 12 (bookworm)", (3, 11, 2), {"numpy", "psutil"}, "virt-armv7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("sample", [path.stem for path in sorted((SAMPLES / "captured").iterdir())])
def test_what_systems_have_said(sample: str) -> None:
    arch, glibc, system, python, modules, fits = CAPTURED[sample]
    found = facts(f"captured/{sample}")
    assert (found.arch, found.glibc, found.system) == (arch, glibc, system)
    assert [(each.path, each.version, set(each.modules)) for each in found.pythons] == [
        ("/usr/bin/python3", python, modules)
    ]
    assert found.kernel.startswith("6.") and found.cores == 2 and found.isa and found.hostname
    assert found.memory_bytes and found.disk_free_bytes and min(found.memory_bytes, found.disk_free_bytes) > 10**9
    assert fitting_type(found, list_types()).type == fits


@pytest.mark.parametrize(
    ("sample", "glibc"),
    [("debian-12", (2, 36)), ("jetpack-5", (2, 31)), ("raspberry-pi-os-64", (2, 36)), ("alpine", None)],
)
def test_libc(sample: str, glibc: tuple[int, int] | None) -> None:
    assert facts(sample).glibc == glibc


@pytest.mark.parametrize(
    ("said", "libc"),
    [
        ("ldd (Ubuntu GLIBC 2.31-0ubuntu9.16) 2.31", "glibc 2.31"),
        ("ldd (GNU libc) 2.28", "glibc 2.28"),
        ("musl libc (aarch64)", "musl"),
        ("", "unknown"),
    ],
)
def test_libc_where_getconf_is_missing(said: str, libc: str) -> None:
    assert parse_facts(f"libc {said}\n").libc == libc


def test_what_is_not_said_is_unknown() -> None:
    board = facts("alpine")
    assert (board.arch, board.libc, board.model, board.disk_free_bytes, board.pythons) == (
        "armv7l",
        "musl",
        "",
        None,
        [],
    )


@pytest.mark.parametrize(
    ("sample", "board_type", "python"),
    [
        ("debian-12", "x86-64", "/usr/bin/python3"),
        ("jetpack-5", "jetson-orin", "/usr/bin/python3.9"),  # the newest, not the default
        ("raspberry-pi-os-64", "raspberrypi5", "/opt/litert/bin/python3.12"),  # has all that is needed
    ],
)
def test_the_python_to_use(sample: str, board_type: str, python: str) -> None:
    assert choose_python(facts(sample), resolve(board_type, host="board")).path == python


def test_a_board_with_an_old_python_is_told_what_to_install() -> None:
    jetson = dataclasses.replace(facts("jetpack-5"), pythons=facts("jetpack-5").pythons[:1])
    with pytest.raises(BoardError) as caught:
        choose_python(jetson, resolve("jetson", host="board"))
    assert "Expected Python 3.9 or newer on jetson (NVIDIA Orin Nano Developer Kit, Ubuntu 20.04.6" in str(caught.value)
    assert "found /usr/bin/python3 (3.8.10)" in caught.value.message
    assert "sudo apt install python3.9" in caught.value.hint
    with pytest.raises(BoardError, match=r"3\.10 or newer .* found /usr/bin/python3 \(3\.6\.9\).* python3\.10;"):
        choose_python(facts("jetpack-4"), resolve("jetson-nano", host="board"))


def test_a_board_without_python_is_told_what_to_install() -> None:
    with pytest.raises(BoardError, match=r"no Python at all.*sudo apt install python3;"):
        choose_python(facts("alpine"), resolve("raspberrypi4", host="board"))


def test_a_named_python_that_is_wrong_is_named(transport: Transport, board: Board) -> None:
    missing = dataclasses.replace(board, python="/opt/python3.99")
    with pytest.raises(BoardError, match=r"there is none at /opt/python3.99"):
        choose_python(probe(transport, missing), missing)


def test_this_machine(transport: Transport, board: Board) -> None:
    named = dataclasses.replace(board, python=sys.executable)
    found = probe(transport, named)
    assert (found.arch, found.kernel, found.hostname) == (platform.machine(), platform.release(), platform.node())
    assert found.libc == " ".join(platform.libc_ver())
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.disk_free_bytes is not None and found.disk_free_bytes > 10**6
    assert found.pythons[0].path == sys.executable
    assert found.pythons[0].version == sys.version_info[:3]
    assert {"numpy", "psutil", "ai-edge-litert"} <= set(found.pythons[0].modules)
    assert found.cores == psutil.cpu_count()
    assert found.cpu == cpu_name(Path("/proc/cpuinfo").read_text())
    assert found.isa == instruction_sets(Path("/proc/cpuinfo").read_text())


@pytest.mark.parametrize(
    ("sample", "arch", "fits", "why"),
    [
        ("jetpack-4", "aarch64", "jetson-nano", "its model is 'NVIDIA Jetson Nano Developer Kit'"),
        ("jetpack-5", "aarch64", "jetson-orin", "its model is 'NVIDIA Orin Nano Developer Kit'"),
        ("jetpack-6", "aarch64", "jetson-orin", "its model is 'NVIDIA Jetson AGX Orin Developer Kit'"),
        ("raspberry-pi-os-64", "aarch64", "raspberrypi5", "its model is 'Raspberry Pi 5 Model B Rev 1.0'"),
        ("raspberry-pi-os-32", "armv7l", "raspberrypi-32bit", "it is armv7l"),  # on a 64-bit kernel
        ("debian-12", "x86_64", "x86-64", "it is x86_64"),
        ("ubuntu-24", "x86_64", "x86-64", "it is x86_64"),
        ("debian-13", "aarch64", "raspberrypi4", "its CPU is cortex-a72, although its model is 'Some Board Rev 2'"),
    ],
)
def test_the_type_that_fits(sample: str, arch: str, fits: str, why: str) -> None:
    board = facts(sample)
    found = fitting_type(board, list_types())
    assert (board.arch, found.type, found.reason) == (arch, fits, why)


def test_what_a_type_has_and_the_board_lacks_is_named() -> None:
    old = dataclasses.replace(facts("debian-12"), isa=["sse2", "sse4_1"])
    assert fitting_type(old, list_types()).reason == "it is x86_64; but it lacks avx, avx2, fma"


def test_a_board_that_no_type_fits_is_told_why() -> None:
    odd = dataclasses.replace(facts("debian-13"), arch="riscv64", cpu="unknown")
    found = fitting_type(odd, list_types())
    assert found.type is None
    assert "no board type is riscv64" in found.reason


@pytest.mark.parametrize(
    ("sample", "release", "monitors"),
    [
        ("jetpack-4", "# R32 (release), REVISION: 7.4", ["ina3221x"]),
        ("jetpack-5", "# R35 (release), REVISION: 4.1", ["ina3221"]),
        ("jetpack-6", "# R36 (release), REVISION: 4.3", ["ina3221", "ina3221"]),
    ],
)
def test_jetsons_say_their_release_and_power_monitors(sample: str, release: str, monitors: list[str]) -> None:
    board = facts(sample)
    assert board.release.startswith(release)
    assert [each.name for each in board.sensors if each.kind == "power" and each.readable] == monitors


@pytest.mark.parametrize(
    ("sample", "cpu", "isa"),
    [
        ("jetpack-4", "cortex-a57", ["neon"]),
        ("jetpack-5", "cortex-a78ae", ["neon", "fp16", "dotprod"]),
        ("jetpack-6", "cortex-a78ae", ["neon", "fp16", "dotprod"]),
        ("raspberry-pi-os-64", "cortex-a76", ["neon", "fp16", "dotprod"]),
        ("raspberry-pi-os-32", "cortex-a72", ["neon"]),  # the kernel's words are those of 64 bits
    ],
)
def test_arm_boards_are_named_by_their_cores(sample: str, cpu: str, isa: list[str]) -> None:
    """Also where they have a `model name`, as Jetsons: it is the same of all of them."""
    assert (facts(sample).cpu, facts(sample).isa) == (cpu, isa)


@pytest.mark.parametrize(
    ("machine", "bits", "arch"),
    [
        ("aarch64", 64, "aarch64"), ("aarch64", 32, "armv7l"), ("armv8l", 32, "armv7l"), ("armv7l", 32, "armv7l"),
        ("arm64", 64, "aarch64"), ("x86_64", 64, "x86_64"),
    ],
)  # fmt: skip
def test_the_architecture_is_that_of_programs(
    machine: str, bits: int, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel of 32-bit Raspberry Pi OS has 64 bits, and says so; the agent there finds the same."""
    assert parse_facts(f"arch {machine}\nbits {bits}\n").arch == arch
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(conditions, "sys", SimpleNamespace(maxsize=2 ** (bits - 1) - 1))
    assert conditions.program_architecture() == arch


VCGENCMD = """#!/bin/sh
case $1 in
  get_throttled) echo "$THROTTLED";;
  pmic_read_adc) echo "  VDD_CORE_A current(7)=6.22421000A";;
esac
"""


@pytest.mark.parametrize(("answer", "readable"), [("throttled=0x0", True), ("VCHI initialization failed", False)])
def test_a_sensor_is_readable_if_something_can_be_read(
    answer: str, readable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_transport: Transport
) -> None:
    """A directory stands for what is there and gives nothing, not even to root."""
    write(tmp_path, {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal", "sys/class/thermal/thermal_zone0/temp": "47531",
        "sys/class/thermal/thermal_zone2/type": "cv0-thermal", "sys/class/thermal/thermal_zone2/temp/nothing": "",
        "sys/class/hwmon/hwmon0/name": "pwmfan", "sys/class/hwmon/hwmon0/pwm1": "62",
        "sys/class/hwmon/hwmon2/name": "ina3221", "sys/class/hwmon/hwmon2/curr1_input/nothing": "",
        "sys/class/hwmon/hwmon2/curr2_input": "256",
        "sys/class/hwmon/hwmon3/name": "odd", "sys/class/hwmon/hwmon3/power1_input/nothing": "",
        "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": "2580",
        "sys/class/power_supply/ucsi-source-psy-1-00081/online": "0",
        "bin/vcgencmd": VCGENCMD,
    })  # fmt: skip
    (tmp_path / "bin" / "vcgencmd").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("THROTTLED", answer)
    monkeypatch.setattr(boards_facts, "_SCRIPT", boards_facts._SCRIPT.replace("/sys/", f"{tmp_path}/sys/"))
    assert probe(local_transport, dataclasses.replace(resolve("local"), python=sys.executable)).sensors == [
        Sensor("thermal", "cpu-thermal", True),
        Sensor("thermal", "cv0-thermal", False),
        Sensor("power", "ina3221", True),
        Sensor("power", "odd", False),
        Sensor("power", "ina3221x", True),
        Sensor("throttled", "vcgencmd", readable),
        Sensor("power", "pmic", True),
    ]


def test_every_python_is_found_once(sshd: Sshd) -> None:
    """Two names of one Python, and one that does not start, where a command over SSH would not look."""
    directory = sshd.user_home / ".local" / "bin"
    directory.mkdir(parents=True)
    (directory / "python3.15").symlink_to(sys.executable)
    (directory / "python3.14").symlink_to(sys.executable)
    (directory / "python3.13").write_text("#!/bin/sh\nexit 1\n")
    (directory / "python3.13").chmod(0o700)
    board = resolve("x86-64", host=sshd.host)
    found = [python.path for python in probe(reach(board), board).pythons if python.path.startswith(str(directory))]
    assert found == [str(directory / "python3.15")]


def test_what_does_not_answer_as_a_board(transport: Transport, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesparse.boards.facts._SCRIPT", "echo 'Unknown command.' >&2; exit 1")
    with pytest.raises(BoardError, match=r"does not answer as a Linux machine .* Unknown command\."):
        probe(transport, board)
