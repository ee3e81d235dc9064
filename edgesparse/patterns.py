"""Patterns of zeros, and the masks that give a kernel one: the only place that knows geometry.

Every array here is outputs-first: a Dense kernel is (outputs, inputs), a Conv2D kernel (outputs, height, width, inputs); each
place (height, width) of a convolution is a *tap*. `from_keras` and `to_keras` convert Keras's outputs-last kernels.

A mask is chosen among *units*: single weights, blocks or whole filters. The weakest go first; among equals the one that comes
first in the array. The strongest unit of each output (of each R outputs, for blocks) is never pruned, so that no output
channel loses everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgesparse.errors import ModelError, RecipeError

Mask: TypeAlias = NDArray[np.bool_]

PATTERNS_THAT_EXIST = (
    "Patterns are: unstructured; block RxC (R outputs by C inputs, as in block 4x1); N:M (N non-zeros in M inputs, as in 2:4); "
    "filter."
)


@dataclass(frozen=True)
class Unstructured:
    """Any single weight may be zero (S. Han et al., "Learning both Weights and Connections", 2015)."""

    def __str__(self) -> str:
        return "unstructured"


@dataclass(frozen=True)
class Block:
    """`rows` consecutive outputs by `cols` consecutive inputs of one tap are zero together, or not at all.

    Source: S. Narang et al., "Block-Sparse Recurrent Neural Networks", 2017. Blocks lie on a grid that starts at output 0 and
    input 0; where they do not divide the kernel, those at its edges are smaller.
    """

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise RecipeError(
                f'Pattern "{self}" has a side of {min(self.rows, self.cols)}; a block is at least 1 output by 1 input.',
                hint="Write block RxC with R outputs and C inputs, as in block 4x1.",
            )

    def __str__(self) -> str:
        return f"block {self.rows}x{self.cols}"


@dataclass(frozen=True)
class NM:
    """At most `n` non-zeros in each group of `m` consecutive inputs of one output and tap, groups starting at input 0.

    Source: A. Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise RecipeError(
                f'Pattern "{self}" keeps no weight at all; N:M keeps N non-zeros in M inputs, and N is at least 1.',
                hint="For example 2:4.",
            )
        if self.n >= self.m:
            found = f"would keep {self.n} of {self.m} weights" if self.n > self.m else f"keeps all {self.m} weights"
            turned = f" Did you mean {self.m}:{self.n}?" if self.n > self.m else ""
            raise RecipeError(
                f'Pattern "{self}" {found}; N:M keeps N non-zeros in M inputs, and N is smaller than M.',
                hint=f"For example 2:4.{turned}",
            )

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


@dataclass(frozen=True)
class Filter:
    """Whole output channels are zero (H. Li et al., "Pruning Filters for Efficient ConvNets", 2017)."""

    def __str__(self) -> str:
        return "filter"


Pattern: TypeAlias = Unstructured | Block | NM | Filter


