"""What a lottery found: every accuracy of every seed, and what they say together."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Literal

import msgspec

RESULT_FILE = "lottery.json"

Arm = Literal["ticket", "new weights", "random mask"]
ARMS: tuple[Arm, ...] = ("ticket", "new weights", "random mask")


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One network: top-1 on the held-out samples, 0..1. `sparsity` is the share of zeros in its pruned layers; the
    dense one, round 0, is its own ticket."""

    seed: int
    round: int
    sparsity: float
    arm: Arm
    accuracy: float


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One round over all seeds: mean, least and greatest accuracy by arm, and in how many seeds the ticket was more
    accurate than both controls (None for the dense networks)."""

    round: int
    sparsity: float
    accuracy: dict[str, tuple[float, float, float]]
    wins: int | None


class Lottery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`lottery.json`. `key` is the hash of all that went in."""

    version: int = 1
    key: str
    model: str
    pattern: str
    sparsity: float
    rounds: int
    rewind_epoch: int
    epochs: int
    seeds: int
    samples: int
    rows: list[Row]

    @property
    def levels(self) -> list[Level]:
        """A summary of each round."""
        return [self._level(number) for number in range(self.rounds + 1)]

    @property
    def best_seed(self) -> int:
        """The seed with the most accurate ticket of the last round; of equals the first."""
        last = [row for row in self.rows if row.round == self.rounds and row.arm == "ticket"]
        return max(last, key=lambda row: (row.accuracy, -row.seed)).seed

    @property
    def verdict(self) -> str:
        """What the last round says, in a sentence."""
        last = self.levels[-1]
        ticket = last.accuracy["ticket"][0]
        others = max(last.accuracy[arm][0] for arm in ARMS[1:])
        where = "initial weights" if not self.rewind_epoch else f"weights after epoch {self.rewind_epoch}"
        return (
            f"At {last.sparsity:.0%} zeros the ticket, rewound to its {where}, is more accurate than both controls in "
            f"{last.wins} of {self.seeds} seeds: {ticket:.1%} on average, the better control {others:.1%}."
        )

    def _level(self, number: int) -> Level:
        rows = [row for row in self.rows if row.round == number]
        found = {arm: [row.accuracy for row in rows if row.arm == arm] for arm in ARMS}
        by_seed = {(row.seed, row.arm): row.accuracy for row in rows}
        wins = sum(
            by_seed[seed, "ticket"] > max(by_seed[seed, arm] for arm in ARMS[1:]) for seed in range(self.seeds)
        ) if number else None  # fmt: skip
        return Level(
            round=number,
            sparsity=rows[0].sparsity,
            accuracy={arm: (mean(each), min(each), max(each)) for arm, each in found.items() if each},
            wins=wins,
        )


def read_lottery(out: Path, key: str | None = None) -> Lottery | None:
    """The result in a directory; None where there is none, or one of another key than asked for."""
    try:
        found = msgspec.json.decode((out / RESULT_FILE).read_bytes(), type=Lottery)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if key in (None, found.key) else None
