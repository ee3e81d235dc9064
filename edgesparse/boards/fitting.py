"""Which board type a board is, by what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesparse.boards.facts import BoardFacts
from edgesparse.boards.types import LOCAL_TYPE, BoardType


@dataclass(frozen=True)
class Fit:
    """A type, and why it is this one; None where none fits, and why."""

    type: str | None
    reason: str


def fitting_type(facts: BoardFacts, types: Sequence[BoardType]) -> Fit:
    """The type whose models name the board's; else the one that its architecture leaves over; and what of it the board
    then lacks."""
    candidates = [each for each in types if each.name != LOCAL_TYPE and each.arch == facts.arch]
    named = [each for each in candidates if any(model in facts.model for model in each.models)]
    general = [each for each in candidates if not each.models]
    same_cpu = [each for each in candidates if each.cpu == facts.cpu and not each.emulated]
    for found, why in (
        (named, f"its model is {facts.model!r}"),
        (general, f"it is {facts.arch}"),
        (same_cpu, f"its CPU is {facts.cpu}, although its model is {facts.model or 'unknown'!r}"),
    ):
        if found:
            lacking = [isa for isa in found[0].isa if isa not in facts.isa] if facts.isa else []
            but = f"; but it lacks {', '.join(lacking)}" if lacking else ""
            return Fit(found[0].name, why + but)
    known = ", ".join(sorted({each.arch for each in types}))
    return Fit(None, f"no board type is {facts.arch} with the CPU {facts.cpu}; the types' architectures are {known}")
