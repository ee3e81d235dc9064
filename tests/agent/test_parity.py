from __future__ import annotations

import numpy as np
import pytest

from edgesparse.agent.parity import compare

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


def test_integers_may_be_one_step_apart() -> None:
    golden = [np.array([-128, 0, 127], dtype=np.int8)]
    assert compare([np.array([-127, 0, 126], dtype=np.int8)], golden)["ok"]
    assert not compare([np.array([-126, 0, 127], dtype=np.int8)], golden)["ok"]


def test_the_worst_of_several_outputs_decides() -> None:
    verdict = compare([GOLDEN[0], GOLDEN[0] + 1], [GOLDEN[0], GOLDEN[0]])
    assert not verdict["ok"]
    assert "output 1" in verdict["reason"]
