"""The libraries that `make kernels` builds: for the right machine, small, loadable on old boards, built only once."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edgesparse.errors import UsageError
from edgesparse.kernels import ARCHITECTURES, LIBRARY, find_library, library_path, target, this_arch

MOST_BYTES = 300_000
KERNELS = Path(__file__).parents[2] / "kernels"
# e_machine, bits, and the newest glibc that the boards' oldest systems have.
EXPECTED = {"x86_64": (62, 64, (2, 17)), "aarch64": (183, 64, (2, 28)), "armv7l": (40, 32, (2, 28))}


class Elf:
    """As much of an ELF file as says what it needs: little-endian, 32 or 64 bits."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data[:4] == b"\x7fELF" and self.data[5] == 1
        self.bits = {1: 32, 2: 64}[self.data[4]]
        (self.machine,) = struct.unpack_from("<H", self.data, 18)
        layout = "<QQQIHHHHHH" if self.bits == 64 else "<IIIIHHHHHH"
        fields = struct.unpack_from(layout, self.data, 24)
        offset, size, count = fields[2], fields[7], fields[8]
        self.sections = [self._section(offset + number * size) for number in range(count)]

    def _section(self, at: int) -> dict[str, int]:
        names = ("name", "type", "flags", "address", "offset", "size", "link", "info", "align", "entry")
        layout = "<IIQQQQIIQQ" if self.bits == 64 else "<10I"
        return dict(zip(names, struct.unpack_from(layout, self.data, at), strict=True))

    def _text(self, table: dict[str, int], at: int) -> str:
        start = table["offset"] + at
        return self.data[start : self.data.index(b"\0", start)].decode()

    def versions(self) -> list[str]:
        """The symbol versions that it wants of other libraries (.gnu.version_r), such as GLIBC_2.17."""
        found = []
        for section in (each for each in self.sections if each["type"] == 0x6FFFFFFE):
            at = section["offset"]
            for _ in range(section["info"]):
                _, count, _, auxiliary, following = struct.unpack_from("<HHIII", self.data, at)
                place = at + auxiliary
                for _ in range(count):
                    _, _, _, name, step = struct.unpack_from("<IHHII", self.data, place)
                    found.append(self._text(self.sections[section["link"]], name))
                    place += step
                at += following
        return found

    def exports(self) -> list[str]:
        """The symbols that it defines for others."""
        found = []
        for section in (each for each in self.sections if each["type"] == 11):
            for at in range(section["offset"], section["offset"] + section["size"], section["entry"]):
                if self.bits == 64:
                    name, info, _, where = struct.unpack_from("<IBBH", self.data, at)
                else:
                    name, _, _, info, _, where = struct.unpack_from("<IIIBBH", self.data, at)
                if where != 0 and info >> 4 != 0:
                    found.append(self._text(self.sections[section["link"]], name))
        return found


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_library_fits_its_boards(arch: str) -> None:
    path = library_path(arch)
    machine, bits, newest = EXPECTED[arch]
    elf = Elf(path)
    assert (elf.machine, elf.bits) == (machine, bits)
    assert path.stat().st_size < MOST_BYTES
    versions = elf.versions()
    assert versions
    for version in versions:
        name, _, number = version.partition("_")
        assert name in ("GLIBC", "GCC")
        assert tuple(int(part) for part in number.split(".")[:2]) <= newest, version
    assert sorted(elf.exports()) == [
        "edgesparse_give_back", "tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"
    ]  # fmt: skip
    assert all(section["type"] != 2 for section in elf.sections), "it is not stripped"


def test_the_paths_are_those_of_the_build() -> None:
    assert library_path() == library_path(this_arch()) == find_library()
    assert library_path("aarch64").parts[-2:] == ("aarch64", LIBRARY)


def test_an_architecture_without_kernels_is_named() -> None:
    assert find_library("riscv64") is None
    with pytest.raises(UsageError, match="no kernels for 'riscv64'") as caught:
        library_path("riscv64")
    assert "armv7l" in caught.value.hint


def test_kernels_that_are_not_built_are_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesparse.kernels._BUILD", tmp_path)
    assert find_library() is None
    with pytest.raises(UsageError, match=f"not built: expected {tmp_path}") as caught:
        library_path()
    assert "make kernels" in caught.value.hint


@pytest.mark.parametrize(
    ("arch", "isa", "expected"),
    [
        ("x86_64", ["sse2", "avx", "avx2", "fma"], "x86_64-avx2"),
        ("x86_64", ["avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vnni"], "x86_64-avx512vnni"),
        ("x86_64", ["avx2", "fma", "avx512f", "avx512bw", "avx512vl"], "x86_64-avx512"),
        ("x86_64", ["avx2", "fma", "avxvnni"], "x86_64-avxvnni"),
        ("x86_64", ["sse2", "avx"], "any-scalar"),
        ("aarch64", ["neon", "dotprod"], "aarch64-neondot"),
        ("aarch64", ["neon"], "aarch64-neon"),
        ("armv7l", [], "any-scalar"),
    ],
)
def test_a_board_is_planned_for_its_best_instruction_set(arch: str, isa: list[str], expected: str) -> None:
    assert target(arch, isa) == expected


