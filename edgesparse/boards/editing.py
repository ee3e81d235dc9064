"""The inventory, changed: entries added and removed, and all else of the file kept as its user wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgesparse.agent.store import write_aside
from edgesparse.boards.inventory import LOCAL, VERSION, check_name, inventory_path, list_boards, resolve
from edgesparse.errors import UsageError


def add_board(name: str, fields: dict[str, Any], *, force: bool = False) -> Path:
    """Add a board, or replace it; returns the inventory's path.

    Args:
        fields: of the entry; those that are None are left out.
        force: replace the one of this name.

    Raises:
        UsageError: the name is taken, or the entry cannot be used. The file is then as it was.
    """
    import tomlkit

    check_name(name)
    path, document = _read()
    boards = document.setdefault("boards", tomlkit.table(is_super_table=True))
    if name == LOCAL or (name in boards and not force):
        what = "this machine" if name == LOCAL else f"in {path} already"
        raise UsageError(f"The board {name!r} is {what}.", hint="Give another name, or replace it with --force.")
    entry = tomlkit.table()
    for key, value in fields.items():
        if value is not None:
            entry[key] = value
    boards[name] = entry
    _write(path, tomlkit.dumps(document).rstrip("\n") + "\n", check=name)
    return path


def remove_board(name: str) -> Path:
    """Take a board out; returns the inventory's path.

    Raises:
        UsageError: there is none of this name.
    """
    import tomlkit

    path, document = _read()
    boards = document.get("boards", {})
    if name not in boards:
        raise UsageError(
            f"There is no board {name!r} in {path}.",
            hint=f"There are: {', '.join(boards) or 'none'}. See `edgesparse boards`.",
        )
    del boards[name]
    _write(path, tomlkit.dumps(document).rstrip("\n") + "\n")
    return path


def _read() -> tuple[Path, Any]:
    import tomlkit

    list_boards()  # complains of a file that cannot be used
    path = inventory_path()
    if not path.exists():
        document = tomlkit.document()
        document["version"] = VERSION
        return path, document
    return path, tomlkit.parse(path.read_text(encoding="utf-8"))


def _write(path: Path, text: str, check: str | None = None) -> None:
    """Replace the file, unless what it says of the board `check` cannot be used."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, text.encode())
    try:
        if check is not None:
            resolve(check)
    except UsageError:
        if before is None:
            path.unlink()
        else:
            write_aside(path, before)
        raise
