"""Where the compiled kernels lie: one TFLite external delegate for each architecture.

The wheel carries them beside this file; a source checkout has them where `make kernels` puts them.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from pathlib import Path

from edgesparse.errors import UsageError

LIBRARY = "libedgesparse_delegate.so"
ARCHITECTURES = ("x86_64", "aarch64", "armv7l")
ISA_VARIABLE = "EDGESPARSE_ISA"

_HERE = Path(__file__).resolve().parent
_BUILD = _HERE.parents[1] / "kernels" / "build"
_OTHER_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7l"}

# What an instruction set of the kernels needs of a board type's `isa`; the first that it has is used there.
_NEEDS = {
    "x86_64": {
        "avx512vnni": {"avx512f", "avx512bw", "avx512vl", "avx512vnni"},
        "avx512": {"avx512f", "avx512bw", "avx512vl"},
        "avxvnni": {"avx2", "fma", "avxvnni"},
        "avx2": {"avx2", "fma"},
    },
    "aarch64": {"neondot": {"neon", "dotprod"}, "neon": {"neon"}},
    "armv7l": {"neon": {"neon"}},
}


def this_arch() -> str:
    """This machine's architecture, as the libraries are named."""
    machine = platform.machine().lower()
    return _OTHER_NAMES.get(machine, machine)


def find_library(arch: str | None = None) -> Path | None:
    """The library for an architecture, this machine's where None; None where it is not built or there is no such."""
    arch = arch or this_arch()
    if arch not in ARCHITECTURES:
        return None
    return next((path for root in (_HERE, _BUILD) if (path := root / arch / LIBRARY).is_file()), None)


def library_path(arch: str | None = None) -> Path:
    """The library for an architecture, this machine's where None.

    Raises:
        UsageError: it is not built, or there is none for this architecture.
    """
    arch = arch or this_arch()
    if arch not in ARCHITECTURES:
        raise UsageError(f"There are no kernels for {arch!r}.", hint=f"There are: {', '.join(ARCHITECTURES)}.")
    found = find_library(arch)
    if found is None:
        raise UsageError(
            f"The kernels for {arch} are not built: expected {_BUILD / arch / LIBRARY}, found none.",
            hint="Build them: make kernels",
        )
    return found


def target(arch: str, isa: Collection[str]) -> str:
    """The CPU that the delegate's `plan` option takes for a board, such as x86_64-avx2; EDGESPARSE_ISA has its say.

    Args:
        arch: the board's architecture.
        isa: its instruction sets, in the words of the type files.
    """
    best = next((name for name, needed in _NEEDS[arch].items() if needed <= set(isa)), "scalar")
    best = options_from_environment().get("isa", best)
    return "any-scalar" if best == "scalar" else f"{arch}-{best}"


def options_from_environment() -> dict[str, str]:
    """The delegate's options that the user's environment asks for; a board's workers do not see it themselves."""
    isa = os.environ.get(ISA_VARIABLE)
    return {"isa": isa} if isa else {}
