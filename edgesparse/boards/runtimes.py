"""The runtime environments in a board's store: what is there, and away with one."""

from __future__ import annotations

from typing import Any

from edgesparse.boards.transport import Transport
from edgesparse.errors import BoardError, UsageError

LIST_S = 120.0
REMOVE_S = 600.0
_IN_USE = 3

# $1: the directory. A line for each environment: its name, kilobytes, its packages.
_LIST_RUNTIMES = r"""
for each in "$1"/*/; do
  [ -d "$each" ] || continue
  name=${each%/}
  printf '%s %s' "${name##*/}" "$(du -sk "$each" | cut -f 1)"
  for info in "$each"*.dist-info; do
    info=${info##*/}
    [ "$info" = '*.dist-info' ] || printf ' %s' "${info%.dist-info}"
  done
  echo
done
"""

# $1: the environment's directory, $2: where it goes first, so that a half of it is never taken for it. Ends with 3
# where a process of this user, such as an agent of whatever version, has it in its environment, and says which.
_REMOVE = r"""
for each in $(grep -lsF -e "$1" /proc/[0-9]*/environ); do
  each=${each#/proc/}
  echo "${each%/environ}"
  exit 3
done
mv -- "$1" "$2" && rm -rf -- "$2"
"""


def list_runtimes(transport: Transport) -> list[dict[str, Any]]:
    """The environments in the board's store: name (the hash of their wheels), bytes, what is in them."""
    done = transport.run(["sh", "-c", _LIST_RUNTIMES, "sh", f"{transport.home}/runtimes"], timeout_s=LIST_S)
    found = []
    for line in done.stdout.decode(errors="replace").splitlines():
        name, _, rest = line.partition(" ")
        kilobytes, *packages = rest.split() or [""]
        if kilobytes.isdecimal():  # else its name has a space in it, and nothing of ours has
            found.append({"name": name, "bytes": int(kilobytes) * 1024, "packages": packages})
    return found


def remove_runtime(transport: Transport, board: str, name: str) -> str:
    """Remove one of them; returns what its directory was.

    Args:
        board: the board's name, for sentences.

    Raises:
        UsageError: there is none of this name. BoardError: an agent runs with it, or it cannot be removed.
    """
    names = [each["name"] for each in list_runtimes(transport)]
    if name not in names:
        raise UsageError(
            f"There is no runtime {name!r} on the board.", hint=f"There are: {', '.join(names) or 'none'}."
        )
    path = f"{transport.home}/runtimes/{name}"
    # As of a writer that is no more: what cannot be removed now, the next put sweeps.
    done = transport.run(
        ["sh", "-c", _REMOVE, "sh", path, f"{transport.home}/runtimes/.part-0.0.0-{name}"], timeout_s=REMOVE_S
    )
    said = (done.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"])[-1]
    if done.returncode == _IN_USE:
        raise BoardError(
            f"The runtime {name} is in use on {board}, by process {done.stdout.decode(errors='replace').strip()}.",
            hint=f"If that is the agent, end it first: edgesparse agent stop --board {board}",
        )
    if done.returncode:
        raise BoardError(f"The runtime {name} could not be removed from {board}: {said}.")
    return path
