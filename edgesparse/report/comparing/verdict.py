"""What a CI job makes of two runs, decided before anything is shown: every form says the same as the exit code."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["no limit", "passed", "undecided", "worse", "refused"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's word; `gate.judge` makes it.

    Attributes:
        kind: "no limit" where none was given; the job goes on with it and with "passed", and fails with the others.
        limit: how much more a cell may take, as a share; 0 without a limit.
        broken: what is not allowed: cell -> why. Without a limit it is what got worse at all.
        not_counted: cells that took more than the limit and had too few launches to tell.
        reason: why nothing may be concluded, a sentence; "" unless undecided or refused.
        hint: what to do about it.
    """

    kind: Kind
    limit: float = 0.0
    broken: dict[str, str] = {}
    not_counted: list[str] = []
    reason: str = ""
    hint: str = ""

    @property
    def fails(self) -> bool:
        """Whether the job fails."""
        return self.kind in ("undecided", "worse", "refused")

    @property
    def not_allowed(self) -> list[str]:
        """Why the limit is broken, a reason for each cell; empty without a limit."""
        return list(self.broken.values()) if self.kind != "no limit" else []


NO_LIMIT = Verdict(kind="no limit")
