"""Which order of input channels keeps most magnitude under N:4, on numpy arrays.

In N:4 the N largest of four neighbouring inputs stay. Which channels are neighbours is free wherever what comes before
can hand them over in another order, so four strong ones need not share a group.

Method: groups of four are taken in pairs, and of the 35 ways to split the eight channels of a pair into two groups the
best is taken, exactly; sweeps over all pairs, in a seeded random order, until one gains nothing or the budget is used.
That is the exhaustive search in windows of two groups of Pool and Yu, Channel Permutations for N:M Sparsity, 2021,
which only ever goes up; an order better than the one found may exist.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]

GROUP = 4

# Magnitudes that are compared in all, over the pairs that are tried: two seconds or so.
BUDGET = 100_000_000

# Of the eight channels of a pair, by place: which four can form a group, and the two that make a split.
_QUARTETS = np.array(list(combinations(range(2 * GROUP), GROUP)))
_SPLITS = [(n, len(_QUARTETS) - 1 - n) for n in range(len(_QUARTETS) // 2)]


def kept_magnitude(magnitudes: Array, kept: int) -> float:
    """The sum of what N:4 keeps of (rows, channels), whole groups of channels, in the order given."""
    groups = magnitudes.reshape(len(magnitudes), -1, GROUP)
    return float(np.partition(groups, GROUP - kept, axis=2)[..., GROUP - kept :].sum(dtype=np.float64))


def best_order(magnitudes: Array, kept: int, *, seed: int = 0, budget: int = BUDGET) -> Order:
    """An order of the channels under which N:4 keeps at least as much as in the order given.

    Args:
        magnitudes: of all weights that read the channels, (rows, channels), whole groups of channels.
        kept: N, 1 to 3.
        seed: of the order in which pairs are tried.
        budget: how many magnitudes to compare at most.

    Returns:
        Channel numbers in their new order, (channels,).
    """
    channels = magnitudes.shape[1]
    order = np.arange(channels)
    groups = channels // GROUP
    pairs = np.array(list(combinations(range(groups), 2)))
    per_pair = max(1, len(magnitudes) * _QUARTETS.size)
    generator = np.random.default_rng(seed)
    left = budget // per_pair
    gained = True
    while gained and left > 0 and len(pairs):
        gained = False
        for one, other in generator.permutation(pairs)[:left]:
            left -= 1
            places = np.concatenate([np.arange(GROUP) + GROUP * one, np.arange(GROUP) + GROUP * other])
            quartets = magnitudes[:, order[places][_QUARTETS]]  # (rows, 70, 4)
            sums = np.partition(quartets, GROUP - kept, axis=2)[..., GROUP - kept :].sum(axis=(0, 2), dtype=np.float64)
            totals = np.array([sums[first] + sums[second] for first, second in _SPLITS])
            best = int(totals.argmax())
            if totals[best] > totals[0] * (1 + 1e-9):  # the first split is the one that is there
                first, second = _SPLITS[best]
                order[places] = order[places][np.concatenate([_QUARTETS[first], _QUARTETS[second]])]
                gained = True
    return order
