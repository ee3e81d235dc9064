"""The parity gate: are these outputs the golden ones? The same rule on the host and on the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ABSOLUTE_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-4
INTEGER_STEPS = 1


def compare(outputs: Sequence[Any], golden: Sequence[Any]) -> dict[str, Any]:
    """Hold a model's outputs against the golden ones.

    Float outputs pass when the largest absolute difference is at most 1e-5 + 1e-4 times the largest golden magnitude of
    that output (kernels sum in another order; nothing else may differ) and everything is finite. Integer outputs pass
    when no element is more than one quantisation step away.

    Args:
        outputs: one array per model output.
        golden: the expected arrays, same shapes and dtypes.

    Returns:
        `ok`, `max_abs_error` and `tolerance` (of the output that is worst relative to its tolerance; None where nothing
        could be compared), and `reason` ("" when ok).
    """
    if len(outputs) != len(golden):
        return _failed(f"{len(outputs)} outputs where {len(golden)} were expected")
    worst_error, worst_tolerance, worst_index = 0.0, ABSOLUTE_TOLERANCE, 0
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
        tolerance = (
            ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * float(np.abs(wide_expected).max())
            if np.issubdtype(got.dtype, np.floating)
            else float(INTEGER_STEPS)
        )
        error = float(np.abs(wide - wide_expected).max())
        if error / tolerance >= worst_error / worst_tolerance:
            worst_error, worst_tolerance, worst_index = error, tolerance, index
    ok = worst_error <= worst_tolerance
    reason = "" if ok else f"output {worst_index} is off by {worst_error:.3g} where {worst_tolerance:.3g} is allowed"
    return {"ok": ok, "max_abs_error": worst_error, "tolerance": worst_tolerance, "reason": reason}


def _failed(reason: str) -> dict[str, Any]:
    return {"ok": False, "max_abs_error": None, "tolerance": None, "reason": reason}
