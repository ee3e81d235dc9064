"""The runtime environments in a board's store: what is there, and away with one."""

from __future__ import annotations

from typing import Any

from edgesparse.boards.transport import Transport
from edgesparse.errors import UsageError

LIST_S = 120.0
REMOVE_S = 600.0

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


def remove_runtime(transport: Transport, name: str) -> None:
    """Remove one of them.

    Raises:
        UsageError: there is none of this name.
    """
    names = [each["name"] for each in list_runtimes(transport)]
    if name not in names:
        raise UsageError(
            f"There is no runtime {name!r} on the board.", hint=f"There are: {', '.join(names) or 'none'}."
        )
    transport.run(["rm", "-rf", "--", f"{transport.home}/runtimes/{name}"], timeout_s=REMOVE_S)
