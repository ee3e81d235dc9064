from __future__ import annotations

import numpy as np
import pytest

from edgesparse.agent.parity import compare, within_rounding

GOLDEN = [np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)]


def test_the_same_outputs_pass() -> None:
    assert compare(GOLDEN, GOLDEN) == {
        "ok": True,
        "max_abs_error": 0.0,
        "tolerance": pytest.approx(2.1e-4),
        "reason": "",
    }


def test_another_order_of_summation_passes_and_a_wrong_value_does_not() -> None:
    assert compare([GOLDEN[0] + np.float32(1e-4)], GOLDEN)["ok"]
    wrong = GOLDEN[0].copy()
    wrong[1, 2] += 0.01
    verdict = compare([wrong], GOLDEN)
    assert not verdict["ok"]
    assert "off by 0.01" in verdict["reason"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(value: float) -> None:
    outputs = [GOLDEN[0].copy()]
    outputs[0][0, 0] = value
    assert "not finite" in compare(outputs, GOLDEN)["reason"]


def test_shape_type_and_number_of_outputs_count() -> None:
    assert "shape" in compare([GOLDEN[0].T], GOLDEN)["reason"]
    assert "type" in compare([GOLDEN[0].astype(np.float64)], GOLDEN)["reason"]
    assert "0 outputs" in compare([], GOLDEN)["reason"]


def apart(count: int, steps: int = 1) -> list[np.ndarray]:  # type: ignore[type-arg]
    """4000 int8 outputs, of which some are so many steps from 0."""
    outputs = np.zeros(4000, np.int8)
    outputs[:count] = steps
    return [outputs]


def test_quantised_outputs_may_be_one_step_apart_in_a_thousandth() -> None:
    assert compare(apart(0), apart(0)) == {
        "ok": True, "max_abs_error": 0.0, "tolerance": 1.0, "reason": "", "steps": 0, "share": 0.0,
    }  # fmt: skip
    few = compare(apart(3), apart(0))
    assert (few["ok"], few["steps"], few["share"]) == (True, 1, 0.00075)
    many = compare(apart(4), apart(0))
    assert not many["ok"]
    assert "up to 1 steps off in 0.1 % of its values where 1 step in under 0.1 % is allowed" in many["reason"]
    far = compare(apart(1, steps=2), apart(0))
    assert not far["ok"]
    assert far["steps"] == 2
    assert not compare([np.array([-127], np.int8)], [np.array([-128], np.int8)])["ok"]  # one of one


def test_floats_of_an_int8_model_count_in_its_steps() -> None:
    golden, step = [np.zeros(4000, np.float32)], 0.05
    near, far = [golden[0].copy()], [golden[0].copy()]
    near[0][:3], far[0][:3] = step, 2 * step
    assert compare(near, golden, [step])["ok"]
    assert not compare(near, golden)["ok"]
    assert compare(far, golden, [step])["steps"] == 2


def test_rounding_is_a_step_or_a_tenth_of_what_the_golden_outputs_vary() -> None:
    spread = float(GOLDEN[0].std())
    assert within_rounding([GOLDEN[0] + 0.09 * spread], GOLDEN, [0.001])
    assert not within_rounding([GOLDEN[0] + 0.11 * spread], GOLDEN, [0.001])
    assert within_rounding([GOLDEN[0] + 0.11 * spread], GOLDEN, [0.2])
    flat = [np.full(9, 64, np.int8)]
    assert within_rounding([flat[0] + np.int8(1)], flat, [1.0])
    assert not within_rounding([flat[0] + np.int8(2)], flat, [1.0])
    assert within_rounding([np.full(9, 0.503)], [np.full(9, 0.5)], [None])
    assert not within_rounding([np.full(9, 0.51)], [np.full(9, 0.5)], [None])
    assert within_rounding([np.zeros(0)], [np.zeros(0)], [None])


def test_the_worst_of_several_outputs_decides() -> None:
    verdict = compare([GOLDEN[0], GOLDEN[0] + 1], [GOLDEN[0], GOLDEN[0]])
    assert not verdict["ok"]
    assert "output 1" in verdict["reason"]
