"""What a board is and has: one POSIX sh script that asks for all of it, and a pure parser of what it says."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field

from edgesparse.boards.inventory import Board
from edgesparse.boards.transport import Transport
from edgesparse.boards.types import cpu_name, instruction_sets
from edgesparse.errors import BoardError

PROBE_S = 60.0
# Distributions that a run needs there, or that serve as its runtime, and their modules.
MODULES = {
    "numpy": "numpy",
    "psutil": "psutil",
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "pip": "pip",
}
_PYTHONS = ["python3", *(f"python3.{minor}" for minor in range(15, 5, -1))]
# armv8l is what a 64-bit ARM kernel calls itself to 32-bit programs, if it is told to.
_ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l"}

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
model=$(tr -d '\\000' 2>/dev/null </proc/device-tree/model || cat /sys/devices/virtual/dmi/id/product_name 2>/dev/null)
echo "model $model"
while read -r key value _; do [ "$key" = MemTotal: ] && echo "memory_kb $value"; done </proc/meminfo
echo "bits $(getconf LONG_BIT 2>/dev/null)"
echo "cores $(getconf _NPROCESSORS_ONLN 2>/dev/null)"
grep -E '^(model name|flags|Features|CPU part)[[:space:]]*:' /proc/cpuinfo | sort -u | while read -r line; do
  echo "cpuinfo $line"
done
echo "governors" $(cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor 2>/dev/null | sort -u)
# $1: kind, $2: name, the rest: the files that values are read from, one of which is enough. Only reading tells: of a
# Jetson's thermal zone that is switched off, and of a monitor's channel that is not connected, everyone may read the
# file, and nobody can.
sensor() {
  kind=$1; sensor=$2; shift 2; readable=
  for value do
    [ -e "$value" ] || continue
    readable=no
    cat "$value" >/dev/null 2>&1 && readable=yes && break
  done
  [ -z "$readable" ] || echo "sensor $kind $readable $sensor"
}
for zone in /sys/class/thermal/thermal_zone*; do
  sensor thermal "$(cat "$zone/type" 2>/dev/null)" "$zone/temp"
done
for chip in /sys/class/hwmon/hwmon*; do
  sensor power "$(cat "$chip/name" 2>/dev/null)" "$chip"/power[0-9]*_input "$chip"/curr[0-9]*_input
done
for chip in /sys/bus/i2c/drivers/ina3221x/*/iio:device*; do  # JetPack 4
  sensor power ina3221x "$chip"/in_power[0-9]*_input "$chip"/in_current[0-9]*_input
done
for domain in /sys/class/powercap/*:*; do
  sensor energy "$(cat "$domain/name" 2>/dev/null)" "$domain/energy_uj"
done
for supply in /sys/class/power_supply/*; do
  sensor battery "${supply##*/}" "$supply/power_now"
done
if command -v vcgencmd >/dev/null; then  # it answers those of the group video, and pmic_read_adc on a Pi 5 alone
  case $(vcgencmd get_throttled 2>/dev/null) in throttled=*) readable=yes;; *) readable=no;; esac
  echo "sensor throttled $readable vcgencmd"
  case $(vcgencmd pmic_read_adc 2>/dev/null) in *current*) echo "sensor power yes pmic";; esac
fi
echo "release $(head -n 1 /etc/nv_tegra_release 2>/dev/null)"
echo "systemd $(XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)} systemctl --user is-system-running 2>/dev/null)"
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
class Sensor:
    """Something that the kernel measures: `kind` is thermal, power, energy, battery or throttled."""

    kind: str
    name: str
    readable: bool


@dataclass(frozen=True)
class BoardFacts:
    """What a board said.

    Args:
        arch: of its programs: `aarch64`, `armv7l`, `x86_64`, …; a 32-bit system on a 64-bit kernel is `armv7l`.
        libc: such as `glibc 2.36`; "unknown" where it says nothing.
        system: such as `Debian GNU/Linux 12 (bookworm)`; "" where it says nothing, as `model`.
        disk_free_bytes: where the store is or would be; None where it says nothing, as `memory_bytes` and `cores`.
        cpu: its name; isa: its vector instruction sets, in the words of the board types.
        governors: how the kernel chooses clocks, each once; empty where it does not.
        release: the vendor's system, as a Jetson's `# R35 (release), REVISION: 4.1, …`; "" elsewhere.
        systemd: what its user's systemd says of itself; "" without one.
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
    cpu: str = "unknown"
    isa: list[str] = field(default_factory=list)
    cores: int | None = None
    governors: list[str] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    release: str = ""
    systemd: str = ""

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
    return parse_facts(ask(transport, board))


def ask(transport: Transport, board: Board) -> str:
    """What a board says of itself, for `parse_facts`.

    Raises:
        As `probe`.
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
    return output


def parse_facts(output: str) -> BoardFacts:
    """The facts in what the script said."""
    found: dict[str, str] = {}
    pythons, sensors, cpuinfo = [], [], []
    for line in output.splitlines():
        key, _, value = line.partition(" ")
        if key == "python" and (python := _interpreter(value)):
            pythons.append(python)
        elif key == "sensor" and len(value.split(" ", 2)) == 3:
            kind, readable, name = value.split(" ", 2)
            sensors.append(Sensor(kind, name, readable == "yes"))
        elif key == "cpuinfo":
            cpuinfo.append(value)
        else:
            found.setdefault(key, value.strip())
    arch = found.get("arch", "")
    arch = _ARCHITECTURES.get(arch, arch)
    if arch == "aarch64" and found.get("bits") == "32":  # Raspberry Pi OS 32-bit boots a 64-bit kernel
        arch = "armv7l"
    return BoardFacts(
        arch=arch,
        kernel=found.get("kernel", ""),
        hostname=found.get("hostname", ""),
        libc=_libc(found.get("libc", "")),
        system=found.get("system", ""),
        model=found.get("model", ""),
        memory_bytes=_bytes(found.get("memory_kb", "")),
        disk_free_bytes=_bytes(found.get("disk_free_kb", "")),
        pythons=pythons,
        cpu=cpu_name("\n".join(cpuinfo)),
        isa=instruction_sets("\n".join(cpuinfo)),
        cores=int(found["cores"]) if found.get("cores", "").isdigit() else None,
        governors=found.get("governors", "").split(),
        sensors=sensors,
        release=found.get("release", ""),
        systemd=found.get("systemd", ""),
    )


def _interpreter(said: str) -> Interpreter | None:
    """What a Python said of itself; None for any other line that begins like it, as a login script may print."""
    try:
        about = json.loads(said)
        path, version, modules = about["path"], tuple(about["version"]), about["modules"]
        sound = isinstance(path, str) and path.startswith("/") and len(version) == 3
        sound = sound and all(type(each) is int for each in version)
        sound = sound and all(isinstance(each, str) for pair in modules.items() for each in pair)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return Interpreter(path, version, modules) if sound else None


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
