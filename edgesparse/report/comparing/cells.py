"""One cell in two runs: what it was, what it is, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from edgesparse import stats
from edgesparse.quantity import Quantity
from edgesparse.report.power import Energy
from edgesparse.report.summary import Comparison, Row, VariantSummary

# Where memory happens to lie moves the last digits of a count of instructions; what is closer than this is the same.
INSTRUCTIONS_SHARE = 0.001

# "faster", "slower": of latencies. "fewer", "more": of instructions. "not timed": the board has no latency.
Outcome = Literal[
    "faster", "slower", "fewer", "more", "no difference", "too few launches", "not timed", "fails now", "fails in both",
    "works now", "missing", "added",
]  # fmt: skip


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A cell in one run. `failure` is "" where it did not fail; the rest is as in `summary.Row`."""

    failure: str
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    instructions: float | None
    launches: int
    energy: Energy
    bytes: int
    accuracy: float | None
    accuracy_samples: int
    path: str
    parity_ok: bool | None


class EnergyChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the energy of an inference. `change` is None where the two do not compare: `reason` says why."""

    change: stats.Change | None
    reason: str = ""


class CellChange(msgspec.Struct, frozen=True, kw_only=True):
    """A cell in the base and in the new run; None where one of them has it not.

    `change` is new over base, of latency or of instructions: above 1 the new one takes more. `same` says that file,
    runtime and kernels are the same in both, so that the cell shows what the board itself does from run to run.
    `accuracy_told`: the accuracies differ by more than so many samples leave open.
    """

    cell: str
    variant: str
    backend: str
    threads: int
    outcome: Outcome
    same: bool
    base: Reading | None
    new: Reading | None
    change: stats.Change | None
    energy: EnergyChange | None
    accuracy_told: bool


_Cells = dict[str, tuple[VariantSummary, Row]]


def changed_cells(
    before: Comparison, after: Comparison, noise_floor: float, same_variants: set[str], same_backends: set[str]
) -> list[CellChange]:
    """Every cell that either run has, in the order of the new one, judged among each other.

    Args:
        before, after: the comparisons of the two runs, which measure the same quantity.
        noise_floor: by how much a cell may differ from itself on this board, as a share.
        same_variants: those whose file is the same in both.
        same_backends: those whose runtime and kernels are.
    """
    base, new = _cells(before), _cells(after)
    names = [*new, *(name for name in base if name not in new)]
    changes = _judged([_change(after.measured, base.get(name), new.get(name), noise_floor) for name in names])
    energies = _judged_energies([_energy(base.get(name), new.get(name)) for name in names])
    found = []
    for name, change, energy in zip(names, changes, energies, strict=True):
        variant, row = new.get(name) or base[name]
        sides = [side and _reading(*side) for side in (base.get(name), new.get(name))]
        found.append(
            CellChange(
                cell=name, variant=variant.name, backend=row.backend, threads=row.threads,
                outcome=_outcome(after.measured, sides[0], sides[1], change),
                same=variant.name in same_variants and row.backend in same_backends and None not in sides,
                base=sides[0], new=sides[1], change=change, energy=energy,
                accuracy_told=_accuracy_told(sides[0], sides[1]),
            )
        )  # fmt: skip
    return found


def _cells(found: Comparison) -> _Cells:
    return {
        f"{variant.name}/{row.backend}/{row.threads}": (variant, row)
        for variant in found.variants
        for row in variant.backends
    }


def _reading(variant: VariantSummary, row: Row) -> Reading:
    return Reading(
        failure="" if row.kind is None else f"{row.kind}: {row.reason}",
        median_ms=row.median_ms, interval_ms=row.interval_ms,
        instructions=row.instructions.per_inference if row.instructions else None,
        launches=row.launches, energy=row.energy, bytes=variant.bytes, accuracy=variant.accuracy,
        accuracy_samples=variant.accuracy_samples, path=row.path["taken"],
        parity_ok=row.parity["ok"] if row.parity else None,
    )  # fmt: skip


def _change(
    measured: Quantity, base: tuple[VariantSummary, Row] | None, new: tuple[VariantSummary, Row] | None, floor: float
) -> stats.Change | None:
    if base is None or new is None or base[1].kind is not None or new[1].kind is not None or measured == "nothing":
        return None
    if measured == "instructions":
        return _instructions(base[1], new[1])
    return stats.compare_runs(base[1].launch_medians_ms, new[1].launch_medians_ms, floor)


def _instructions(base: Row, new: Row) -> stats.Change | None:
    """Counts are what they are: they differ where those of the one run lie all above those of the other."""
    one, other = base.instructions, new.instructions
    if not one or not other or not one.lowest or not other.lowest or not one.highest or not other.highest:
        return None
    if one.per_inference is None or other.per_inference is None:
        return None
    low, high = other.lowest / one.highest, other.highest / one.lowest
    verdict: stats.ChangeVerdict = "no difference"
    if low > 1 + INSTRUCTIONS_SHARE or high < 1 - INSTRUCTIONS_SHARE:
        verdict = "more" if low > 1 else "less"
    value, launches = other.per_inference / one.per_inference, (len(one.launches), len(other.launches))
    return stats.Change(value, (low, high), None, None, launches, verdict)


def _energy(
    base: tuple[VariantSummary, Row] | None, new: tuple[VariantSummary, Row] | None
) -> EnergyChange | None:  # fmt: skip
    """Of the same sensor only; None where neither run has any."""
    if base is None or new is None:
        return None
    one, other = base[1].energy, new[1].energy
    if one.mj is None or other.mj is None:
        if one.mj is None and other.mj is None:
            return None
        return EnergyChange(change=None, reason="measured in one of the runs only")
    if (one.scope, one.source, one.channels) != (other.scope, other.source, other.channels):
        return EnergyChange(change=None, reason=f"{one.scope} by {one.source}, then {other.scope} by {other.source}")
    if min(one.launches_mj + other.launches_mj, default=0.0) <= 0:
        return EnergyChange(change=None, reason="not above idle in every launch")
    return EnergyChange(change=stats.compare_runs(one.launches_mj, other.launches_mj))


def _judged(changes: list[stats.Change | None]) -> list[stats.Change | None]:
    """Those that have a p-value among each other."""
    judged = iter(stats.decide_changes([change for change in changes if change and change.p_value is not None]))
    return [next(judged) if change and change.p_value is not None else change for change in changes]


def _judged_energies(energies: list[EnergyChange | None]) -> list[EnergyChange | None]:
    judged = _judged([energy.change if energy else None for energy in energies])
    return [
        msgspec.structs.replace(energy, change=change) if energy else None
        for energy, change in zip(energies, judged, strict=True)
    ]


def _outcome(
    measured: Quantity, base: Reading | None, new: Reading | None, change: stats.Change | None
) -> Outcome:  # fmt: skip
    if new is None:
        return "missing"
    if new.failure:
        return "fails in both" if base and base.failure else "fails now"
    if base is None:
        return "added"
    if base.failure:
        return "works now"
    if change is None:
        return "not timed" if measured == "nothing" else "too few launches"
    if change.verdict in ("no difference", "too few launches"):
        return change.verdict
    more = change.verdict == "more"
    if measured == "instructions":
        return "more" if more else "fewer"
    return "slower" if more else "faster"


def _accuracy_told(base: Reading | None, new: Reading | None) -> bool:
    """Beyond 95 % of what two draws of so many samples may differ by; samples in common make that rather too wide."""
    if not base or not new or base.accuracy is None or new.accuracy is None:
        return False
    variances = [
        each.accuracy * (1 - each.accuracy) / each.accuracy_samples
        for each in (base, new)
        if each.accuracy is not None and each.accuracy_samples
    ]
    return abs(new.accuracy - base.accuracy) > 1.96 * math.sqrt(sum(variances))


def told_energy(cell: CellChange) -> stats.ChangeVerdict | None:
    """ "more" or "less" only where launches say so and the two intervals, which know of the sensor, do not meet."""
    if cell.energy is None or cell.energy.change is None or cell.base is None or cell.new is None:
        return None
    verdict = cell.energy.change.verdict
    one, other = cell.base.energy.interval_mj, cell.new.energy.interval_mj
    if verdict in ("more", "less") and (one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])):
        return "no difference"
    return verdict


def worst_first(cells: list[CellChange]) -> Iterator[CellChange]:
    """By what they take more; cells without a number last."""
    yield from sorted(cells, key=lambda cell: -(cell.change.value or 0.0) if cell.change else math.inf)
