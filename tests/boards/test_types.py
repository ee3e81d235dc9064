"""Board types: the files that ship, and what a wrong one is told."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edgesparse.boards.types import cpu_name, devices_dir, instruction_sets, list_types, load_type, type_names
from edgesparse.errors import UsageError
from edgesparse.recipe import named_recipes

GOOD = """
description = "a board"
arch = "aarch64"
cpu = "cortex-a76"
isa = ["neon"]
runtimes = ["ai-edge-litert"]
python_min = "3.9"
block = "4x1"
backends = ["builtin"]
"""

ORIN = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""
PI4 = """processor\t: 0
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""
BIG_LITTLE = "CPU part\t: 0xd03\nCPU part\t: 0xd03\nCPU part\t: 0xd08\n"
X86 = """model name\t: Intel(R) N100
flags\t\t: fpu sse sse2 ssse3 fma sse4_1 avx avx2 avx_vnni
"""


@pytest.mark.parametrize(
    ("name", "cpu", "isa"),
    [
        ("jetson-orin", "cortex-a78ae", ["neon", "fp16", "dotprod"]),
        ("jetson-nano", "cortex-a57", ["neon"]),
        ("raspberrypi5", "cortex-a76", ["neon", "fp16", "dotprod"]),
        ("raspberrypi4", "cortex-a72", ["neon"]),
        ("x86-64", "x86-64-v3", ["sse2", "sse4_1", "avx", "avx2", "fma"]),
    ],
)
def test_facts_of_the_boards(name: str, cpu: str, isa: list[str]) -> None:
    board = load_type(name)
    assert (board.name, board.cpu, board.isa) == (name, cpu, isa)
    assert board.arch == ("x86_64" if name == "x86-64" else "aarch64")
    assert board.limits.memory_bytes >= 2**30


def test_every_file_that_ships_loads() -> None:
    assert {"jetson", "jetson-orin", "local"} <= set(type_names())
    assert all(load_type(name).limits.threads for name in type_names())
    assert [each.name for each in list_types()] == sorted({load_type(name).name for name in type_names()})


def test_alias() -> None:
    assert load_type("jetson") == load_type("jetson-orin")


def test_local_is_this_machine() -> None:
    board = load_type("local")
    assert board.arch == platform.machine()
    assert board.agent.idle_exit_s == 900
    assert board.limits.memory_bytes > 2**28


def test_local_reads_proc(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\n")
    board = load_type("local", proc=tmp_path)
    assert board.cpu == "Intel(R) N100"
    assert board.isa == ["sse2", "sse4_1", "avx", "avx2", "fma", "avxvnni"]
    assert (board.block, board.block_int8) == ("8x1", "8x4")
    assert board.limits.memory_bytes == 16_384_000_000


def test_every_type_names_an_int8_block_that_a_recipe_ships_for() -> None:
    for board in list_types():
        assert f"block-{board.block_int8}-80-int8" in named_recipes()


def test_local_without_proc(tmp_path: Path) -> None:
    board = load_type("local", proc=tmp_path)
    assert (board.cpu, board.isa) == ("unknown", [])


def test_cpuinfo_of_boards() -> None:
    assert (cpu_name(ORIN), instruction_sets(ORIN)) == ("cortex-a78ae", ["neon", "fp16", "dotprod"])
    assert (cpu_name(PI4), instruction_sets(PI4)) == ("cortex-a72", ["neon"])
    assert cpu_name(BIG_LITTLE) == "cortex-a72"


@pytest.mark.parametrize("name", ["jetsn", "../etc/passwd", "local/", ""])
def test_unknown_name_lists_what_exists(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_type(name)
    assert all(each in str(caught.value) for each in ("jetson", "raspberrypi5", "local"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + 'colour = "green"\n', "colour"),
        (GOOD + "[limits]\nmemory = 1\n", "memory"),
        (GOOD.replace('"aarch64"', '"riscv64"'), "riscv64"),
        (GOOD.replace('block = "4x1"\n', ""), "block"),
        ("not toml", "not valid TOML"),
        ('alias = "other"\ncpu = "z80"\n', "cpu"),
        ('alias = "mine"\n', "alias of an alias"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "other.toml").write_text(GOOD)
    with pytest.raises(UsageError, match=said) as caught:
        load_type("mine", devices=tmp_path)
    assert "mine.toml" in str(caught.value)


def test_alias_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('alias = "gone"\n')
    with pytest.raises(UsageError, match="'gone'"):
        load_type("mine", devices=tmp_path)


def test_installed_package_carries_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "devices").mkdir()
    monkeypatch.setattr("edgesparse.boards.types._PACKAGE", tmp_path)
    assert devices_dir() == tmp_path / "devices"
