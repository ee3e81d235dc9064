"""In which order the cells of a run are launched."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def launch_order(cells: Sequence[T], run: str, number: int) -> list[T]:
    """The cells in the order of one round: drawn anew for each, and the same whenever it is asked for.

    A board that gets slower or faster within a round would favour whatever comes early or late in every round, and an
    order that only rotates keeps most cells behind the same neighbour: the pairs of two equal cells would differ by the
    drift from one place to the next, in one direction. Drawn orders make noise of it, which the intervals know.

    Args:
        run: the run's id.
        number: of the round.
    """
    drawn = list(cells)
    random.Random(f"{run}/{number}").shuffle(drawn)
    return drawn