def test_a_forced_instruction_set_is_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESPARSE_ISA", "avx2")
    assert target("x86_64", ["avx512f", "avx512bw", "avx512vl"]) == "x86_64-avx2"
    monkeypatch.setenv("EDGESPARSE_ISA", "scalar")
    assert target("aarch64", ["neon"]) == "any-scalar"


# -- the build ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A kernels/ with three small sources, which takes seconds; what zig keeps of libc is shared with the real one."""
    root = tmp_path / "kernels"
    for folder in ("src", "delegate", "include"):
        (root / folder).mkdir(parents=True)
    shutil.copy(KERNELS / "build_libraries.py", root)
    (root / "include" / "one.h").write_text("int one(void);\n")
    (root / "src" / "plain.c").write_text('#include "one.h"\nint one(void) { return 1; }\n')
    (root / "src" / "wide_avx2.c").write_text(
        "#include <immintrin.h>\n#ifndef __AVX2__\n#error no AVX2\n#endif\n"
        "int wide(void);\nint wide(void) { return 2; }\n"
    )
    (root / "delegate" / "api.c").write_text(
        '#include "one.h"\n#ifdef __AVX__\n#error only where it is asked for\n#endif\nint wide(void);\n'
        '__attribute__((visibility("default"))) int api(void);\nint api(void) { return one() + wide(); }\n'
    )
    (KERNELS / "build" / "cache").mkdir(parents=True, exist_ok=True)
    (root / "build").mkdir()
    (root / "build" / "cache").symlink_to(KERNELS / "build" / "cache")
    return root


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "build_libraries.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_what_has_changed_is_compiled_again(copy: Path) -> None:
    library = copy / "build" / "x86_64" / LIBRARY
    assert "built" in build(copy, "--arch", "x86_64").stderr
    assert Elf(library).exports() == ["api"]
    objects = {path.name: path.stat().st_mtime_ns for path in (library.parent / "objects").glob("*.o")}
    assert set(objects) == {"src-plain.o", "src-wide_avx2.o", "delegate-api.o"}
    first = library.read_bytes()

    os.utime(copy / "src" / "plain.c")  # a new time, the same content: a fresh clone builds nothing twice
    assert build(copy, "--arch", "x86_64").stderr == ""

    (copy / "src" / "plain.c").write_text('#include "one.h"\nint one(void) { return 10; }\n')
    assert "built" in build(copy, "--arch", "x86_64").stderr
    changed = {
        path.name for path in (library.parent / "objects").glob("*.o") if path.stat().st_mtime_ns != objects[path.name]
    }
    assert changed == {"src-plain.o"}
    assert library.read_bytes() != first

    (copy / "src" / "plain.c").write_text('#include "one.h"\nint one(void) { return 1; }\n')
    build(copy, "--arch", "x86_64")
    assert library.read_bytes() == first, "the same sources gave other bytes"

    (copy / "include" / "one.h").write_text("int one(void); /* changed */\n")
    build(copy, "--arch", "x86_64")
    assert all(path.stat().st_mtime_ns != objects[path.name] for path in (library.parent / "objects").glob("*.o"))


def test_a_file_for_another_instruction_set_is_left_out(copy: Path) -> None:
    (copy / "src" / "wide_avx2.c").unlink()
    (copy / "src" / "wide_neon.c").write_text(
        "#ifndef __ARM_NEON\n#error no NEON\n#endif\n#include <arm_neon.h>\nint wide(void);\n"
        "int wide(void) { return (int)vgetq_lane_f32(vfmaq_f32(vdupq_n_f32(1), vdupq_n_f32(1), vdupq_n_f32(1)), 0); }\n"
    )
    done = build(copy, "--arch", "armv7l", "--arch", "x86_64")
    assert f"armv7l/{LIBRARY}" in done.stderr
    assert done.returncode == 1 and "wide" in done.stderr  # x86-64 has no such function then
    assert not (copy / "build" / "x86_64" / LIBRARY).exists()


def test_what_the_compiler_says_is_shown_and_the_old_library_stays(copy: Path) -> None:
    build(copy, "--arch", "x86_64")
    before = (copy / "build" / "x86_64" / LIBRARY).read_bytes()
    (copy / "src" / "plain.c").write_text("int one(void) { return nothing; }\n")
    done = build(copy, "--arch", "x86_64")
    assert done.returncode == 1
    assert "nothing" in done.stderr and "refused to make src-plain.o" in done.stderr
    assert (copy / "build" / "x86_64" / LIBRARY).read_bytes() == before
    assert not list((copy / "build" / "x86_64").rglob(".part-*"))
