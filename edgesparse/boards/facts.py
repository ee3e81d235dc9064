"""What a board is and has: one POSIX sh script that asks for all of it, and a pure parser of what it says."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field

from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import Transport
from edgesparse.errors import BoardError

PROBE_S = 60.0
# Distributions that a run needs there, or that serve as its runtime, and their modules.
MODULES = {
    "numpy": "numpy",
    "psutil": "psutil",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
}
_PYTHONS = ["python3", *(f"python3.{minor}" for minor in range(15, 5, -1))]
_ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}

# One JSON line about the Python that runs it, in a Python that every version since 2.7 understands. Modules are looked
# for, not imported: that would take a second each on a small board.
_ABOUT_PYTHON = f"""
import json, sys
modules = {{}}
try:
    from importlib.util import find_spec
    from importlib.metadata import PackageNotFoundError, version
except ImportError:
    find_spec = None
for name, module in {json.dumps(MODULES)}.items():
    if find_spec and find_spec(module):
        try:
            modules[name] = version(name)
        except PackageNotFoundError:
            modules[name] = "unknown"
print("python " + json.dumps({{"path": sys.executable, "version": list(sys.version_info[:3]), "modules": modules}}))
"""

# $1: the store; the rest: Pythons that are named. Every line begins with its key; others are a login script's.
_SCRIPT = """
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:$HOME/.local/bin  # a command over SSH has a short one
home=$1; shift
echo "arch $(uname -m)"
echo "kernel $(uname -r)"
echo "hostname $(uname -n)"
echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>&1 | head -n 1)"
echo "system $(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
model=$(tr -d '\\000' </proc/device-tree/model 2>/dev/null || cat /sys/devices/virtual/dmi/id/product_name 2>/dev/null)
echo "model $model"
while read -r key value _; do [ "$key" = MemTotal: ] && echo "memory_kb $value"; done </proc/meminfo
while [ ! -d "$home" ]; do home=$(dirname -- "$home"); done
df -Pk -- "$home" | { read -r _; read -r _ _ _ free _; echo "disk_free_kb $free"; }
seen=:
for name do
  python=$(command -v "$name") || continue
  real=$(readlink -f "$python" 2>/dev/null || echo "$python")
  case $seen in *:"$real":*) continue;; esac
  seen=$seen$real:
  "$python" -c "$about" 2>/dev/null </dev/null
done
echo end
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on the board; `modules` are those of `MODULES` that it finds, with their versions."""

    path: str
    version: tuple[int, int, int]
    modules: dict[str, str] = field(default_factory=dict)

    @property
    def short_version(self) -> str:
        """Such as 3.11."""
        return f"{self.version[0]}.{self.version[1]}"

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


@dataclass(frozen=True)
class BoardFacts:
    """What a board said.

    Args:
        arch: `aarch64`, `armv7l`, `x86_64`, …
        libc: such as `glibc 2.36`; "unknown" where it says nothing.
        system: such as `Debian GNU/Linux 12 (bookworm)`; "" where it says nothing, as `model`.
        disk_free_bytes: where the store is or would be; None where it says nothing, as `memory_bytes`.
    """

    arch: str
    kernel: str
    hostname: str
    libc: str
    system: str
    model: str
    memory_bytes: int | None
    disk_free_bytes: int | None
    pythons: list[Interpreter]

    @property
    def glibc(self) -> tuple[int, int] | None:
        """glibc's version; None with another libc."""
        name, _, version = self.libc.partition(" ")
        major, _, minor = version.partition(".")
        return (int(major), int(minor)) if name == "glibc" and major.isdigit() and minor.isdigit() else None


def probe(transport: Transport, board: Board) -> BoardFacts:
    """Ask a board for its facts, in one round trip.

    Raises:
        BoardError: it does not answer as a Linux machine does. LinkLost: the link broke.
    """
    names = [board.python] if board.python else _PYTHONS
    script = f"about={shlex.quote(_ABOUT_PYTHON)}\n{_SCRIPT}"
    done = transport.run(["sh", "-c", script, "sh", transport.home, *names], timeout_s=PROBE_S)
    output = done.stdout.decode(errors="replace")
    if "\nend" not in output or "\narch " not in f"\n{output}":
        said = (done.stderr.decode(errors="replace").strip() or output.strip() or "nothing").splitlines()[-1]
        raise BoardError(
            f"{board.name} does not answer as a Linux machine with a POSIX shell does; it said: {said}",
            hint="Log in there and see what `sh -c 'uname -a'` says.",
        )
    return parse_facts(output)


def parse_facts(output: str) -> BoardFacts:
    """The facts in what the script said."""
    found: dict[str, str] = {}
    pythons = []
    for line in output.splitlines():
        key, _, value = line.partition(" ")
        if key == "python":
            about = json.loads(value)
            pythons.append(Interpreter(about["path"], tuple(about["version"]), about["modules"]))
        else:
            found.setdefault(key, value.strip())
    arch = found.get("arch", "")
    return BoardFacts(
        arch=_ARCHITECTURES.get(arch, arch),
        kernel=found.get("kernel", ""),
        hostname=found.get("hostname", ""),
        libc=_libc(found.get("libc", "")),
        system=found.get("system", ""),
        model=found.get("model", ""),
        memory_bytes=_bytes(found.get("memory_kb", "")),
        disk_free_bytes=_bytes(found.get("disk_free_kb", "")),
        pythons=pythons,
    )


def _libc(said: str) -> str:
    words = said.split()
    if not words:
        return "unknown"
    if words[0] == "glibc":
        return said
    # ldd's first line: "ldd (Ubuntu GLIBC 2.31-0ubuntu9) 2.31", or "musl libc (aarch64)".
    return f"glibc {words[-1]}" if "glibc" in said.lower() or "GNU libc" in said else words[0]


def _bytes(kilobytes: str) -> int | None:
    return int(kilobytes) * 1024 if kilobytes.isdigit() else None
