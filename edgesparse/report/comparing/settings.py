"""What was otherwise in one of two runs: the files, the software, the board, how was measured, under what
conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, Literal

import msgspec

from edgesparse.report.summary import Comparison
from edgesparse.store import Record, Run

# Conditions are never the same to the last digit. What is closer than this is not told of.
WARMER_C, OTHER_CLOCK, BUSY_PERCENT, LESS_MEMORY = 5.0, 0.05, 25.0, 0.5

_UNKNOWN = "unknown"
# Of the board, by what the agent calls it.
_BOARD = {
    "name": "board", "type": "board's type", "address": "board's address", "hostname": "host name", "cpu": "CPU",
    "cores": "cores", "memory_bytes": "memory", "virtual": "hypervisor", "kernel": "kernel", "python": "Python there",
}  # fmt: skip
_MEASURING = {
    "cpus": "cores used", "tune": "--tune", "samples": "samples in a launch", "launch_s": "seconds of a launch",
    "warmup_s": "seconds of warm-up", "sustained_s": "seconds sustained", "energy": "energy", "meter": "meter",
    "meter_scope": "meter's scope",
}  # fmt: skip


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was otherwise: what it is called, and what it was in either run."""

    kind: Literal["files", "software", "board", "measuring", "conditions"]
    what: str
    base: str
    new: str


def changed_settings(base: Run, new: Run, before: Comparison, after: Comparison) -> list[Setting]:
    """What differs, in the order of `Setting.kind`. `before` and `after` are the comparisons of the two runs."""
    sides = [dict(_settings(run, found)) for run, found in ((base, before), (new, after))]
    changed = [
        Setting(kind=kind, what=what, base=sides[0].get((kind, what), "none"), new=sides[1].get((kind, what), "none"))
        for kind, what in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get((kind, what)) != sides[1].get((kind, what))
    ]
    return sorted([*changed, *_conditions(before, after)], key=lambda each: _KINDS.index(each.kind))


_KINDS = ("files", "software", "board", "measuring", "conditions")
_Key = tuple[Any, str]


def _settings(run: Run, found: Comparison) -> Iterator[tuple[_Key, str]]:
    """What is either the same or not."""
    about, spec = run.record.about, run.record.spec
    yield ("files", "bundle"), f"{found.bundle.get('name')} {str(found.bundle.get('id'))[:12]}"
    measured = {variant.name for variant in found.variants}
    for variant in run.record.manifest.variants:
        if variant.name in measured:
            yield ("files", variant.name), f"{variant.file.sha256[:12]}, {variant.pattern}, {variant.precision}"
    yield ("software", "runtime"), runtime_of(found, spec)
    yield ("software", "csr kernels"), kernels_of(spec)
    yield ("software", "agent"), f"{found.agent.get('version', _UNKNOWN)} {str(found.agent.get('sha256', ''))[:12]}"
    yield ("software", "edgesparse"), str(about.get("edgesparse", _UNKNOWN))
    for key, what in _BOARD.items():
        yield ("board", what), _shown(found.board.get(key))
    for key, values in (("backend", "backends"), ("threads", "threads")):
        yield ("measuring", values), ", ".join(dict.fromkeys(str(cell[key]) for cell in spec["cells"]))
    for key, what in _MEASURING.items():
        if key in spec:
            yield ("measuring", what), _shown(spec[key])
    yield ("measuring", "power sensors"), ", ".join(dict.fromkeys(each.source for each in found.sensors)) or "none"


def runtime_of(found: Comparison, spec: Mapping[str, Any]) -> str:
    """The runtimes that were really loaded, else the one that was asked for."""
    rows = [row for variant in found.variants for row in variant.backends if row.runtime]
    loaded = dict.fromkeys(f"{row.runtime['name']} {row.runtime['version']}" for row in rows if row.runtime)
    return ", ".join(loaded) or f"{spec.get('runtime', _UNKNOWN)} {spec.get('runtime_version', '')}".strip()


def kernels_of(spec: Mapping[str, Any]) -> str:
    """The library of the csr backend and its options."""
    delegate = spec.get("delegate")
    if not delegate:
        return "none"
    options = " ".join(f"{key}={value}" for key, value in sorted(delegate["options"].items()))
    return f"{delegate['library'][:12]} {options}".strip()


def _conditions(before: Comparison, after: Comparison) -> Iterator[Setting]:
    """What differs so much that it may matter."""
    base, new = (_state(found) for found in (before, after))
    for what, (base_value, new_value) in {key: (base[key], new[key]) for key in base}.items():
        if _apart(what, base_value, new_value):
            yield Setting(
                kind="conditions", what=what, base=_told(what, base_value), new=_told(what, new_value)
            )  # fmt: skip


def _state(found: Comparison) -> dict[str, Any]:
    """Governor, middle of the clocks, hottest temperature, the most CPU of others, throttling, free memory."""
    states = [*found.conditions.values(), *found.conditions_during]
    before = found.conditions.get("before", {})
    clocks = [max(state["frequency_mhz"]) for state in states if state.get("frequency_mhz")]
    heats = [max(state["temperature_c"].values()) for state in states if state.get("temperature_c")]
    loads = [state.get("other_cpu_percent") or 0.0 for state in found.conditions.values()]
    flags = dict.fromkeys(flag for state in states for flag in state.get("throttled") or [])
    return {
        "governor": before.get("governor"),
        "clock": median(clocks) if clocks else None,
        "hottest": max(heats) if heats else None,
        "CPU by others": max(loads) if loads else None,
        "throttling": ", ".join(flags) or "none",
        "free memory": before.get("memory_available_bytes"),
    }


def _apart(what: str, base: Any, new: Any) -> bool:
    if what in ("governor", "throttling") or base is None or new is None:
        return bool(base != new)
    limits = {
        "clock": OTHER_CLOCK * base,
        "hottest": WARMER_C,
        "CPU by others": BUSY_PERCENT,
        "free memory": LESS_MEMORY * base,
    }
    return bool(abs(new - base) > limits[what])


def _told(what: str, value: Any) -> str:
    if value is None:
        return _UNKNOWN
    units: Record = {"clock": "MHz", "hottest": "°C", "CPU by others": "%"}
    if what == "free memory":
        return f"{value / 1e9:.1f} GB"
    return f"{value:.0f} {units[what]}" if what in units else str(value)


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
