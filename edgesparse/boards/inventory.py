"""The user's boards: `boards.toml`, and how a name and an address become a board.

version = 1

[boards.bench-orin]
type = "jetson-orin"
host = "10.0.0.5"          # or a Host of ~/.ssh/config
user = "nvidia"            # these and the rest only where they differ from what ssh would take
port = 22
identity_file = "~/.ssh/bench"
python = "/usr/bin/python3.10"
home = "/data/edgesparse"
threads = [1, 4]
tags = ["lab", "window"]
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import platformdirs

from edgesparse.boards.types import BoardType, load_type, type_names
from edgesparse.errors import BoardError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = 1
LOCAL = "local"
# What run ids, which hold them, and selections, which separate them by commas, can take.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS = re.compile(
    r"""(?:(?P<user>\S+)@)?
    (?:\[(?P<bracketed>[0-9a-fA-F:.%\w]+)\]|(?P<ipv6>[0-9a-fA-F]*:[0-9a-fA-F]*:[^@\s\[\]]*)|(?P<name>[^@:\s\[\]]+))
    (?::(?P<port>\d+))?""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board type plus where one stands. None: what `~/.ssh/config`, the board or the type says.

    Args:
        name: what the user calls it.
        type: its kind.
        transport: how it is reached.
        host: name or address; None for this machine.
        user, port, identity_file: how to log in there.
        python: the Python to use there.
        home: the directory of its store; `~/` is the home of the user there.
        threads: the thread counts to measure.
        tags: words by which several are named at once.
        known_hosts: the one file that says which host key it shows; the user's own where None.
        meter: a command, run on the board, that prints the readings of an external meter; "" for none.
        meter_scope: what the meter is put before.
        counts_instructions: an emulated board whose clock goes one nanosecond forward for each instruction.
    """

    name: str
    type: BoardType
    transport: Literal["local", "ssh"]
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity_file: str | None = None
    python: str | None = None
    home: str | None = None
    threads: list[int] | None = None
    tags: list[str] = field(default_factory=list)
    known_hosts: str | None = None
    meter: str = ""
    meter_scope: str = "wall"
    counts_instructions: bool = False

    @property
    def address(self) -> str | None:
        """`[user@]host[:port]`, as `resolve` takes it; None for this machine."""
        if self.host is None:
            return None
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@" * bool(self.user) + host + f":{self.port}" * bool(self.port)

    def to_dict(self) -> dict[str, Any]:
        """The board in JSON types."""
        fields = ("name", "transport", "host", "user", "port", "identity_file", "python", "home", "threads", "tags")
        return {"type": self.type.name, "address": self.address, **{field: getattr(self, field) for field in fields}}


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    type: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity_file: str | None = None
    python: str | None = None
    home: str | None = None
    threads: list[int] | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    meter: str = ""
    meter_scope: Literal["wall", "board-input", "soc", "gpu", "rail"] = "wall"


class _Inventory(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    version: Literal[1]
    boards: dict[str, _Entry] = msgspec.field(default_factory=dict)


def inventory_path() -> Path:
    """Where the inventory is: `EDGESPARSE_CONFIG`, or `boards.toml` in the user's configuration directory."""
    override = os.environ.get("EDGESPARSE_CONFIG")
    return Path(override).expanduser() if override else platformdirs.user_config_path("edgesparse") / "boards.toml"


def list_boards() -> list[Board]:
    """This machine and every board of the inventory.

    Raises:
        UsageError: the inventory cannot be used.
    """
    entries = _read()
    names = [LOCAL, *(name for name in entries if name != LOCAL)]
    return [_board(name, entries.get(name, _Entry(type=LOCAL))) for name in names]


def resolve(name: str, host: str | None = None) -> Board:
    """The board that a name, and an address on top of it, mean.

    Args:
        name: a board of the inventory, `local`, or with `host` a board type.
        host: `[user@]host[:port]`; replaces what the inventory says.

    Raises:
        UsageError: no such board, no address for it, or an inventory that cannot be used.
        BoardError: the emulated board does not run.
    """
    entries = _read()
    if name in entries or name == LOCAL:
        return _board(name, entries.get(name, _Entry(type=LOCAL)), host)
    if name in type_names():
        if (booted := _booted(name, host)) is not None:
            return booted
        if host is None:
            raise UsageError(
                f"{name!r} is a board type, and the inventory {inventory_path()} has no board of this name.",
                hint=f"Say where the board is: --host user@10.0.0.5 (make: HOST=user@10.0.0.5). {_lines(name, name)}",
            )
        return _board(name, _Entry(type=name), host)
    raise _unknown(name, entries)


def find_boards(selection: str) -> list[Board]:
    """The boards that a selection means, each once.

    Args:
        selection: names, `type:TYPE` and `tag:TAG`, with commas between. An emulated board that does not run is one,
            too; whoever reaches for it is told so.

    Raises:
        UsageError: a part of it means no board.
    """
    found: dict[str, Board] = {}
    for part in filter(None, (word.strip() for word in selection.split(","))):
        kind, colon, wanted = part.partition(":")
        if colon and kind in ("type", "tag"):
            known = [board for board in list_boards() if board.name != LOCAL]
            wanted = load_type(wanted).name if kind == "type" else wanted  # an alias, or no type at all
            words = {board.name: [board.type.name] if kind == "type" else board.tags for board in known}
            meant = [board for board in known if wanted in words[board.name]]
            if not meant:
                there = sorted({word for each in words.values() for word in each})
                raise UsageError(
                    f"No board of the inventory has the {kind} {wanted!r}.",
                    hint=f"They have: {', '.join(there) or 'none'}.",
                )
        else:
            meant = [_named(part)]
        found |= {board.name: board for board in meant}
    if not found:
        raise UsageError(
            f"Expected boards, found {selection!r}.", hint="For example --boards orin,pi or --boards tag:lab"
        )
    return list(found.values())


