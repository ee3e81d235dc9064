"""Models with int8 weights: samples into their inputs, steps of their outputs, and whose rounding they follow.

Runtimes round int8 sums in different ways: TFLite's own kernels in fixed point, XNNPACK in floating point, and not all
CPUs alike. A difference of one step in the middle of a model grows on its way, so that the outputs of two stock
runtimes can be several steps apart without either being wrong. Golden outputs are those of XNNPACK on the host. What is
no more than rounding apart from them passes, is said to be so, and where kernels of ours took part is held against the
same runtime without them, whose rounding they follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgesparse import wire
from edgesparse.agent import parity

# An int8 softmax or logistic has 256 values between 0 and 1, whatever the model.
PROBABILITY_STEP = 1 / 256
# The name, beside golden outputs, of how many steps off are no more than rounding.
ROUNDING = "rounding"
# Behind a note on csr.
AS_WITHOUT_CSR = ", as this runtime does without csr"


def is_quantised(interpreter: Any) -> bool:
    """Whether the model has int8 tensors with a scale: its weights at least."""
    return any(
        each["dtype"] == np.int8 and len(each["quantization_parameters"]["scales"])
        for each in interpreter.get_tensor_details()
    )


def as_input(array: Any, detail: dict[str, Any]) -> Any:
    """One sample as an input of a model takes it: floats are quantised where the input is.

    Args:
        array: of the input's shape.
        detail: the interpreter's, of the input.
    """
    dtype, scales = np.dtype(detail["dtype"]), detail["quantization_parameters"]["scales"]
    if dtype.kind not in "iu" or array.dtype.kind != "f" or not len(scales):
        return array
    limits = np.iinfo(dtype)
    # In float64, so that it comes out alike on every machine.
    steps = np.round(array.astype(np.float64) / float(scales[0])) + int(
        detail["quantization_parameters"]["zero_points"][0]
    )
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def output_steps(interpreter: Any) -> list[float | None]:
    """The quantisation step of each output, in the output's unit: 1 for integers, the scale of what a DEQUANTIZE reads;
    None for an output that float operators computed."""
    operators = interpreter._get_ops_details()  # public nowhere, the same in every runtime
    details = {each["index"]: each for each in interpreter.get_tensor_details()}

    def step(index: int) -> float | None:
        if np.dtype(details[index]["dtype"]).kind in "iu":
            return 1.0
        maker = next((each for each in operators if index in each["outputs"] and each["op_name"] != "DELEGATE"), None)
        if maker is None or maker["op_name"] not in ("DEQUANTIZE", "SOFTMAX", "LOGISTIC", "RESHAPE"):
            return None
        before = int(maker["inputs"][0])
        if maker["op_name"] == "DEQUANTIZE":
            scales = details[before]["quantization_parameters"]["scales"]
            return float(scales[0]) if len(scales) else None
        found = step(before)
        return found if found is None or maker["op_name"] == "RESHAPE" else PROBABILITY_STEP

    return [step(detail["index"]) for detail in interpreter.get_output_details()]


def judge(
    outputs: Sequence[Any],
    golden: Sequence[Any],
    steps: Sequence[float | None],
    backend: str,
    stock: Callable[[str], Sequence[Any]],
    rounding: float = 0.0,
) -> dict[str, Any]:
    """The gate's verdict on a quantised model, as `parity.compare`, and `note`: what rounds otherwise, "" if nothing.

    Args:
        outputs: the model's.
        golden: XNNPACK's on the host.
        steps: of `output_steps`.
        backend: that gave the outputs.
        stock: the model's outputs under a stock backend of the same runtime, on this machine.
        rounding: so many steps off are no more than that, where zeros have made the outputs so small that a signal to
            noise ratio no longer tells.
    """
    verdict = parity.compare(outputs, golden, steps)
    if verdict["ok"]:
        return {**verdict, "note": ""}
    if verdict["max_abs_error"] is None or not parity.within_rounding(outputs, golden, steps, rounding):
        return {**verdict, "note": ""}
    passed = {**verdict, "ok": True, "reason": ""}
    otherwise = f"rounds otherwise than XNNPACK on the host: {_apart(verdict)}"
    if backend != wire.CSR:
        return {**passed, "note": otherwise}
    here = parity.compare(outputs, stock(wire.XNNPACK), steps)
    if here["ok"]:
        return {**passed, "note": otherwise + AS_WITHOUT_CSR}
    return {**here, "reason": f"against this runtime without csr, {here['reason']}", "note": ""}


def _apart(verdict: dict[str, Any]) -> str:
    if "steps" in verdict:
        return f"up to {verdict['steps']} steps in {100 * verdict['share']:.2g} % of the outputs"
    return f"up to {verdict['max_abs_error']:.2g}"
