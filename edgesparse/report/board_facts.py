"""What a board is and has, and what it takes to make it ready, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from edgesparse.report.tables import new_table

if TYPE_CHECKING:
    from edgesparse.boards.facts import BoardFacts, Interpreter
    from edgesparse.boards.fitting import Fit
    from edgesparse.boards.provision import RuntimePlan


def facts_table(name: str, facts: BoardFacts, fit: Fit) -> RenderableType:
    """Every fact on a line, and the type that fits."""
    table = new_table(f"{name}: {facts.hostname}", "what", "found")
    runs = {"running": "runs", "degraded": "runs", "": "none for its user"}.get(facts.systemd, facts.systemd)
    rows = [
        ("model", facts.model or "unknown"),
        ("CPU", f"{facts.cpu}, {facts.cores or '?'} cores, {facts.arch}"),
        ("vectors", ", ".join(facts.isa) or "unknown"),
        ("memory", _gigabytes(facts.memory_bytes)),
        ("disk", f"{_gigabytes(facts.disk_free_bytes)} free"),
        ("system", ", ".join(filter(None, [facts.system, facts.release, f"Linux {facts.kernel}", facts.libc]))),
        ("governor", ", ".join(facts.governors) or "unknown"),
        *(("sensor", f"{each.kind}: {each.name}{'' if each.readable else ', not readable by this user'}")
          for each in facts.sensors),
        *(("Python", _python(each)) for each in facts.pythons),
        ("systemd", runs),
        ("fits", f"{fit.type}: {fit.reason}" if fit.type else f"no type: {fit.reason}"),
    ]  # fmt: skip
    if not facts.sensors:
        rows.insert(7, ("sensor", "none"))
    if not facts.pythons:
        rows.insert(-2, ("Python", "none"))
    for what, found in rows:
        table.add_row(what, found)
    return table


def plan_lines(name: str, plan: RuntimePlan) -> list[str]:
    """What `setup` would do, in sentences."""
    runtime = plan.runtime
    lines = [f"{each} (so the next one is taken)" for each in plan.refused]
    if plan.left_to_board:
        wanted = next(iter(plan.left_to_board.values()))
        return [*lines, f"{plan.unseen} {name} would fetch {', '.join(wanted)} over its own network, if it has one."]
    if plan.directory is None:
        return [*lines, f"{runtime.python} on {name} has {runtime.name} {runtime.version}: nothing to do."]
    if not plan.wheels:
        return [*lines, f"{name} has {runtime.name} {runtime.version} in {plan.directory}: nothing to do."]
    size = sum(wheel.stat().st_size for wheel in plan.wheels)
    return [
        *lines,
        *(f"would put: {wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB)" for wheel in plan.wheels),
        f"{size / 1e6:.1f} MB over {name}'s own network or this link; {plan.needed_bytes / 1e6:.0f} MB of its disk, in "
        f"{plan.directory}",
    ]


def plan_dict(plan: RuntimePlan) -> dict[str, Any]:
    """The same as JSON types."""
    return {
        "runtime": plan.runtime,
        "directory": plan.directory,
        "wheels": [{"name": wheel.name, "bytes": wheel.stat().st_size} for wheel in plan.wheels],
        "needed_bytes": plan.needed_bytes,
        "refused": plan.refused,
        "left_to_board": plan.left_to_board,
    }


def runtimes_table(name: str, found: Sequence[dict[str, Any]]) -> RenderableType:
    """The environments in a board's store."""
    table = new_table(f"runtimes on {name}", "name", "size", "packages")
    for each in found:
        table.add_row(each["name"], f"{each['bytes'] / 1e6:.0f} MB", ", ".join(each["packages"]))
    return table


def _python(python: Interpreter) -> str:
    modules = ", ".join(f"{name} {version}" for name, version in python.modules.items())
    return f"{python}: {modules or 'none of what is needed'}"


def _gigabytes(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 1e9:.1f} GB"
