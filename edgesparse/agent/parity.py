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


def compare(
    outputs: Sequence[Any], golden: Sequence[Any], steps: Sequence[float | None] | None = None
) -> dict[str, Any]:
    """Hold a model's outputs against the golden ones.

    Float outputs pass when the largest absolute difference is at most 1e-5 + 1e-4 times the largest golden magnitude of
    that output (kernels sum in another order; nothing else may differ) and everything is finite. Quantised outputs pass
    when they are equal, or at most one quantisation step apart in under 0.1 % of the elements.

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
        wide, wide_expected = got.astype(np.float64), expected.astype(np.float64)
        if not np.isfinite(wide).all():
            return _failed(f"output {index} holds {int((~np.isfinite(wide)).sum())} values that are not finite")
        step = steps[index] if steps else None
        if step is None and not np.issubdtype(got.dtype, np.floating):
            step = 1.0
        apart = np.abs(wide - wide_expected)
        found.append(_floats(index, apart, wide_expected) if step is None else _quantised(index, apart, step))
    if not found:
        return {"ok": True, "max_abs_error": 0.0, "tolerance": ABSOLUTE_TOLERANCE, "reason": ""}
    return max(found, key=lambda verdict: (not verdict["ok"], verdict["max_abs_error"] / verdict["tolerance"]))


def within_rounding(outputs: Sequence[Any], golden: Sequence[Any], steps: Sequence[float | None]) -> bool:
    """Whether outputs of the right shapes are no further from the golden ones than int8 sums that are rounded in
    another way can make them.

    The root mean square of the difference is at most one quantisation step, or a tenth of how far the golden outputs
    vary themselves, which is a signal to noise ratio of 20 dB; where a step is not known, a 128th of the largest golden
    magnitude stands for it.
    """
    for got, expected, step in zip(outputs, golden, steps):
        wide, wide_expected = np.asarray(got).astype(np.float64), np.asarray(expected).astype(np.float64)
        if wide.size == 0:
            continue
        one = float(np.abs(wide_expected).max()) / 128 if step is None else step
        apart = float(np.sqrt(((wide - wide_expected) ** 2).mean()))
        if apart > max(one, ROUNDING_NOISE * float(wide_expected.std())):
            return False
    return True


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
