"""Who is next, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from edgesparse import wire
from edgesparse.agent.line import expected_s, in_turn, remaining_s


@dataclass
class Waiting:
    owner: str
    number: int


def owners(waiting: str, turns: dict[str, int] | None = None) -> str:
    entries = [Waiting(owner, number) for number, owner in enumerate(waiting)]
    ordered = in_turn(entries, turns or {})
    assert sorted(entry.number for entry in ordered) == list(range(len(waiting)))
    for owner in set(waiting):
        own = [entry.number for entry in ordered if entry.owner == owner]
        assert own == sorted(own)
    return "".join(entry.owner for entry in ordered)


def test_owners_take_turns() -> None:
    assert owners("") == ""
    assert owners("aaab") == "abaa"
    assert owners("aabbcc") == "abcabc"
    assert owners("ab", {"a": 1}) == "ba"
    assert owners("abc", {"a": 2, "b": 1}) == "cba"


def spec(cells: int, rounds: int, limit_s: float) -> wire.RunSpec:
    each = [wire.Cell(f"v/xnnpack/{n}", "v", "xnnpack", n) for n in range(1, cells + 1)]
    return wire.RunSpec(
        run="r", owner="o", bundle="b", cells=each, files={}, runtime="r", runtime_version="1", max_rounds=rounds,
        time_limit_s=limit_s, launch_s=2.0, warmup_s=0.5,
    )  # fmt: skip


def test_what_a_run_takes_is_bounded_by_its_spec() -> None:
    assert expected_s(spec(2, 0, 300)) == 3.0
    assert expected_s(spec(2, 10, 300)) == 3.0 + 20 * 4.0
    assert expected_s(spec(2, 10, 30)) == 33.0


def test_what_is_left_follows_the_pace() -> None:
    short = spec(2, 10, 300)
    assert remaining_s(short, 0.0, 0) == expected_s(short)
    assert remaining_s(short, 10.0, 10) == 10.0
    assert remaining_s(short, 10.0, 1) == 190.0
    assert remaining_s(short, 20.0, 1) == 303.0 - 20.0  # it cannot take longer than its limit
    assert remaining_s(short, 500.0, 1) == 0.0
