"""Builds the delegate for every architecture, anywhere: zig, from its PyPI wheel, is a C compiler for all of them.

python kernels/build_libraries.py [--arch x86_64]... writes kernels/build/<arch>/libedgesparse_delegate.so

Every .c of src/ and delegate/ goes into every library. The last part of a file's name says for which instruction set it
is (`csr_avx2.c`, `csr_neon.c`): it is compiled with that set's flags where the architecture has the set, and left out
elsewhere. All others are compiled for the oldest CPU of the architecture. What has not changed since the last time is
not compiled again: sources, headers, flags and compiler are compared by content.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARY = "libedgesparse_delegate.so"
KERNELS = Path(__file__).resolve().parent
SOURCES = ("src", "delegate")
FLAGS = (
    "-std=c11", "-O3", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-fno-sanitize=all", "-Wall", "-Wextra", "-Werror", "-I", "include", "-I", "src",
)  # fmt: skip
LINK_FLAGS = ("-shared", "-s", "-Wl,--gc-sections", "-Wl,-z,defs", f"-Wl,-soname,{LIBRARY}", "-lm", "-lpthread")


@dataclass(frozen=True)
class Architecture:
    """What to compile for; `flags` for all files, `isa` more for those of an instruction set.

    The number behind the target is the oldest glibc that the library loads under. `isa` flags come last, so a -mcpu
    there replaces the one for all.
    """

    target: str
    flags: tuple[str, ...]
    isa: dict[str, tuple[str, ...]]


_SCALAR = ("-Os",)  # the reference, and what no board of the types runs
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma", "-mf16c")

ARCHITECTURES = {
    "x86_64": Architecture(
        target="x86_64-linux-gnu.2.17",
        flags=("-mcpu=x86_64",),
        isa={
            "scalar": _SCALAR,
            "avx2": _AVX2,
            "avxvnni": (*_AVX2, "-mavxvnni"),
            "avx512": _AVX512,
            "avx512vnni": (*_AVX512, "-mavx512vnni"),
        },
    ),
    "aarch64": Architecture(
        target="aarch64-linux-gnu.2.28",
        flags=("-mcpu=generic",),
        isa={"scalar": _SCALAR, "neon": (), "neondot": ("-mcpu=generic+dotprod",)},
    ),
    "armv7l": Architecture(
        target="arm-linux-gnueabihf.2.28",
        flags=("-mcpu=generic+v7a+vfp3d16",),
        isa={"scalar": _SCALAR, "neon": ("-mcpu=generic+v7a+neon+vfp4",)},
    ),
}
INSTRUCTION_SETS = {isa for architecture in ARCHITECTURES.values() for isa in architecture.isa}


class BuildError(Exception):
    """What stopped the build; with what the compiler said."""


def build(arch: str, out: Path, jobs: int = 2) -> tuple[Path, bool]:
    """Bring one architecture's library up to date.

    Args:
        arch: a key of ARCHITECTURES.
        out: where builds lie; the library goes to `out/<arch>/`.
        jobs: compilers at a time.

    Returns:
        The library, and whether it had to be built.

    Raises:
        BuildError: zig is missing, or refuses a file.
    """
    architecture, folder = ARCHITECTURES[arch], out / arch
    (folder / "objects").mkdir(parents=True, exist_ok=True)
    common = _digest([_compiler(), *architecture.flags, *FLAGS], _files("*.h", ("include", *SOURCES)))
    sources = [(source, flags) for source in _files("*.c", SOURCES) if (flags := _flags(source, arch)) is not None]
    if not sources:
        raise BuildError(f"There is nothing to build: {KERNELS} has no .c file in {' or '.join(SOURCES)}.")

    def compile_one(what: tuple[Path, tuple[str, ...]]) -> tuple[Path, str]:
        source, flags = what
        relative = source.relative_to(KERNELS)
        target = folder / "objects" / (relative.as_posix().replace("/", "-")[:-2] + ".o")
        digest = _digest([common, *flags], [source])
        _make(target, digest, [*_zig(architecture), *FLAGS, *flags, "-c", str(relative)], out)
        return target, digest

    with ThreadPoolExecutor(jobs) as pool:
        objects = list(pool.map(compile_one, sources))
    command = [*_zig(architecture), *LINK_FLAGS, *(str(target) for target, _ in objects)]
    digest = _digest([*(digest for _, digest in objects), *LINK_FLAGS], [])
    return folder / LIBRARY, _make(folder / LIBRARY, digest, command, out)


def _files(pattern: str, folders: Iterable[str]) -> list[Path]:
    return sorted(path for folder in folders for path in (KERNELS / folder).glob(pattern))


def _flags(source: Path, arch: str) -> tuple[str, ...] | None:
    """A source's own flags; None where the architecture does not have its instruction set."""
    suffix = source.stem.rpartition("_")[2]
    return ARCHITECTURES[arch].isa.get(suffix) if suffix in INSTRUCTION_SETS else ()


def _compiler() -> str:
    try:
        return version("ziglang")
    except PackageNotFoundError:
        raise BuildError(
            f"The kernels are compiled with zig, and {sys.executable} has no ziglang. "
            "`make setup` installs it, or: pip install ziglang"
        ) from None


def _zig(architecture: Architecture) -> list[str]:
    return [sys.executable, "-m", "ziglang", "cc", "-target", architecture.target, *architecture.flags]


def _digest(words: Iterable[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        digest.update(path.relative_to(KERNELS).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _make(target: Path, digest: str, command: list[str], out: Path) -> bool:
    """Have `command` make `target`, unless it is there, made from the same; replaced in one step. False if it is."""
    stamp = target.with_name(target.name + ".from")
    if target.is_file() and stamp.is_file() and stamp.read_text() == digest:
        return False
    stamp.unlink(missing_ok=True)
    aside = target.with_name(f".part-{os.getpid()}-{target.name}")
    # zig keeps what it made of libc; beside the rest of the build `make clean` finds it.
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(out / "cache"), "ZIG_LOCAL_CACHE_DIR": str(out / "cache")}
    try:
        # Relative names from one place: the same sources give the same bytes, wherever the clone lies.
        done = subprocess.run(
            [*command, "-o", str(aside)], cwd=KERNELS, env={**os.environ, **cache}, capture_output=True, text=True
        )
        if done.returncode:
            raise BuildError(f"{done.stderr.strip()}\nThe compiler refused to make {target.name}.")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    stamp.write_text(digest)
    return True


def main() -> int:
    """Build what was asked for, one after the other; says what was built."""
    parser = argparse.ArgumentParser(description="Build the delegate with zig, for every architecture.")
    parser.add_argument("--arch", action="append", choices=list(ARCHITECTURES), help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=KERNELS / "build", help="where builds lie")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="compilers at a time")
    options = parser.parse_args()
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once would do everything twice
        for arch in options.arch or ARCHITECTURES:
            try:
                library, built = build(arch, out, options.jobs)
            except BuildError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            if built:
                print(f"built {os.path.relpath(library)}, {library.stat().st_size / 1000:.0f} kB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
