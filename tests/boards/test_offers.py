"""What each captured board would be given, from an index that has for them what PyPI has; and what it is told where
that is nothing. Only pip is real here: it chooses by the board's architecture, libc and Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesparse.boards.facts import BoardFacts, Interpreter, parse_facts
from edgesparse.boards.inventory import resolve
from edgesparse.boards.provision import RuntimePlan, choose_python, plan_runtime
from edgesparse.boards.transport import Completed, Stream
from edgesparse.errors import BoardError
from tests.wheelhouse import add_wheel, use_index

SAMPLES = Path(__file__).parent.parent / "data" / "boards"
INDEX = [
    *(f"ai_edge_litert-2.1.0-cp39-cp39-manylinux_2_27_{arch}" for arch in ("aarch64", "x86_64")),
    *(
        f"ai_edge_litert-2.3.0-cp3{minor}-cp3{minor}-manylinux_2_27_{arch}"
        for minor in (10, 11, 12, 13)
        for arch in ("aarch64", "x86_64")
    ),
    *(
        f"tflite_runtime-2.14.0-cp3{minor}-cp3{minor}-manylinux_2_34_{arch}"
        for minor in (9, 10, 11)
        for arch in ("aarch64", "armv7l", "x86_64")
    ),
    *(f"numpy-2.0.2-cp39-cp39-manylinux_2_17_{arch}" for arch in ("aarch64", "x86_64")),
    *(
        f"numpy-2.2.6-cp3{minor}-cp3{minor}-manylinux_2_17_{arch}"
        for minor in (10, 11, 12, 13)
        for arch in ("aarch64", "x86_64")
    ),
    *(f"psutil-7.0.0-cp36-abi3-manylinux_2_17_{arch}" for arch in ("aarch64", "x86_64")),
]


class Captured:
    """A board of which only its facts are known: its Python imports what it has, and nothing lies in its store."""

    home, is_here = "/home/pi/.edgesparse", False

    def __init__(self, python: Interpreter) -> None:
        self._python = python

    def run(self, argv: list[str], *, input: bytes | None = None, timeout_s: float) -> Completed:
        if argv[0] == self._python.path:
            return Completed(0, f"imports {json.dumps(self._python.modules)}\n".encode(), b"")
        return Completed(0, input or b"", b"")  # of the files that are asked for, all are missing

    def open(self, argv: list[str]) -> Stream:
        raise AssertionError("a plan changes nothing")

    def put(self, pairs: list[tuple[Path, str]], progress: Callable[[int], None]) -> int:
        raise AssertionError("a plan moves nothing")

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in INDEX:
        add_wheel(tmp_path / "index", name)
    use_index(tmp_path / "index", monkeypatch)


def facts(sample: str, **changes: Any) -> BoardFacts:
    return dataclasses.replace(parse_facts((SAMPLES / f"{sample}.txt").read_text()), **changes)


def plan(found: BoardFacts, board_type: str, cache: Path) -> RuntimePlan:
    board = resolve(board_type, host="board")
    python = choose_python(found, board)
    return plan_runtime(Captured(python), board, found, python, lambda text: None, cache=cache)


@pytest.mark.parametrize(
    ("sample", "board_type", "python", "wheels"),
    [
        # numpy and psutil of Ubuntu 20.04 are there, but its numpy is too old
        ("jetpack-5", "jetson-orin", "/usr/bin/python3.9", ["ai_edge_litert-2.1.0-cp39", "numpy-2.0.2-cp39"]),
        ("jetpack-6", "jetson-orin", "/usr/bin/python3", ["ai_edge_litert-2.3.0-cp310", "numpy-2.2.6-cp310"]),
        ("raspberry-pi-os-64", "raspberrypi5", "/opt/litert/bin/python3.12", []),  # has all of it
        # Raspberry Pi OS's own numpy and psutil serve; there are no wheels of them for 32 bits
        ("raspberry-pi-os-32", "raspberrypi-32bit", "/usr/bin/python3", ["tflite_runtime-2.14.0-cp311"]),
        (
            "debian-12",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp311", "numpy-2.2.6-cp311", "psutil-7.0.0-cp36"],
        ),
        (
            "captured/debian-12-x86_64",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp311", "numpy-2.2.6-cp311", "psutil-7.0.0-cp36"],
        ),
        (
            "captured/debian-13-x86_64",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp313", "numpy-2.2.6-cp313", "psutil-7.0.0-cp36"],
        ),
        (
            "captured/ubuntu-22.04-x86_64",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp310", "numpy-2.2.6-cp310", "psutil-7.0.0-cp36"],
        ),
        (
            "captured/ubuntu-24.04-x86_64",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp312", "numpy-2.2.6-cp312", "psutil-7.0.0-cp36"],
        ),
        (
            "captured/debian-12-aarch64-emulated",
            "virt-aarch64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp311", "numpy-2.2.6-cp311", "psutil-7.0.0-cp36"],
        ),
        ("captured/debian-12-armv7l-emulated", "virt-armv7", "/usr/bin/python3", ["tflite_runtime-2.14.0-cp311"]),
        (
            "ubuntu-24",
            "x86-64",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp312", "numpy-2.2.6-cp312", "psutil-7.0.0-cp36"],
        ),
        (
            "debian-13",
            "raspberrypi4",
            "/usr/bin/python3",
            ["ai_edge_litert-2.3.0-cp313", "numpy-2.2.6-cp313", "psutil-7.0.0-cp36"],
        ),
    ],
)
def test_every_board_is_offered_what_runs_on_it(
    tmp_path: Path, sample: str, board_type: str, python: str, wheels: list[str]
) -> None:
    found = facts(sample)
    offer = plan(found, board_type, tmp_path / "cache")
    assert offer.runtime.python == python
    assert ["-".join(wheel.name.split("-")[:3]) for wheel in offer.wheels] == wheels
    assert all(found.arch in wheel.name for wheel in offer.wheels)
    assert (offer.directory is None) is (wheels == [])
    if offer.directory:
        assert offer.runtime.pythonpath == [offer.directory]


def test_a_set_of_other_wheels_is_another_directory(tmp_path: Path) -> None:
    """So an older one stays beside it."""
    before = plan(facts("debian-12"), "x86-64", tmp_path / "cache")
    again = plan(facts("debian-12"), "x86-64", tmp_path / "another cache")
    assert again.directory == before.directory, "named by what is in it"
    add_wheel(tmp_path / "index", "psutil-7.1.0-cp36-abi3-manylinux_2_17_x86_64")
    assert plan(facts("debian-12"), "x86-64", tmp_path / "cache").directory == before.directory, "fetched once"
    assert plan(facts("debian-12"), "x86-64", tmp_path / "other cache").directory != before.directory


@pytest.mark.parametrize(
    ("sample", "board_type", "pythons", "says"),
    [
        (
            "jetpack-5",
            "jetson-orin",
            slice(1),
            r"Expected Python 3\.9 or .*found /usr/bin/python3 \(3\.8\.10\)",
        ),
        (
            "jetpack-4",
            "jetson-nano",
            slice(9),
            r"Expected Python 3\.10 or .*found /usr/bin/python3 \(3\.6\.9\)",
        ),
        ("captured/ubuntu-20.04-x86_64", "x86-64", slice(9), r"Expected Python 3\.9 or .* \(3\.8\.2\)"),
        ("alpine", "raspberrypi-32bit", slice(9), "found no Python at all"),
    ],
)
def test_a_board_whose_python_is_too_old(
    tmp_path: Path, sample: str, board_type: str, pythons: slice, says: str
) -> None:
    found = facts(sample)
    with pytest.raises(BoardError, match=says) as caught:
        plan(dataclasses.replace(found, pythons=found.pythons[pythons]), board_type, tmp_path)
    assert "sudo apt install python3" in caught.value.hint


@pytest.mark.parametrize(
    ("python", "libc", "says"),
    [
        # Raspberry Pi OS of 2025 has a Python that tflite-runtime was never built for.
        (Interpreter("python3", (3, 13, 5), {"numpy": "2.2.4", "psutil": "7.0.0"}), "glibc 2.41", "tflite-runtime"),
        (Interpreter("python3", (3, 11, 2), {"numpy": "1.24.2"}), "glibc 2.36", "psutil"),
        (Interpreter("python3", (3, 11, 2), {"psutil": "5.9.4"}), "glibc 2.36", "numpy"),
        (Interpreter("python3", (3, 9, 2), {"numpy": "1.24.2", "psutil": "5.9.4"}), "glibc 2.31", "tflite-runtime"),
        (Interpreter("python3", (3, 11, 2), {}), "musl", "a board with musl"),
    ],
)
def test_a_board_for_which_there_is_no_wheel(tmp_path: Path, python: Interpreter, libc: str, says: str) -> None:
    found = facts("raspberry-pi-os-32", pythons=[python], libc=libc)
    with pytest.raises(BoardError) as caught:
        plan(found, "raspberrypi-32bit", tmp_path)
    assert f"armv7l, Python {python.short_version}, {libc} (tflite-runtime: nothing for {says}" in caught.value.message
    assert "sudo apt install python3-numpy python3-psutil" in caught.value.hint
