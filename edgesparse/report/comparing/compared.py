"""Two runs of one board, held against each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from edgesparse.errors import UsageError
from edgesparse.quantity import Quantity
from edgesparse.report.comparing.cells import CellChange, changed_cells
from edgesparse.report.comparing.settings import Setting, changed_settings, kernels_of, runtime_of
from edgesparse.report.summary import Comparison
from edgesparse.store import AGAIN, NoiseFloor, Record, Run, find_noise_floor
from edgesparse.wire import CSR

_MEASURES: dict[Quantity, str] = {"latency": "latency", "instructions": "instructions", "nothing": "no time at all"}


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs."""

    run: str
    created: str
    status: str
    board: dict[str, Any]
    bundle: dict[str, Any]
    warnings: list[str]


class RunsCompared(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from the base run to the new one. `version` is that of this JSON document. `settings` are those that
    differ; `noise_floor` is the largest that is known of the board; `same_board`: name of the type, address and
    host name are the same."""

    version: int = 1
    base: Side
    new: Side
    measured: Quantity
    same_type: bool
    same_board: bool
    noise_floor: NoiseFloor | None
    settings: list[Setting]
    cells: list[CellChange]
    warnings: list[str]


def compare_runs(base: Run, new: Run) -> RunsCompared:
    """Hold a run against an earlier one.

    Args:
        base: what it is held against.
        new: the run.

    Raises:
        UsageError: they measure different quantities, such as latency and instructions.
    """
    before, after = base.comparison(), new.comparison()
    if before.measured != after.measured:
        raise UsageError(
            f"Expected two runs that measure the same, found {_MEASURES[before.measured]} in {before.run} and "
            f"{_MEASURES[after.measured]} in {after.run}.",
            hint="An emulated board has no latency that could be held against a real one's: compare runs of one board.",
        )
    floor = _noise_floor(before, after)
    same_type = before.board.get("type") == after.board.get("type")
    same_board = same_type and _same_machine(before.board, after.board)
    cells = changed_cells(
        before,
        after,
        floor.share if floor else 0.0,
        _same_variants(base, new),
        _same_backends(base, new, before, after),
    )
    return RunsCompared(
        base=_side(before), new=_side(after), measured=after.measured, same_type=same_type, same_board=same_board,
        noise_floor=floor, settings=changed_settings(base, new, before, after), cells=cells,
        warnings=_warnings(before, after, same_type, same_board, floor, cells),
    )  # fmt: skip


def _side(found: Comparison) -> Side:
    return Side(
        run=found.run, created=found.created, status=found.status, board=found.board, bundle=found.bundle,
        warnings=found.warnings,
    )  # fmt: skip


def _same_machine(base: Record, new: Record) -> bool:
    """Every machine has a board `local` without an address: the host name tells them apart, where both runs know it."""
    names = {board["hostname"] for board in (base, new) if board.get("hostname")}
    return base.get("address") == new.get("address") and len(names) < 2


def _noise_floor(before: Comparison, after: Comparison) -> NoiseFloor | None:
    """The largest of those that were known when the runs were measured, or found by them, or are known now."""
    known = [before.noise_floor, after.noise_floor, *(find_noise_floor(each.board) for each in (before, after))]
    return max((floor for floor in known if floor), key=lambda floor: floor.share, default=None)


def _same_variants(base: Run, new: Run) -> set[str]:
    """Whose file has the same content in both; the copies of an A/A run are of one file."""
    hashes = [{each.name: each.file.sha256 for each in run.record.manifest.variants} for run in (base, new)]
    copies = {cell["variant"] for run in (base, new) for cell in run.record.spec["cells"]}
    return {
        name
        for name in copies
        if (file := name.split(AGAIN)[0]) in hashes[0] and hashes[0][file] == hashes[1].get(file)
    }


def _same_backends(base: Run, new: Run, before: Comparison, after: Comparison) -> set[str]:
    specs = base.record.spec, new.record.spec
    if runtime_of(before, specs[0]) != runtime_of(after, specs[1]):
        return set()
    backends = {cell["backend"] for spec in specs for cell in spec["cells"]}
    return backends if kernels_of(specs[0]) == kernels_of(specs[1]) else backends - {CSR}


def _warnings(
    before: Comparison, after: Comparison, same_type: bool, same_board: bool, floor: NoiseFloor | None,
    cells: list[CellChange],
) -> list[str]:  # fmt: skip
    found = []
    if not same_type:
        boards = f"{before.board.get('type')} and {after.board.get('type')}"
        found.append(f"The boards are of different types ({boards}): what differs is theirs as much as the files'.")
    elif not same_board:
        names = " and ".join(_told(side.board) for side in (before, after))
        found.append(f"The boards are two of one type ({names}): what differs may be theirs.")
    for which, side in (("base", before), ("new", after)):
        if side.status != "finished":
            found.append(f"The {which} run {side.run} is not whole ({side.status}): {side.reason}.")
        elif side.warnings:
            count = "a warning" if len(side.warnings) == 1 else f"{len(side.warnings)} warnings"
            found.append(f"The {which} run has {count} of its own: edgesparse report {side.run}")
    if before.measured == "latency":
        found += _about_noise(after, floor, cells)
        hours = (_time(after.created) - _time(before.created)).total_seconds() / 3600
        found.append(
            f"The runs were made {_apart(hours)} apart. What the launches of one share, such as the room's temperature "
            "or what the board did since it started, no interval knows of: repeat the new run before you act on it."
        )
    return found


def _told(board: Record) -> str:
    """Its name, and whose where it is a machine itself."""
    hostname = board.get("hostname")
    return f"{board['name']} of {hostname}" if hostname and not board.get("address") else str(board["name"])


def _about_noise(after: Comparison, floor: NoiseFloor | None, cells: list[CellChange]) -> list[str]:
    found = []
    if floor is None:
        found.append(
            "This board's noise floor was never measured, so it is taken for 0: edgesparse bench BUNDLE --board "
            f"{after.board['name']} --aa"
        )
    same = [cell for cell in cells if cell.same]
    told = [cell for cell in same if cell.outcome in ("faster", "slower")]
    if told:
        most = max(abs(cell.change.value - 1) for cell in told if cell.change and cell.change.value)
        found.append(
            f"Of {len(same)} cells with the same file and software in both runs {_differ(len(told))}, by up to "
            f"{most:.1%}: that is the board's doing, and the others may differ by as much for the same reason."
        )
    return found


def _differ(count: int) -> str:
    return "one differs" if count == 1 else f"{count} differ"


def _apart(hours: float) -> str:
    hours = abs(hours)
    return (
        f"{max(1, hours * 60):.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
    )


def _time(created: str) -> datetime:
    return datetime.fromisoformat(created.replace("Z", "+00:00"))
