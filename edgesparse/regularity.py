"""How regular the zeros of a kernel are: two measures of its mask, from 0 to 1. Pure.

Regular zeros are cheap to store and to skip, irregular ones cost less accuracy: the trade that Mao et al. examine in
Exploring the Regularity of Sparse Structure in Convolutional Neural Networks, 2017.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgesparse.patterns import Array

# Outside of the mask, where a weight has no neighbour.
_EDGE = 2


def regularity(kernel: Array) -> float:
    """How much of the doubt whether a weight is zero its left and its upper neighbour take away, 0 to 1.

    The kernel is a matrix with a row for each output and a column for each tap and input. At a place drawn at random,
    let m be whether the weight is kept, a whether its neighbour one column before is (kept, zero, or there is none) and
    b the same of the one a row above: this is I(m; a, b) / H(m) = 1 - H(m | a, b) / H(m), in Shannon's entropies, as
    counted. 0: neighbours say nothing. 1: they say all; also where all weights are zero or none is, which leaves no
    doubt.

    Source: mutual information normalised by the entropy of what is predicted (Theil's uncertainty coefficient, 1970).
    """
    kept = kernel.reshape(len(kernel), -1) != 0
    if kept.all() or not kept.any():
        return 1.0
    around = np.pad(kept.astype(np.int8), ((1, 0), (1, 0)), constant_values=_EDGE)
    context = 3 * around[1:, :-1] + around[:-1, 1:]
    counts = np.bincount((2 * context + kept).reshape(-1), minlength=18).reshape(9, 2)
    doubt = float((counts.sum(axis=1) * _entropy(counts)).sum() / kept.size)
    # Adding up in floats may leave 1e-17 below 0.
    return min(1.0, max(0.0, 1 - doubt / float(_entropy(counts.sum(axis=0, keepdims=True))[0])))


def skippable(kernel: Array, rows: int, cols: int) -> float:
    """The share of all zeros that lie in aligned blocks of `rows` outputs by `cols` inputs that are all zero, 0 to 1.

    A kernel that computes so many outputs at once can skip these and no others. 0 for a kernel without zeros. Blocks
    cut off at an edge count where what is there is all zero.
    """
    zeros = kernel.size - int(np.count_nonzero(kernel))
    if not zeros:
        return 0.0
    ends = [(0, 0)] * kernel.ndim
    ends[0], ends[-1] = (0, -len(kernel) % rows), (0, -kernel.shape[-1] % cols)
    inside = np.pad(np.ones(kernel.shape, np.int64), ends)
    padded = np.pad(kernel, ends)
    shape = (len(padded) // rows, rows, -1, padded.shape[-1] // cols, cols)
    empty = ~(padded.reshape(shape) != 0).any(axis=(1, 4))
    return float(inside.reshape(shape).sum(axis=(1, 4))[empty].sum() / zeros)


def _entropy(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of each row of counts, in bits; 0 for a row of zeros."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: npt.NDArray[np.float64] = -(shares * logs).sum(axis=1)
    return entropies