def _named(name: str) -> Board:
    """As `resolve`; an emulated board that does not run has no host."""
    try:
        return resolve(name)
    except BoardError:
        return Board(name=name, type=load_type(name), transport="ssh")


def _booted(name: str, host: str | None) -> Board | None:
    """An emulated board, the one kind of which edgesparse itself knows where it stands; None for other types, and for
    another host than it.

    Raises:
        BoardError: it is asked for and does not run.
    """
    if not load_type(name).emulated:
        return None
    from edgesparse.boards.virt.machine import Machine

    machine = Machine(board_type=name)
    if host is None:
        return machine.board()
    return machine.board() if machine.running() and machine.board().address == host else None


def type_of(name: str) -> BoardType:
    """The type of a board of the inventory, or the type of this name: what is known without reaching the board.

    Raises:
        UsageError: neither exists.
    """
    entries = _read()
    if name in entries:
        return load_type(entries[name].type)
    if name in type_names():
        return load_type(name)
    raise _unknown(name, entries)


def check_name(name: str) -> None:
    """See that a board may be called that.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"Expected a board's name of at most 64 ASCII letters, digits, dots, hyphens and underscores, a letter or "
            f"digit first; found {name!r}.",
            hint=f"For example {_usable(name)!r}.",
        )


def parse_address(text: str) -> tuple[str, str | None, int | None]:
    """Host, user and port of `[user@]host[:port]`; an IPv6 address with a port stands in brackets.

    Raises:
        UsageError: it has another form.
    """
    match = _ADDRESS.fullmatch(text.removeprefix("ssh://").rstrip("/"))
    host = match and (match["bracketed"] or match["ipv6"] or match["name"])
    port = int(match["port"]) if match and match["port"] else None
    # A host that starts with a dash could be taken for an option by whoever hands it on.
    if not match or not host or host.startswith("-") or (port is not None and not 0 < port < 65536):
        raise UsageError(
            f"Expected an address [user@]host[:port], found {text!r}.", hint="For example --host pi@192.168.1.20:2222"
        )
    return host, match["user"], port


def _board(name: str, entry: _Entry, address: str | None = None) -> Board:
    board_type = load_type(entry.type)
    fields = msgspec.structs.asdict(entry) | {"type": board_type}
    if entry.host is not None:
        host, user, port = parse_address(entry.host)
        fields |= {"host": host, "user": entry.user or user, "port": entry.port or port}
    if address is not None:
        if name == LOCAL:
            raise UsageError(
                f"The board 'local' is this machine, and the host {address!r} is another.",
                hint=f"Name the other's board or type: --board {_example_type()} --host {address}",
            )
        host, user, port = parse_address(address)
        # Another machine has another port and perhaps another user; only the same host keeps the entry's.
        same = host == fields["host"]
        fields |= {"host": host, "user": user or fields["user"], "port": port or (fields["port"] if same else None)}
    if board_type.name == LOCAL and fields["host"] is None:
        return Board(name=name, transport="local", **(fields | {"python": entry.python or sys.executable}))
    if fields["host"] is None:
        raise UsageError(
            f"The board {name!r} in {inventory_path()} has no host.",
            hint=f'Add the line host = "10.0.0.5" to [boards.{name}].',
        )
    return Board(name=name, transport="ssh", **fields)


def _read() -> dict[str, _Entry]:
    path = inventory_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The inventory {path} cannot be read: {error}.", hint="Correct or remove it.") from None
    try:
        boards = msgspec.convert(tomllib.loads(text), _Inventory).boards
        for name in boards:
            check_name(name)
        return boards
    except UsageError as error:
        raise UsageError(f"The inventory {path} cannot be used: {error.message}", hint=error.hint) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The inventory {path} is not valid TOML: {error}.", hint="Correct the file.") from None
    except msgspec.ValidationError as error:
        keys = ", ".join(field.name for field in msgspec.structs.fields(_Entry))
        raise UsageError(
            f"The inventory {path} cannot be used: {error}.",
            hint=f"It starts with version = {VERSION}; the keys of [boards.NAME] are {keys}.",
        ) from None


def _unknown(name: str, entries: dict[str, _Entry]) -> UsageError:
    boards = ", ".join(dict.fromkeys([LOCAL, *entries]))
    return UsageError(
        f"There is no board {name!r}; the boards are {boards}, the board types {', '.join(type_names())}.",
        hint=_lines(name, _example_type()),
    )


def _lines(name: str, board_type: str) -> str:
    version = "" if inventory_path().exists() else f"version = {VERSION}\n\n"
    name = _usable(name)
    key = f'"{name}"' if "." in name else name
    return (
        f"To add it, put these lines into {inventory_path()}:\n"
        f'{version}[boards.{key}]\ntype = "{board_type}"\nhost = "user@10.0.0.5"'
    )


def _usable(name: str) -> str:
    """A name that comes near it and can be used."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64] or "board"


def _example_type() -> str:
    return "raspberrypi5"
