"""What it takes to do a run again, and in what several runs differ."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from edgesparse.report.html.grid import Grid, Line
from edgesparse.report.summary import Comparison
from edgesparse.store import Run


def commands(run: Run) -> list[str]:
    """The commands that make these measurements again; BUNDLE is the bundle's directory."""
    record, spec = run.record, run.record.spec
    asked = [f"--board {shlex.quote(record.board['name'])}"]
    variants = list(dict.fromkeys(cell["variant"] for cell in spec["cells"]))
    named = [variant.name for variant in record.manifest.variants]
    kept = [name for name in named if name in variants]
    if record.aa or kept != named:
        asked += [f"--variant {shlex.quote(name)}" for name in kept if name != "dense" or record.aa]
    asked += [f"--backend {name}" for name in dict.fromkeys(cell["backend"] for cell in spec["cells"])]
    asked += [f"--threads {count}" for count in dict.fromkeys(cell["threads"] for cell in spec["cells"])]
    asked += [f"--{option} {spec[key]:g}" for option, key in _NUMBERS if spec.get(key)]
    asked += ["--aa"] * record.aa + ["--tune"] * bool(spec.get("tune"))
    asked += ["--no-energy"] * (spec.get("energy") is False and not record.board.get("emulated"))
    asked += [f"--cpus {spec['cpus']}"] if spec.get("cpus") else []
    asked += [f"--sustained {spec['sustained_s']:g}s"] if spec.get("sustained_s") else []
    return [f"edgesparse bench BUNDLE {' '.join(asked)}", f"edgesparse report {run.id} --operators"]


_NUMBERS = (("rounds", "max_rounds"), ("samples", "samples"), ("time-limit", "time_limit_s"))


def facts(run: Run, comparison: Comparison) -> Grid:
    """Versions, hashes, the board, and what was asked of it."""
    record, spec, board = run.record, run.record.spec, comparison.board
    manifest = record.manifest
    where = f"{board['name']}, a {board['type']}{', emulated' * bool(board.get('emulated'))}"
    pairs: list[tuple[str, Any]] = [
        ("run", f"{run.id}, {comparison.created}, edgesparse {record.about['edgesparse']}"),
        ("status", f"{comparison.status}{': ' * bool(comparison.reason)}{comparison.reason}"),
        ("bundle", f"{comparison.bundle['name']}, {comparison.bundle['id']}"),
        ("made", f"{manifest.created} by edgesparse {manifest.edgesparse}"),
        ("made with", ", ".join(f"{name} {version}" for name, version in manifest.toolchain.items())),
        ("runtime", ", ".join(runtimes(comparison))),
        ("agent", f"{comparison.agent.get('version', 'unknown')}, {comparison.agent.get('sha256', '')[:16]}"),
        ("board", where),
        *((key, board.get(key)) for key in ("hostname", "cpu", "cores", "machine", "kernel", "python", "virtual")),
        ("memory", board.get("memory_bytes") and f"{board['memory_bytes'] / 1e9:.1f} GB"),
        ("csr library", (spec.get("delegate") or {}).get("library")),
        ("csr options", _pairs((spec.get("delegate") or {}).get("options") or {})),
        ("asked", _pairs({key: spec[key] for key in sorted(spec) if key not in _ELSEWHERE})),
        ("owner", record.about.get("owner")),
    ]  # fmt: skip
    lines = [Line((key, str(value))) for key, value in pairs if value not in (None, "")]
    for variant in manifest.variants:
        recipe = f"; recipe {variant.recipe.path}, {variant.recipe.sha256[:16]}" if variant.recipe else ""
        what = f"{variant.file.path}, {variant.file.bytes:,} bytes, SHA-256 {variant.file.sha256}{recipe}"
        lines.append(Line((variant.name, what), variant.name))
    return Grid(f"What run {run.id} was", ("what", "found"), lines, frozenset({0, 1}))


_ELSEWHERE = ("cells", "files", "delegate", "bundle", "run", "owner", "runtime", "runtime_version")


def contexts(runs: Sequence[Run], comparisons: Sequence[Comparison], labels: Sequence[str]) -> tuple[Grid, list[str]]:
    """What must be the same for runs to be held against each other, a column for each run, lines that differ marked;
    and in words what therefore is not compared."""
    found = [_context(run, comparison) for run, comparison in zip(runs, comparisons, strict=True)]
    lines = [
        Line((key, *(each[key] for each in found)), mark="" if len({each[key] for each in found}) == 1 else "differs")
        for key in found[0]
    ]
    differ = [key for key in _REFUSALS if len({each[key] for each in found} - {_NONE}) > 1]
    refused = [_REFUSALS[key] for key in differ]
    return Grid(
        "Conditions of each run; lines that differ are marked",
        ("what", *labels),
        lines,
        frozenset(range(len(runs) + 1)),
    ), refused


_NONE = "none"
_REFUSALS = {
    "bundle": "The runs are of different bundles: a variant of one is another file than that of its name in another.",
    "measured": "The runs measured different things, latency and instructions: no chart puts the two on one axis.",
    "energy scope": "Energy was read at different places; two scopes never compare.",
    "energy": "Some power readings are simulated: they are not held against measured ones.",
}


def _context(run: Run, comparison: Comparison) -> dict[str, str]:
    rows = [row for variant in comparison.variants for row in variant.backends]
    measured = [row.energy for row in rows if row.energy.mj is not None]
    spec, before = run.record.spec, comparison.conditions.get("before", {})
    delegate = spec.get("delegate") or {}
    return {
        "bundle": f"{comparison.bundle['name']}, {comparison.bundle['id'][:12]}",
        "measured": comparison.measured,
        "board": f"{comparison.board['name']}, {comparison.board.get('cpu') or comparison.board['type']}",
        "host name": str(comparison.board.get("hostname") or "unknown"),
        "runtime": ", ".join(runtimes(comparison)) or "unknown",
        "edgesparse": str(run.record.about["edgesparse"]),
        "threads": ", ".join(map(str, dict.fromkeys(row.threads for row in rows))),
        "cores": spec.get("cpus") or "all",
        "governor": str(before.get("governor") or "unknown"),
        "csr library": str(delegate.get("library") or "none")[:12],
        "csr options": _pairs(delegate.get("options") or {}) or "none",
        "energy": ("simulated" if measured[0].simulated else "measured") if measured else _NONE,
        "energy scope": ", ".join(dict.fromkeys(each.scope for each in measured)) or _NONE,
        "kind of run": "A/A" if comparison.aa else "sustained" if spec.get("sustained_s") else "rounds",
    }


def runtimes(comparison: Comparison) -> list[str]:
    """The runtimes that rows ran under."""
    rows = [row for variant in comparison.variants for row in variant.backends if row.runtime]
    return list(dict.fromkeys(f"{row.runtime['name']} {row.runtime['version']}" for row in rows if row.runtime))


def _pairs(found: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in found.items() if value not in (None, ""))
