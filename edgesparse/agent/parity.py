"""The parity gate: are these outputs the golden ones? The same rule on the host and on the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ABSOLUTE_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-4
STEPS = 1
STEPS_SHARE = 1e-3
ROUNDING_NOISE = 0.1
MOST_NOISE = 0.5
# Beyond it a value is a mark, such as the -3.4e38 of an attention mask, and says nothing of how large the others are.
MARK = 1e30


def compare(
    outputs: Sequence[Any], golden: Sequence[Any], steps: Sequence[float | None] | None = None
) -> dict[str, Any]:
    """Hold a model's outputs against the golden ones.

    Float outputs pass when the largest absolute difference is at most 1e-5 + 1e-4 times the largest golden magnitude of
    that output (kernels sum in another order; nothing else may differ); complex ones count as two floats each.
    Quantised outputs pass when they are equal, or at most one quantisation step apart in under 0.1 % of the elements.
    NaN and infinities have to be where the golden ones are, and equal, and an output without a finite golden value
    fails. Magnitudes above 1e30 are held against the golden value in the same place, at most 1e-4 of it apart, and
    allow the others nothing.

    Args:
        outputs: one array per model output.
        golden: the expected arrays, same shapes and dtypes.
        steps: the size of a quantisation step of each output, in its own unit; None for one that is not quantised. For
            integers it is 1 where nothing is given.

    Returns:
        `ok`, `max_abs_error` and `tolerance` (of the output that is worst relative to its tolerance; None where nothing
        could be compared), and `reason` ("" when ok); of quantised outputs also `steps`, the largest distance, and
        `share`, how many elements are not equal.
    """
    if len(outputs) != len(golden):
        return _failed(f"{len(outputs)} outputs where {len(golden)} were expected")
    found = []
    for index, (got, expected) in enumerate(zip(outputs, golden)):
        got, expected = np.asarray(got), np.asarray(expected)
        if got.shape != expected.shape:
            return _failed(f"output {index} has shape {list(got.shape)} where {list(expected.shape)} was expected")
        if got.dtype != expected.dtype:
            return _failed(f"output {index} has type {got.dtype} where {expected.dtype} was expected")
        if got.size == 0:
            continue
        wide, wide_expected, reason = _ordinary(_wide(got), _wide(expected))
        if reason:
            return _failed(f"output {index} holds {reason}")
        step = steps[index] if steps else None
        if step is None and got.dtype.kind not in "fc":
            step = 1.0
        apart = np.abs(wide - wide_expected)
        found.append(_floats(index, apart, wide_expected) if step is None else _quantised(index, apart, step))
    if not found:
        return {"ok": True, "max_abs_error": 0.0, "tolerance": ABSOLUTE_TOLERANCE, "reason": ""}
    return max(found, key=lambda verdict: (not verdict["ok"], verdict["max_abs_error"] / verdict["tolerance"]))


def within_rounding(
    outputs: Sequence[Any], golden: Sequence[Any], steps: Sequence[float | None], allowed: float = 0.0
) -> bool:
    """Whether outputs of the right shapes are no further from the golden ones than int8 sums that are rounded in
    another way can make them.

    The root mean square of the difference is at most one quantisation step, or a tenth of how far the golden outputs
    vary themselves, which is a signal to noise ratio of 20 dB; where a step is not known, a 128th of the largest golden
    magnitude stands for it.

    Args:
        allowed: so many steps off are allowed too, where a step is known, while the difference is at most half of how
            far the golden outputs vary.
    """
    for got, expected, step in zip(outputs, golden, steps):
        got, expected = np.asarray(got), np.asarray(expected)
        if got.size == 0:
            continue
        wide, wide_expected, reason = _ordinary(_wide(got), _wide(expected))
        if reason:
            return False
        one = float(np.abs(wide_expected).max()) / 128 if step is None else step
        apart = np.abs(wide - wide_expected)
        noise, varies = float(np.sqrt((apart**2).mean())), float(wide_expected.std())
        known = step is not None and noise <= MOST_NOISE * varies and np.round(apart.max() / step) <= allowed
        if noise > max(one, ROUNDING_NOISE * varies) and not known:
            return False
    return True


def farthest(one: Any, other: Any) -> float:
    """The largest difference of two arrays of a shape, where both are finite."""
    wide, wide_other = _wide(one), _wide(other)
    finite = np.isfinite(wide) & np.isfinite(wide_other)
    return float(np.abs(wide[finite] - wide_other[finite]).max(initial=0.0))


def _wide(array: Any) -> Any:
    """As float64; complex numbers as pairs of them."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1).astype(np.float64)
    return array.astype(np.float64)


def _ordinary(wide: Any, golden: Any) -> tuple[Any, Any, str]:
    """Both with 0 in the places that are judged one by one, those of NaN, infinities and marks; and what is wrong with
    these, "" where nothing is."""
    bounds = np.array([wide.max(), -wide.min(), golden.max(), -golden.min()])
    if (bounds <= MARK).all():  # not so with a NaN
        return wide, golden, ""
    if not np.isfinite(golden).any():
        return wide, golden, "nothing to compare: none of the golden values is finite"
    odd = ~(np.isfinite(wide) & np.isfinite(golden))
    same = (wide == golden) | (np.isnan(wide) & np.isnan(golden))
    if count := int((odd & ~same).sum()):
        return wide, golden, f"{count} values that are not finite where the golden ones are, or the other way round"
    wide, golden = np.where(odd, 0.0, wide), np.where(odd, 0.0, golden)
    marks = np.maximum(np.abs(wide), np.abs(golden)) > MARK
    far = np.abs(wide / MARK - golden / MARK) > RELATIVE_TOLERANCE * np.abs(golden / MARK)
    if count := int((marks & far).sum()):
        return wide, golden, f"{count} values beyond {MARK:g} that are over {RELATIVE_TOLERANCE:.2%} off"
    return np.where(marks, 0.0, wide), np.where(marks, 0.0, golden), ""


def _floats(index: int, apart: Any, golden: Any) -> dict[str, Any]:
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * float(np.abs(golden).max())
    error = float(apart.max())
    ok = error <= tolerance
    reason = "" if ok else f"output {index} is off by {error:.3g} where {tolerance:.3g} is allowed"
    return {"ok": ok, "max_abs_error": error, "tolerance": tolerance, "reason": reason}


def _quantised(index: int, apart: Any, step: float) -> dict[str, Any]:
    in_steps = np.round(apart / step)
    most, share = int(in_steps.max()), float((in_steps > 0).mean())
    ok = most == 0 or (most <= STEPS and share < STEPS_SHARE)
    allowed = f"{STEPS} step in under {100 * STEPS_SHARE:g} % is allowed"
    reason = (
        "" if ok else f"output {index} is up to {most} steps off in {100 * share:.2g} % of its values where {allowed}"
    )
    error, tolerance = float(apart.max()), STEPS * float(step)
    return {"ok": ok, "max_abs_error": error, "tolerance": tolerance, "reason": reason, "steps": most, "share": share}


def _failed(reason: str) -> dict[str, Any]:
    return {"ok": False, "max_abs_error": None, "tolerance": None, "reason": reason}
