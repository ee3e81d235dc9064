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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_pass_where_the_golden_ones_are_the_same(value: float) -> None:
    golden, off = [GOLDEN[0].copy()], [GOLDEN[0].copy()]
    golden[0][1, 1] = value
    assert compare(golden, golden)["ok"]
    assert within_rounding(golden, golden, [0.1])
    assert "1 values that are not finite" in compare(off, golden)["reason"]
    assert not within_rounding(off, golden, [0.1])
    off[0][1, 1] = -1.0 if np.isnan(value) else -value
    assert not compare(off, golden)["ok"]
    off[0][1, 1], off[0][2, 2] = value, off[0][2, 2] + 0.01
    verdict = compare(off, golden)  # the others are compared as ever
    assert (verdict["ok"], verdict["max_abs_error"]) == (False, pytest.approx(0.01, rel=1e-3))
    off[0][2, 2], off[0][0, 0] = golden[0][2, 2], value
    assert not compare(off, golden)["ok"]


def test_without_a_finite_value_there_is_nothing_to_compare() -> None:
    nothing = [np.full((2, 3), np.nan, np.float32)]
    assert "none of the golden values is finite" in compare(nothing, nothing)["reason"]


def test_a_mask_value_allows_the_others_no_error() -> None:
    golden = [GOLDEN[0].copy()]
    golden[0][0] = np.finfo(np.float32).min
    assert compare(golden, golden)["tolerance"] == pytest.approx(2.1e-4)
    off = [golden[0].copy()]
    off[0][2, 2] += 0.01
    assert "off by 0.01" in compare(off, golden)["reason"]
    near, far = [golden[0].copy()], [golden[0].copy()]
    near[0][0, 0] *= np.float32(0.99995)
    far[0][0, 0] *= np.float32(0.999)
    assert compare(near, golden)["ok"]
    assert "1 values beyond 1e+30" in compare(far, golden)["reason"]
    assert "12 values beyond 1e+30" in compare([np.full((3, 4), 1e38, np.float32)], GOLDEN)["reason"]
    assert not compare([np.full(2, 1e308)], [np.full(2, -1e308)])["ok"]


def test_both_parts_of_complex_outputs_count() -> None:
    golden = [np.array([1 + 1j, 2 + 2j], np.complex64)]
    assert compare(golden, golden)["tolerance"] == pytest.approx(2.1e-4)
    assert compare([golden[0] + np.complex64(1e-4j)], golden)["ok"]
    assert "off by 8" in compare([np.array([1 + 9j, 2 + 2j], np.complex64)], golden)["reason"]
    assert "not finite" in compare([np.array([complex(1, np.nan), 2 + 2j], np.complex64)], golden)["reason"]


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


def test_so_many_steps_off_as_are_allowed_are_within_rounding_where_a_step_is_known() -> None:
    golden = np.array([-30, -10, 10, 30] * 3, np.int8)
    off = golden + np.int8(5)  # 13 dB
    assert within_rounding([off], [golden], [1.0], allowed=5)
    assert not within_rounding([off], [golden], [1.0], allowed=4)
    tenth = np.float32(0.1)
    for most in range(3, 12):  # also where a step is not exact
        far = [(golden + np.int8(most)) * tenth]
        assert within_rounding(far, [golden * tenth], [float(tenth)], allowed=most) is (most <= 11)
        assert not within_rounding(far, [golden * tenth], [None], allowed=most)
    assert not within_rounding([golden + np.int8(12)], [golden], [1.0], allowed=100)  # more than half of what they vary
    assert not within_rounding([np.zeros_like(golden)], [golden], [1.0], allowed=100)