def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` names; `str` of it gives the same text.

    Raises:
        RecipeError: no such pattern, or one with impossible numbers.
    """
    pattern: Pattern | None = None
    if text == "unstructured":
        pattern = Unstructured()
    elif text == "filter":
        pattern = Filter()
    elif block := re.fullmatch(r"block ([0-9]{1,9})x([0-9]{1,9})", text):
        pattern = Block(int(block[1]), int(block[2]))
    elif ratio := re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text):
        pattern = NM(int(ratio[1]), int(ratio[2]))
    if pattern is None or str(pattern) != text:  # "block 04x1" is written block 4x1
        raise RecipeError(f'There is no pattern "{text}".', hint=PATTERNS_THAT_EXIST)
    return pattern


def from_keras(kernel: NDArray[Any]) -> NDArray[Any]:
    """Outputs-first copy of a Keras kernel: (in, out) → (out, in), (height, width, in, out) → (out, height, width, in)."""
    return np.ascontiguousarray(np.moveaxis(kernel, -1, 0))


def to_keras(array: NDArray[Any]) -> NDArray[Any]:
    """Outputs-last copy of an outputs-first array; undoes `from_keras`."""
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


def mask(weights: NDArray[Any], pattern: Pattern, sparsity: float | None) -> Mask:
    """Choose the weights to keep by magnitude.

    - unstructured: round(sparsity x weights) are pruned, by |w|.
    - block: round(sparsity x blocks) are pruned, by mean |w|; the smaller blocks at the edges count as one block each.
    - N:M: each group of M inputs keeps its N largest |w|; a last group of only r inputs keeps ceil(r x N / M).
    - filter: round(sparsity x outputs) are pruned, by L2 norm; one output at least stays.

    These numbers are met exactly unless too few units are left when each output has its strongest; then just those stay. Choosing
    again from pruned weights gives the same mask: mask(w * mask(w)) == mask(w). Whether the pattern suits the shape is
    `misfit`'s question; here any shape is taken.

    Args:
        weights: outputs-first, at least (outputs, inputs), not empty.
        sparsity: share of units to prune, 0 <= sparsity < 1; not used by N:M, which may have None.

    Returns:
        True where a weight is kept, same shape.

    Raises:
        ModelError: no weights, or some that are not finite.
        RecipeError: the sparsity is out of range.
    """
    magnitudes = _magnitudes(weights)
    if isinstance(pattern, NM):
        return _strongest_of_groups(magnitudes, pattern)
    if sparsity is None or not 0 <= sparsity < 1:
        raise RecipeError(
            f"Pattern {pattern} was given sparsity {sparsity}; expected a number from 0 up to, but not including, 1.",
            hint="0.8 prunes 80 % of the weights.",
        )
    scores = _scores(magnitudes, pattern)
    pruned = _weakest(scores, ~_best(scores), round(sparsity * scores.size))
    return _expand(~pruned, magnitudes.shape, pattern)


def keep_outputs_alive(weights: NDArray[Any], mask: Mask, pattern: Pattern) -> Mask:
    """Repair a mask that prunes whole output channels: each gets back its strongest unit, and the weakest unit that another
    output can spare goes instead, as long as there is one. For `filter` that is the pattern, so only a mask that prunes every
    output is repaired.

    A block of which the mask keeps any weight counts as kept, and is returned whole. An N:M mask is not made to fit N:M.

    Args:
        weights: outputs-first; decides which unit is strongest.
        mask: True where a weight is kept, same shape.

    Raises:
        ModelError: a repair is needed, and there are no weights or some that are not finite.
    """
    kept = _kept_units(mask, pattern)
    dead = ~kept.any(axis=1)
    if dead.any():
        scores = _scores(_magnitudes(weights), pattern)
        kept[dead] = _best(scores)[dead]
        # A pruned unit's score must not make it the best of its output: among the kept ones, one is left to each output.
        spare = kept & ~_best(np.where(kept, scores, -1))
        kept &= ~_weakest(scores, spare, int(dead.sum()))
    return _expand(kept, mask.shape, pattern)


def misfit(shape: tuple[int, ...], pattern: Pattern) -> str | None:
    """Why a kernel of this outputs-first shape cannot take this pattern, as a clause; None if it can (ragged edges can)."""
    if len(shape) < 2 or 0 in shape:
        return f"its shape {shape} is not that of a kernel"
    outputs, inputs, taps = shape[0], shape[-1], prod(shape[1:-1])
    match pattern:
        case Block(rows=rows, cols=cols):
            if outputs < rows:
                return f"{pattern} spans {rows} outputs and the layer has {outputs}"
            if inputs < cols:
                return f"{pattern} spans {cols} inputs and the layer has {inputs}"
            if inputs == cols and taps == 1:
                return f"a {pattern} spans all {inputs} inputs, and pruning it would zero whole outputs"
        case NM(m=m) if inputs < m:
            return f"{pattern} needs {m} inputs and the layer has {inputs}"
        case Unstructured() if inputs * taps == 1:
            return "each output has a single weight, and pruning it would zero the output"
        case Filter() if outputs == 1:
            return "it has a single output, and pruning it would zero the layer"
    return None


def density(array: NDArray[Any]) -> float:
    """Share of non-zeros, 0..1; 1 for an empty array."""
    return float(np.count_nonzero(array) / array.size) if array.size else 1.0


def conforms(array: NDArray[Any], pattern: Pattern) -> bool:
    """Whether the zeros of a mask, or of outputs-first weights, have this shape, whatever their number.

    Blocks and filters are all zero or without a zero: a kept block in which training left one weight at exactly 0 does not
    conform, though its mask does. An N:M group, the last, shorter one too, has at most N non-zeros.
    """
    nonzero = array != 0
    if isinstance(pattern, NM):
        counts = np.add.reduceat(nonzero, np.arange(0, array.shape[-1], pattern.m), axis=-1, dtype=np.int64)
        return bool((counts <= pattern.n).all())
    return np.array_equal(_expand(_kept_units(nonzero, pattern), array.shape, pattern), nonzero)


def _magnitudes(weights: NDArray[Any]) -> NDArray[Any]:
    """|w| as float32, or float64 where float32 could merge two weights."""
    if weights.ndim < 2 or weights.size == 0:
        raise ModelError(f"Expected a kernel of outputs by inputs; found an array of shape {weights.shape}.")
    if weights.dtype not in (np.float32, np.float64):
        weights = weights.astype(np.float32 if weights.dtype in (np.float16, np.bool_) else np.float64)
    magnitudes: NDArray[Any] = np.abs(weights)
    finite = np.isfinite(magnitudes)
    if not finite.all():
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ModelError(
            f"A kernel of shape {weights.shape} (outputs first) has {int((~finite).sum())} weights that are not finite; "
            f"the first is {weights[place]} at {place}.",
            hint="The training that made it diverged; train it again with a lower learning rate.",
        )
    return magnitudes


def _scores(magnitudes: NDArray[Any], pattern: Pattern) -> NDArray[Any]:
    """The strength of each unit, as (groups, units): each group keeps at least one unit.

    A group is an output; for blocks R outputs; for filters, where outputs are the units, the whole kernel.
    """
    outputs = magnitudes.shape[0]
    match pattern:
        case Block(rows=rows, cols=cols):
            kernel = magnitudes.reshape(outputs, -1, magnitudes.shape[-1])
            row_starts, col_starts = _starts(kernel.shape, pattern)
            sums = (
                np.add.reduceat(kernel, row_starts, axis=0, dtype=np.float64) if rows > 1 else kernel.astype(np.float64)
            )
            sums = np.add.reduceat(sums, col_starts, axis=2) if cols > 1 else sums
            sizes = np.diff(row_starts, append=outputs)[:, None, None] * np.diff(col_starts, append=kernel.shape[2])
            return np.asarray(sums / sizes).reshape(len(row_starts), -1)
        case Filter():
            return np.linalg.norm(magnitudes.reshape(outputs, -1).astype(np.float64), axis=1)[None, :]
        case _:
            return magnitudes.reshape(outputs, -1)


def _kept_units(mask: Mask, pattern: Pattern) -> Mask:
    """Units of which any weight is kept, as (groups, units)."""
    match pattern:
        case Block():
            kernel = mask.reshape(mask.shape[0], -1, mask.shape[-1])
            row_starts, col_starts = _starts(kernel.shape, pattern)
            kept = np.logical_or.reduceat(np.logical_or.reduceat(kernel, row_starts, axis=0), col_starts, axis=2)
            return kept.reshape(len(row_starts), -1)
        case Filter():
            return mask.reshape(mask.shape[0], -1).any(axis=1)[None, :]
        case _:
            return mask.reshape(mask.shape[0], -1).copy()


def _expand(kept: Mask, shape: tuple[int, ...], pattern: Pattern) -> Mask:
    """Units as (groups, units) → weights of `shape`."""
    outputs, inputs = shape[0], shape[-1]
    match pattern:
        case Block(rows=rows, cols=cols):
            blocks = kept.reshape(len(kept), prod(shape[1:-1]), -1)
            return blocks.repeat(rows, axis=0)[:outputs].repeat(cols, axis=2)[:, :, :inputs].reshape(shape)
        case Filter():
            return np.broadcast_to(kept.reshape(outputs, *[1] * (len(shape) - 1)), shape).copy()
        case _:
            return kept.reshape(shape)


def _starts(shape: tuple[int, ...], block: Block) -> tuple[NDArray[Any], NDArray[Any]]:
    """First output of each row of blocks, first input of each column of blocks."""
    return np.arange(0, shape[0], block.rows), np.arange(0, shape[-1], block.cols)


def _best(scores: NDArray[Any]) -> Mask:
    """The strongest unit of each group; the last among equals, as `_weakest` takes the first."""
    best = np.zeros(scores.shape, dtype=np.bool_)
    last = scores.shape[1] - 1 - scores[:, ::-1].argmax(axis=1)
    best[np.arange(len(scores)), last] = True
    return best


def _weakest(scores: NDArray[Any], among: Mask, count: int) -> Mask:
    """The `count` weakest units of `among`, the first among equals; all of them if there are fewer."""
    candidates = np.flatnonzero(among)
    if 0 < count < len(candidates):
        values = scores.ravel()[candidates]
        threshold = np.partition(values, count - 1)[count - 1]
        below = values < threshold
        tied = np.flatnonzero(values == threshold)[: count - int(below.sum())]
        candidates = np.concatenate([candidates[below], candidates[tied]])
    chosen = np.zeros(scores.shape, dtype=np.bool_)
    if count > 0:
        chosen.flat[candidates] = True
    return chosen


def _strongest_of_groups(magnitudes: NDArray[Any], pattern: NM) -> Mask:
    kept = np.empty(magnitudes.shape, dtype=np.bool_)
    whole = magnitudes.shape[-1] // pattern.m * pattern.m
    tail = magnitudes.shape[-1] - whole
    groups = magnitudes[..., :whole].reshape(-1, pattern.m)
    kept[..., :whole] = _strongest(groups, pattern.n).reshape(*magnitudes.shape[:-1], whole)
    kept[..., whole:] = _strongest(magnitudes[..., whole:], -(-tail * pattern.n // pattern.m))
    return kept


def _strongest(magnitudes: NDArray[Any], count: int) -> Mask:
    """The `count` largest along the last axis, the last among equals."""
    order = np.argsort(magnitudes, axis=-1, kind="stable")
    chosen = np.zeros(magnitudes.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order[..., magnitudes.shape[-1] - count :], True, axis=-1)
    return chosen
