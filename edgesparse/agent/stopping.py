"""When to stop: are the medians known well enough?"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median

CONFIDENCE = 0.95


def interval_share(launch_medians: Sequence[float]) -> float | None:
    """Half the width of the distribution-free interval of the median over launches, as a share of that median.

    The interval lies between order statistics (the sign test turned round), so it supposes nothing about the noise. It
    needs 6 launches for 95 %; fewer give None.
    """
    count = len(launch_medians)
    rank, outside = 0, 0.0
    while rank < count // 2:
        outside += comb(count, rank) / 2.0**count
        if 2 * outside > 1 - CONFIDENCE:
            break
        rank += 1
    if rank == 0:
        return None
    ordered = sorted(launch_medians)
    return (ordered[count - rank] - ordered[rank - 1]) / 2 / median(ordered)
