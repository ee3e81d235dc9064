"""Board types: what a kind of board is, read from `devices/<name>.toml`.

A type says which instruction sets, runtimes and sensors a board of this kind has; where one stands is in the inventory.
The type `local` is this machine: its file leaves out the CPU's facts, and they are read from the machine itself.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgesparse.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCAL_TYPE = "local"
Arch = Literal["aarch64", "armv7l", "x86_64"]

_PACKAGE = Path(__file__).resolve().parent.parent

# Names of the kernel's CPU flags (`Features` on ARM, `flags` on x86) that stand for an instruction set.
_FLAGS = {
    "neon": "neon",
    "asimd": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sse2": "sse2",
    "sse4_1": "sse4_1",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "avx_vnni": "avxvnni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512_vnni": "avx512vnni",
}

# `CPU part` of implementer 0x41 (Arm).
_ARM_PARTS = {
    0xC07: "cortex-a7",
    0xC09: "cortex-a9",
    0xC0F: "cortex-a15",
    0xD03: "cortex-a53",
    0xD04: "cortex-a35",
    0xD05: "cortex-a55",
    0xD07: "cortex-a57",
    0xD08: "cortex-a72",
    0xD09: "cortex-a73",
    0xD0A: "cortex-a75",
    0xD0B: "cortex-a76",
    0xD0C: "neoverse-n1",
    0xD0D: "cortex-a77",
    0xD40: "neoverse-v1",
    0xD41: "cortex-a78",
    0xD42: "cortex-a78ae",
    0xD46: "cortex-a510",
    0xD47: "cortex-a710",
    0xD49: "neoverse-n2",
    0xD4F: "neoverse-v2",
}


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a board of this type can be counted on to have; `threads` are the thread counts measured by default."""

    memory_bytes: int = 0
    max_model_bytes: int | None = None
    threads: list[int] = msgspec.field(default_factory=lambda: [1])


class AgentSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How the agent behaves there; `idle_exit_s`: it ends after so long without work, None: it stays."""

    idle_exit_s: int | None = None


class BoardType(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A kind of board. `block` is the block of zeros (outputs x inputs) that fits its vectors of floats, `block_int8`
    that of its int8 dot products; the time of an `emulated` one is no latency. `models` are words of the model by which
    one of them names itself; without any, the type is what its architecture leaves over."""

    name: str
    description: str
    arch: Arch
    cpu: str
    isa: list[str]
    runtimes: list[str]
    python_min: str
    block: str
    block_int8: str
    backends: list[str]
    sensors: list[str] = msgspec.field(default_factory=list)
    models: list[str] = msgspec.field(default_factory=list)
    limits: Limits = Limits()
    emulated: bool = False
    agent: AgentSettings = AgentSettings()

    @property
    def x86(self) -> bool:
        return self.arch == "x86_64"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return dict(msgspec.to_builtins(self))


def devices_dir() -> Path:
    """Where the type files are: inside the installed package, or at the top of a source checkout."""
    installed = _PACKAGE / "devices"
    return installed if installed.is_dir() else _PACKAGE.parent / "devices"


def type_names(devices: Path | None = None) -> list[str]:
    """The names that :func:`load_type` takes, aliases included, sorted."""
    return sorted(path.stem for path in (devices or devices_dir()).glob("*.toml"))


def list_types(devices: Path | None = None) -> list[BoardType]:
    """All board types, each once, sorted by name."""
    found = {each.name: each for each in (load_type(name, devices=devices) for name in type_names(devices))}
    return [found[name] for name in sorted(found)]


def load_type(name: str, *, devices: Path | None = None, proc: Path = Path("/proc")) -> BoardType:
    """The board type `name`; an alias gives the type it stands for.

    Args:
        devices: the directory of type files, if not the one that comes with edgesparse.
        proc: where `cpuinfo` and `meminfo` are read from for the type `local`.

    Raises:
        UsageError: no such type, or its file has an unknown key or a wrong value.
    """
    folder = devices or devices_dir()
    raw = _read(folder, name)
    if "alias" in raw:
        extra = ", ".join(sorted(set(raw) - {"alias"}))
        if extra:
            raise UsageError(
                f"{folder / name}.toml is an alias and has other keys too: {extra}.",
                hint='An alias holds the one line `alias = "…"`; remove it or the other keys.',
            )
        name = str(raw["alias"])
        raw = _read(folder, name)
        if "alias" in raw:
            raise UsageError(f"{folder / name}.toml is an alias of an alias.", hint="Name the type itself.")
    if name == "local":
        raw = _this_machine(proc, raw.get("limits", {})) | {k: v for k, v in raw.items() if k != "limits"}
    try:
        return msgspec.convert({"name": name, **raw}, BoardType)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{folder / name}.toml is no board type: {error}.",
            hint=f"Its keys are {', '.join(f.name for f in msgspec.structs.fields(BoardType) if f.name != 'name')}.",
        ) from None


def _read(folder: Path, name: str) -> dict[str, object]:
    path = folder / f"{name}.toml"
    # A name is a file name, never a path.
    if not re.fullmatch(r"[\w.-]+", name) or not path.is_file():
        known = ", ".join(type_names(folder)) or "none"
        raise UsageError(f"There is no board type {name!r}; there are: {known}.", hint="Give one of these names.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.", hint="Correct the file.") from None


def _this_machine(proc: Path, limits: object) -> dict[str, object]:
    cpuinfo = _text(proc / "cpuinfo")
    isa = instruction_sets(cpuinfo)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    found = {"memory_bytes": int(memory[1]) * 1024 if memory else 0}
    return {
        "arch": {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine()),
        "cpu": cpu_name(cpuinfo),
        "isa": isa,
        "block": "16x1" if "avx512f" in isa else "8x1" if "avx2" in isa else "4x1",
        "block_int8": "8x4" if "avx2" in isa and "avx512f" not in isa else "16x4",
        "limits": found | (limits if isinstance(limits, dict) else {}),
    }


def instruction_sets(cpuinfo: str) -> list[str]:
    """The vector instruction sets that `/proc/cpuinfo` names, in the words of the type files."""
    line = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return list(dict.fromkeys(isa for flag, isa in _FLAGS.items() if flag in flags))


def cpu_name(cpuinfo: str) -> str:
    """The CPU's name as `/proc/cpuinfo` gives it, Arm cores by their part number; "unknown" if it says nothing.

    A chip with several kinds of cores is named by its highest part number, which is the bigger core.
    """
    parts = {int(part, 16) for part in re.findall(r"^CPU part\s*:\s*(0x[0-9a-fA-F]+)", cpuinfo, re.MULTILINE)}
    named = [_ARM_PARTS[part] for part in sorted(parts, reverse=True) if part in _ARM_PARTS]
    if named:
        return named[0]
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return model[1].strip() if model else "unknown"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such file outside Linux; the facts are then unknown, which the type can say
        return ""
