"""Sparsity patterns: from weights to masks, on numpy arrays. The only place that knows their geometry.

Kernels come outputs first: Dense `(outputs, inputs)`, Conv2D `(outputs, kernel height, kernel width, inputs)`, which is
TFLite's order. `from_keras` and `to_keras` convert. A mask has its kernel's shape; True is kept.

Magnitude pruning: Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015. Blocks: Narang
et al., Block-Sparse Recurrent Neural Networks, 2017. N:M: Mishra et al., Accelerating Sparse Deep Neural Networks,
2021. Filters: Li et al., Pruning Filters for Efficient ConvNets, 2017.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgesparse.errors import ModelError, RecipeError

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unstructured:
    """Single weights."""

    def __str__(self) -> str:
        return "unstructured"


@dataclass(frozen=True)
class Block:
    """`rows` consecutive outputs by `cols` consecutive inputs, zeroed together; in a convolution, within one tap."""

    rows: int
    cols: int

    def __str__(self) -> str:
        return f"block {self.rows}x{self.cols}"


@dataclass(frozen=True)
class NM:
    """At most `n` non-zeros in `m` consecutive inputs of one output (and tap)."""

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


@dataclass(frozen=True)
class Filter:
    """Whole outputs."""

    def __str__(self) -> str:
        return "filter"


Pattern = Unstructured | Block | NM | Filter

# Weights whose scores are computed at once.
_PART = 1 << 20
# The bits of a float16 that are all set where it is not finite.
_HALF_EXPONENT = np.uint16(0x7C00)
# Magnitudes that int8 has.
_LEVELS = 129
# Outputs of fewer int8 weights than that have them scored one by one: a count of each magnitude takes as much.
_COUNTED = 8 * _LEVELS
# Groups of more are sorted to find their largest.
_COMPARED = 8
_BLOCK = re.compile(r"(?:block\s+)?([0-9]{1,9})\s*x\s*([0-9]{1,9})")
_NM = re.compile(r"([0-9]{1,9})\s*:\s*([0-9]{1,9})")
_EXIST = (
    "There are: unstructured, block RxC (outputs x inputs, such as block 16x1), "
    "N:M (non-zeros in M, such as 2:4), filter."
)


def parse_pattern(text: str) -> Pattern:
    """The pattern that a text such as "block 16x1", or 16x1 for short, names.

    Raises:
        RecipeError: no such pattern, or one that is impossible: an empty block, N:M without 0 < N < M.
    """
    text = text.strip()
    if text == "unstructured":
        return Unstructured()
    if text == "filter":
        return Filter()
    if match := _BLOCK.fullmatch(text):
        rows, cols = int(match[1]), int(match[2])
        if rows < 1 or cols < 1:
            raise RecipeError(f"Pattern {text!r} has an empty block; both sides must be at least 1.", hint=_EXIST)
        if rows == cols == 1:
            raise RecipeError("Pattern 'block 1x1' is single weights.", hint="Write unstructured.")
        return Block(rows, cols)
    if match := _NM.fullmatch(text):
        n, m = int(match[1]), int(match[2])
        if not 0 < n < m:
            hint = f"N is the number of non-zeros in M inputs. {_EXIST}"
            raise RecipeError(f"Pattern {text!r} is impossible: N:M needs 0 < N < M.", hint=hint)
        return NM(n, m)
    raise RecipeError(f"There is no pattern {text!r}.", hint=_EXIST)


def from_keras(kernel: Array) -> Array:
    """A Keras kernel, (inputs, outputs) or (height, width, inputs, outputs), outputs first."""
    return kernel.T if kernel.ndim == 2 else kernel.transpose(3, 0, 1, 2)


def to_keras(kernel: Array) -> Array:
    """The inverse of `from_keras`."""
    return kernel.T if kernel.ndim == 2 else kernel.transpose(1, 2, 3, 0)


def misfit(shape: tuple[int, ...], pattern: Pattern) -> str | None:
    """Why a kernel of this shape, outputs first, cannot take the pattern; None when it can.

    Ragged edges are no misfit, except for N:M, whose hardware knows whole groups alone. An output, or a row of blocks,
    that is a single unit is one: that unit is never pruned.
    """
    if len(shape) not in (2, 4):
        return f"a kernel of {len(shape)} dimensions, where Dense has 2 and Conv2D has 4"
    if 0 in shape:
        return f"a kernel of shape {shape} has no weights"
    outputs, inputs, taps = shape[0], shape[-1], prod(shape[1:-1])
    if isinstance(pattern, Block):
        if outputs < pattern.rows:
            return f"{pattern} needs {pattern.rows} outputs, the layer has {outputs}"
        if inputs < pattern.cols:
            return f"{pattern} needs {pattern.cols} inputs, the layer has {inputs}"
    elif isinstance(pattern, NM) and inputs % pattern.m:
        return f"{pattern} needs a multiple of {pattern.m} inputs, the layer has {inputs}"
    elif isinstance(pattern, Filter) and outputs < 2:
        return "the layer has a single output"
    if isinstance(pattern, Unstructured | Block) and taps * inputs <= _side(pattern)[1]:
        return f"{pattern} would prune all that an output has ({taps * inputs} in all), or nothing"
    return None


def mask(weights: Array, pattern: Pattern, sparsity: float | None, scale: Array | None = None) -> Mask:
    """Which weights to keep: the strongest, in the shape of the pattern.

    Unstructured zeroes round(sparsity * size) weights, a block pattern round(sparsity * blocks) blocks by mean
    magnitude (ragged ones at the edges like any other), filter round(sparsity * outputs) outputs by L2 norm, but never
    the last one; of equals, those that come first are kept. N:M keeps the N largest of each M inputs.

    Except for filter, no output loses everything: an output that would keeps its best weight or block, and the weakest
    of an output that has more than one goes instead, so the count stays as it is while it can.

    Args:
        weights: a kernel, outputs first.
        pattern: the shape of the zeros.
        sparsity: share of zeros, 0 <= sparsity < 1; None, or ignored, for N:M.
        scale: what the weights of each output are multiplied by, (outputs,): those of quantised weights; None for 1.

    Raises:
        ModelError: weights that are not finite. RecipeError: sparsity out of range, or a pattern that does not fit.
    """
    _check_finite(weights)
    if reason := misfit(weights.shape, pattern):
        raise RecipeError(f"The pattern does not fit: {reason}.", hint="Exclude the layer, or take another pattern.")
    if isinstance(pattern, NM):  # an output's scale changes no order among its own weights
        return np.concatenate([_n_of_m(weights[some], pattern) for some in _parts(weights, pattern)])
    if sparsity is None or not 0 <= sparsity < 1:
        raise RecipeError(f"Expected a sparsity of at least 0 and below 1 for {pattern}, found {sparsity}.")
    if isinstance(pattern, Unstructured):
        return _single(weights, round(sparsity * weights.size), scale)
    scores = _scores(weights, pattern, scale)
    zeros = round(sparsity * scores.size)
    if isinstance(pattern, Filter):
        # Without any output the layer passes nothing on, and the model is dead.
        return _spread(_strongest(scores, min(zeros, len(scores) - 1)), weights.shape, pattern)
    return _spread(_revive(scores, _strongest(scores, zeros)), weights.shape, pattern)


def global_masks(
    kernels: Mapping[str, Array], pattern: Pattern, sparsity: float, scales: Mapping[str, Array | None] | None = None
) -> dict[str, Mask]:
    """Which weights of several kernels to keep: one threshold over all of them, so that weak layers lose more.

    As `mask`, of all units together; a filter by the root mean square of its weights, for the norm of a large one is
    larger. Each kernel keeps its outputs alive by itself.

    Args:
        kernels: by name, outputs first.
        pattern: not N:M, whose share is fixed in every group.
        sparsity: share of zeros over all units, 0 <= sparsity < 1.
        scales: as of `mask`, by name.

    Raises:
        ModelError: weights that are not finite. RecipeError: sparsity out of range, or a pattern that does not fit.
    """
    scores = {}
    for name, weights in kernels.items():
        _check_finite(weights)
        if reason := "its share is fixed" if isinstance(pattern, NM) else misfit(weights.shape, pattern):
            raise RecipeError(
                f"{name}: the pattern does not fit: {reason}.", hint="Exclude it, or take another pattern."
            )
        scores[name] = _scores(weights, pattern, None if scales is None else scales[name]).astype(np.float64)
        if isinstance(pattern, Filter):
            scores[name] /= np.sqrt(prod(weights.shape[1:]))
    if not 0 <= sparsity < 1:
        raise RecipeError(f"Expected a sparsity of at least 0 and below 1 for {pattern}, found {sparsity}.")
    joined = np.concatenate([each.reshape(-1) for each in scores.values()])
    kept = _strongest(joined, round(sparsity * joined.size))
    masks, start = {}, 0
    for name, each in scores.items():
        own = kept[start : start + each.size].reshape(each.shape)
        start += each.size
        if isinstance(pattern, Filter):
            own[each.argmax()] |= not own.any()
        else:
            own = _revive(each, own)
        masks[name] = _spread(own, kernels[name].shape, pattern)
    return masks


def keep_outputs_alive(weights: Array, mask: Mask, pattern: Pattern) -> Mask:
    """The mask, changed where an output loses everything: it keeps its best unit, and a weakest one elsewhere goes.

    A block with any weight kept counts as kept, and comes back whole. For filter, zeroed outputs are the pattern: only
    a mask without any output left is changed, to keep the best. An N:M mask that is not N:M is not made so.

    Args:
        weights: the kernel before masking, outputs first.
        mask: whoever chose it; True is kept.
        pattern: what its units are.

    Raises:
        ModelError: the mask needs a repair, and weights are not finite.
    """
    kept = _any_in_unit(mask, pattern)
    if isinstance(pattern, Filter):
        if not kept.any():
            _check_finite(weights)
            kept[_scores(weights, pattern).argmax()] = True
    elif not kept.any(axis=1).all():
        _check_finite(weights)
        kept = _revive(_scores(weights, pattern), kept)
    return _spread(kept, mask.shape, pattern)


def density(array: Array) -> float:
    """The share of non-zeros."""
    return float(np.count_nonzero(array) / array.size) if array.size else 0.0


def units(shape: tuple[int, ...], pattern: Pattern) -> int:
    """How many units, blocks or filters, a kernel of this shape, outputs first, has; single weights else."""
    if isinstance(pattern, Filter):
        return shape[0]
    rows, cols = _side(pattern)
    return -(-shape[0] // rows) * prod(shape[1:-1]) * -(-shape[-1] // cols)


def zero_units(array: Array, pattern: Pattern) -> float:
    """The share of units, blocks or filters, of a kernel, outputs first, that are all zero; of single weights else."""
    if not array.size:
        return 0.0
    kept = _any_in_unit(array != 0, pattern)
    return float(1 - np.count_nonzero(kept) / kept.size)


def conforms(array: Array, pattern: Pattern) -> bool:
    """Whether the zeros of a kernel or mask, outputs first, have the pattern, however many they are.

    Block and filter: no zero outside of an all-zero unit, so a weight that training left at exactly 0 within a kept
    block does not conform, though its mask does. N:M: whole groups, and none too full.
    """
    nonzero = array != 0
    if isinstance(pattern, NM):
        return array.shape[-1] % pattern.m == 0 and not (_groups(nonzero, pattern).sum(axis=-1) > pattern.n).any()
    if isinstance(pattern, Unstructured):
        return True
    return bool(np.array_equal(_spread(_any_in_unit(nonzero, pattern), array.shape, pattern), nonzero))


def first_violation(array: Array, pattern: Pattern) -> str | None:
    """Where the zeros of a kernel or mask, outputs first, first break the pattern; None where they have it."""
    nonzero = array != 0
    if isinstance(pattern, NM):
        if left := array.shape[-1] % pattern.m:
            return f"{left} inputs are left over from groups of {pattern.m}"
        counts = _groups(nonzero, pattern).sum(axis=-1)
        if not (counts > pattern.n).any():
            return None
        *place, group = (int(each) for each in np.argwhere(counts > pattern.n)[0])
        first, found = group * pattern.m, int(counts[(*place, group)])
        last = first + pattern.m - 1
        return f"{_place(place)}, inputs {first} to {last}: {found} non-zeros, {pattern.n} allowed"
    if isinstance(pattern, Unstructured):
        return None
    broken = _spread(_any_in_unit(nonzero, pattern), array.shape, pattern) != nonzero
    if not broken.any():
        return None
    *place, last = (int(each) for each in np.argwhere(broken)[0])
    unit = "output" if isinstance(pattern, Filter) else "block"
    return f"{_place(place)}, input {last}: a zero in {unit} that is not all zero"


def _place(place: Sequence[int]) -> str:
    output, *taps = place
    return f"output {output}" + (f", tap {'x'.join(map(str, taps))}" if taps else "")


# -- units: what a pattern zeroes together -----------------------------------------------------------------------------


def _side(pattern: Pattern) -> tuple[int, int]:
    return (pattern.rows, pattern.cols) if isinstance(pattern, Block) else (1, 1)


def _check_finite(weights: Array) -> None:
    if weights.dtype == np.float16:  # of which numpy's own way takes five times as long
        finite = weights.view(np.uint16) & _HALF_EXPONENT != _HALF_EXPONENT
    else:
        finite = np.isfinite(weights)
    if not finite.all():
        place = tuple(int(index) for index in np.argwhere(~finite)[0])
        raise ModelError(
            f"Expected finite weights, found {np.count_nonzero(~finite)} that are NaN or infinity in a kernel of shape "
            f"{weights.shape} (outputs first); the first is {weights[place]} at {place}.",
            hint="Training diverged; train again with a lower learning rate.",
        )


def _magnitudes(weights: Array) -> Array:
    # As floats that hold every value exactly: |int8 -128| overflows.
    kind = np.float32 if weights.dtype in (np.float16, np.float32, np.int8) else np.float64
    magnitudes: Array = np.abs(weights.astype(kind, copy=False))
    return magnitudes


def _units(array: Array, pattern: Pattern) -> Array:
    """The array cut into units, zero-padded at ragged edges: (row groups, rows, taps, column groups, columns)."""
    rows, cols = _side(pattern)
    flat = array.reshape(array.shape[0], -1, array.shape[-1])
    padded = np.pad(flat, ((0, -flat.shape[0] % rows), (0, 0), (0, -flat.shape[2] % cols)))
    return padded.reshape(padded.shape[0] // rows, rows, padded.shape[1], padded.shape[2] // cols, cols)


def _parts(weights: Array, pattern: Pattern) -> list[slice]:
    """Slices of the outputs, whole rows of units each: nothing computed of a large kernel takes its size again."""
    rows = _side(pattern)[0]
    step = rows * max(1, _PART * len(weights) // max(rows * weights.size, 1))
    return [slice(start, start + step) for start in range(0, len(weights), step)]


def _scores(weights: Array, pattern: Pattern, scale: Array | None = None) -> Array:
    """How strong each unit is: (row groups, units in a row). Mean magnitude; the L2 norm of a filter."""
    return np.concatenate([_scores_of(weights, some, pattern, scale) for some in _parts(weights, pattern)])


def _scores_of(weights: Array, some: slice, pattern: Pattern, scale: Array | None) -> Array:
    magnitudes = _magnitudes(weights[some])
    if scale is not None:
        magnitudes = magnitudes * scale[some].reshape(-1, *[1] * (weights.ndim - 1)).astype(magnitudes.dtype)
    if isinstance(pattern, Filter):
        flat = magnitudes.reshape(len(magnitudes), -1).astype(np.float64)
        norms: Array = np.linalg.norm(flat, axis=1, keepdims=True)
        return norms
    if not isinstance(pattern, Block):
        return magnitudes.reshape(len(magnitudes), -1)
    means: Array = _joined(np.add, _units(magnitudes, pattern), np.float64) / _sizes(magnitudes.shape, pattern)
    return means.reshape(len(means), -1)


def _sizes(shape: tuple[int, ...], pattern: Block) -> Array:
    """How many weights each block has, fewer at ragged edges: (row groups, 1, column groups)."""
    rows, cols = (
        np.minimum(side, size - np.arange(0, size, side))
        for side, size in ((pattern.rows, shape[0]), (pattern.cols, shape[-1]))
    )
    sizes: Array = np.multiply.outer(rows, cols)[:, None, :]
    return sizes


def _joined(join: np.ufunc, units: Array, kind: Any) -> Array:
    """Each of `_units` as one value: (row groups, taps, column groups). Along the short last axis numpy's own way would
    take ten times as long."""
    rows = join.reduce(units, axis=1, dtype=kind)
    joined: Array = reduce(join, (rows[..., column] for column in range(rows.shape[-1])))
    return joined


def _any_in_unit(nonzero: Mask, pattern: Pattern) -> Mask:
    if isinstance(pattern, Block):
        kept = _joined(np.logical_or, _units(nonzero, pattern), bool)
        return kept.reshape(len(kept), -1)
    flat = nonzero.reshape(len(nonzero), -1)
    return flat.any(axis=1, keepdims=True) if isinstance(pattern, Filter) else flat


def _spread(kept: Mask, shape: tuple[int, ...], pattern: Pattern) -> Mask:
    """From units back to weights."""
    if not isinstance(pattern, Block):
        return np.broadcast_to(kept, (shape[0], prod(shape[1:]))).reshape(shape).copy()
    taps = prod(shape[1:-1])
    units = kept.reshape(kept.shape[0], taps, -1)
    # Columns first, of fewer rows: to repeat each value takes long, and whole rows not.
    wide = units.repeat(pattern.cols, axis=2) if pattern.cols > 1 else units
    whole = wide.repeat(pattern.rows, axis=0) if pattern.rows > 1 else wide
    return whole[: shape[0], :, : shape[-1]].reshape(shape)


def _strongest(scores: Array, zeros: int) -> Mask:
    """All but the `zeros` weakest; of equals the first are kept."""
    kept = np.ones(scores.size, bool)
    if zeros:
        flat = scores.ravel()
        threshold = np.partition(flat, zeros - 1)[zeros - 1]
        kept[flat < threshold] = False
        equals = np.flatnonzero(flat == threshold)
        kept[equals[len(equals) - (zeros - int(scores.size - kept.sum())) :]] = False
    return kept.reshape(scores.shape)


def _single(weights: Array, zeros: int, scale: Array | None) -> Mask:
    """The mask of single weights: `_strongest` and `_revive`, without all scores of 32 bits or less at once."""
    if weights.dtype == np.int8 and prod(weights.shape[1:]) >= _COUNTED:
        kept = _strongest_levels(weights, zeros, scale)
    elif _magnitudes(weights[:0]).dtype == np.float32:
        kept = _strongest_in_parts(weights, zeros, scale)
    else:
        kept = _strongest(_scores(weights, Unstructured(), scale), zeros)
    _revive_in_parts(weights, scale, kept)
    return kept.reshape(weights.shape)


def _strongest_in_parts(weights: Array, zeros: int, scale: Array | None) -> Mask:
    """`_strongest` of single weights: (outputs, weights of one)."""
    slices = _parts(weights, Unstructured())
    parts = [(some, partial(_scores_of, weights, some, Unstructured(), scale)) for some in slices]
    kept = np.ones((len(weights), prod(weights.shape[1:])), bool)
    if zeros:
        threshold, below = _smallest([scores for _, scores in parts], zeros)
        equals_to_go = zeros - below
        for some, scores in reversed(parts):
            found = scores()
            kept[some] = found >= threshold
            if equals_to_go:
                equals = np.flatnonzero(found == threshold)[-equals_to_go:]
                kept[some].reshape(-1)[equals] = False
                equals_to_go -= len(equals)
    return kept


def _strongest_levels(weights: Array, zeros: int, scale: Array | None) -> Mask:
    """The same of int8 weights, whose 129 magnitudes are scored once for each output and not for each weight."""
    kept = np.ones((len(weights), prod(weights.shape[1:])), bool)
    if not zeros:
        return kept
    slices = _parts(weights, Unstructured())
    counts = np.concatenate([_count_levels(_levels(weights[some])) for some in slices])
    scores = np.tile(np.arange(_LEVELS, dtype=np.float32), (len(weights), 1))
    if scale is not None:
        scores *= scale.astype(np.float32)[:, None]
    threshold, below = _smallest([lambda: scores], zeros, counts)
    # Scores rise with the magnitude: from `least` on an output's weights are not below the threshold, from `sure` on
    # above it.
    least = (scores < threshold).sum(axis=1, keepdims=True).astype(np.uint8)
    sure = (scores <= threshold).sum(axis=1, keepdims=True).astype(np.uint8)
    equals_to_go = zeros - below
    for some in reversed(slices):
        levels = _levels(weights[some])
        kept[some] = levels >= least[some]
        if equals_to_go:
            equals = np.flatnonzero(kept[some] & (levels < sure[some]))[-equals_to_go:]
            kept[some].reshape(-1)[equals] = False
            equals_to_go -= len(equals)
    return kept


def _levels(weights: Array) -> Array:
    """The magnitudes of int8 weights, 0 to 128: (outputs, weights of one)."""
    levels: Array = np.abs(weights).view(np.uint8)  # of -128 that is -128, whose bits are 128
    return levels.reshape(len(weights), -1)


def _count_levels(levels: Array) -> Array:
    """How often each output has each magnitude: (outputs, _LEVELS)."""
    rows = np.arange(len(levels), dtype=np.int64)[:, None] * _LEVELS
    return np.bincount((levels + rows).reshape(-1), minlength=rows.size * _LEVELS).reshape(-1, _LEVELS)


def _smallest(parts: Sequence[Callable[[], Array]], count: int, often: Array | None = None) -> tuple[Any, int]:
    """The `count`-th smallest of the scores in all parts, from 1 on, and how many are smaller.

    Counted by the upper, then by the lower half of their bits: float32 that are not negative are ordered like integers.

    Args:
        often: how often there is each of the scores, where there is one part; None for once.
    """
    above = below = 0
    for shift in (16, 0):
        counts = np.zeros(1 << 16, np.int64)
        for part in parts:
            bits, weights = part().reshape(-1).view(np.uint32), None if often is None else often.reshape(-1)
            if shift == 0:
                some = bits >> 16 == above
                bits, weights = bits[some] & 0xFFFF, None if weights is None else weights[some]
            counts += np.bincount(bits >> shift, weights, minlength=1 << 16).astype(np.int64, copy=False)
        totals = np.cumsum(counts)
        place = int(np.searchsorted(totals, count - below))
        below += int(totals[place] - counts[place])
        above = above << 16 | place
    return np.uint32(above).view(np.float32), below


def _revive(scores: Array, kept: Mask) -> Mask:
    """No row without a unit: see `mask`."""
    dead = ~kept.any(axis=1)
    if not dead.any():
        return kept
    kept = kept.copy()
    kept[dead, scores[dead].argmax(axis=1)] = True
    best = np.where(kept, scores, -1.0).argmax(axis=1)
    spare = kept.copy()
    spare[np.arange(len(kept)), best] = False
    candidates = np.flatnonzero(spare)
    stay = _strongest(scores.ravel()[candidates], min(int(dead.sum()), candidates.size))
    kept.ravel()[candidates[~stay]] = False
    return kept


def _revive_in_parts(weights: Array, scale: Array | None, kept: Mask) -> None:
    """`_revive` of single weights, in place, without all scores at once.

    Args:
        kept: what `_strongest` gave: an output of which anything is kept keeps its best.
    """
    dead = ~kept.any(axis=1)
    to_go = int(dead.sum())
    if not to_go:
        return
    weakest, places, limit = np.empty(0), np.empty(0, np.int64), np.inf
    for some in _parts(weights, Unstructured()):
        scores, own = _scores_of(weights, some, Unstructured(), scale), kept[some]
        best = (np.arange(len(scores)), scores.argmax(axis=1))
        own[best] = True
        spare = np.where(own, scores, np.inf)
        spare[best] = np.inf
        flat = spare.reshape(-1)
        if limit == np.inf and flat.size > to_go:
            limit = float(np.partition(flat, to_go - 1)[to_go - 1])
        found = np.flatnonzero((flat <= limit) & (flat != np.inf))
        weakest = np.concatenate([weakest, flat[found]])
        places = np.concatenate([places, found + some.start * kept.shape[1]])
        order = np.lexsort((-places, weakest))[:to_go]  # of equals the last go
        weakest, places = weakest[order], places[order]
        if len(weakest) == to_go:
            limit = float(weakest[-1])
    kept.reshape(-1)[places] = False


# -- N:M ---------------------------------------------------------------------------------------------------------------


def _groups(array: Array, pattern: NM) -> Array:
    """Groups of M along the inputs: (…, groups, M)."""
    return array.reshape(*array.shape[:-1], -1, pattern.m)


def _n_of_m(weights: Array, pattern: NM) -> Mask:
    ordered = _levels(weights) if weights.dtype == np.int8 else _magnitudes(weights)
    return _largest(ordered.reshape(*weights.shape[:-1], -1, pattern.m), pattern.n).reshape(weights.shape)


def _largest(groups: Array, count: int) -> Mask:
    """The `count` largest along the last axis; of equals the first."""
    size = groups.shape[-1]
    if size <= _COMPARED:
        columns = [np.ascontiguousarray(groups[..., column]) for column in range(size)]
        larger = np.zeros((size, *groups.shape[:-1]), np.uint8)  # how many others come before each
        for one in range(size):
            for other in range(one + 1, size):
                first = columns[one] >= columns[other]
                larger[other] += first
                larger[one] += ~first
        return np.moveaxis(larger < count, 0, -1)
    kept = np.zeros(groups.shape, bool)
    signed = groups.astype(np.result_type(groups, np.int16), copy=False)
    order = np.argsort(-signed, axis=-1, kind="stable")[..., :count]
    np.put_along_axis(kept, order, True, axis=-1)
    return kept
