"""Who is next: a line in which owners take turns, and how long it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from edgesparse import wire

# What a fresh worker takes before its first sample, about: Python, the runtime, the model, its check.
LAUNCH_OVERHEAD_S = 1.5


class InLine(Protocol):
    """What waits."""

    @property
    def owner(self) -> str:
        """Whose it is."""


_Entry = TypeVar("_Entry", bound=InLine)


def in_turn(waiting: Sequence[_Entry], turns: Mapping[str, int]) -> list[_Entry]:
    """The waiting in the order in which they will be served: whoever has had no turn for longest is next, and among one
    owner's it is the order of arrival. Ten runs of one owner so never stand before another's first.

    Args:
        waiting: in the order of arrival.
        turns: by owner, the number of the last turn that he had; those without had none.
    """
    left, last, ordered = list(waiting), dict(turns), []
    latest = max(last.values(), default=0)
    while left:
        entry = min(left, key=lambda each: last.get(each.owner, 0))  # the first of equals
        left.remove(entry)
        ordered.append(entry)
        latest += 1
        last[entry.owner] = latest
    return ordered


def expected_s(spec: wire.RunSpec) -> float:
    """How many seconds a run will take at most, by what its spec allows."""
    if spec.sustained_s and spec.max_rounds:
        return len(spec.cells) * (2 * LAUNCH_OVERHEAD_S + spec.sustained_s)
    launch_s = spec.launch_s + spec.warmup_s + LAUNCH_OVERHEAD_S
    return len(spec.cells) * LAUNCH_OVERHEAD_S + min(spec.time_limit_s, spec.max_rounds * len(spec.cells) * launch_s)


def remaining_s(spec: wire.RunSpec, elapsed_s: float, launches: int) -> float:
    """How many seconds a run that is being measured will still take at most, by the pace that it has had."""
    if spec.sustained_s:
        return max(0.0, expected_s(spec) - elapsed_s)
    whole_s = elapsed_s / launches * spec.max_rounds * len(spec.cells) if launches else expected_s(spec)
    limit_s = len(spec.cells) * LAUNCH_OVERHEAD_S + spec.time_limit_s
    return max(0.0, min(whole_s, limit_s) - elapsed_s)
