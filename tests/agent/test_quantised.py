"""Int8 models on the board: what goes into them, and whose rounding passes the gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgesparse.agent.quantised import as_input, judge

GENERATOR = np.random.default_rng(0)
GOLDEN = [GENERATOR.integers(-128, 128, (8, 1, 10)).astype(np.int8)]


def detail(dtype: type, scale: float | None, zero_point: int = 0) -> dict[str, Any]:
    scales = np.array([] if scale is None else [scale], np.float32)
    return {"dtype": dtype, "quantization_parameters": {"scales": scales, "zero_points": np.array([zero_point])}}


def test_floats_are_quantised_for_an_int8_input_and_clipped() -> None:
    found = as_input(np.array([-9.0, 0.0, 0.5, 0.74, 9.0], np.float32), detail(np.int8, 0.5, -3))
    assert found.dtype == np.int8
    assert found.tolist() == [-21, -3, -2, -2, 15]
    assert as_input(np.array([-1e6, 1e6], np.float32), detail(np.int8, 0.5)).tolist() == [-128, 127]


@pytest.mark.parametrize(
    ("array", "of"),
    [
        (np.zeros(3, np.float32), detail(np.float32, None)),
        (np.zeros(3, np.int8), detail(np.int8, 0.5)),
        (np.zeros(3, np.int32), detail(np.int32, None)),
    ],
)
def test_what_fits_is_left_alone(array: Any, of: dict[str, Any]) -> None:
    assert as_input(array, of) is array


def moved(steps: int, count: int = 20) -> list[Any]:
    """The golden outputs, some of them so many steps away."""
    outputs = GOLDEN[0].astype(np.int16)
    outputs.reshape(-1)[:count] += np.where(outputs.reshape(-1)[:count] > 0, -steps, steps).astype(np.int16)
    return [outputs.astype(np.int8)]


def never(backend: str) -> list[Any]:
    raise AssertionError(f"{backend} was asked")


def test_the_golden_outputs_pass_without_a_word() -> None:
    verdict = judge(GOLDEN, GOLDEN, [1.0], "csr", never)
    assert (verdict["ok"], verdict["note"], verdict["steps"], verdict["share"]) == (True, "", 0, 0.0)


def test_a_stock_runtime_that_rounds_otherwise_passes_and_it_is_said() -> None:
    verdict = judge(moved(2), GOLDEN, [1.0], "builtin", never)
    assert verdict["ok"]
    assert verdict["note"] == "rounds otherwise than XNNPACK on the host: up to 2 steps in 25 % of the outputs"


@pytest.mark.parametrize("backend", ["builtin", "xnnpack", "csr"])
def test_what_is_more_than_rounding_fails_everywhere(backend: str) -> None:
    verdict = judge([np.roll(GOLDEN[0], 1)], GOLDEN, [1.0], backend, never)
    assert not verdict["ok"]
    assert "steps off" in verdict["reason"]
    assert not judge([GOLDEN[0][:4]], GOLDEN, [1.0], backend, never)["ok"]


def test_what_is_known_of_rounding_is_allowed_and_it_is_said() -> None:
    varied = [np.repeat(np.array([-40, 40], np.int8), 20)]
    far = [varied[0] + np.int8(9)]
    assert not judge(far, varied, [1.0], "builtin", never, rounding=8)["ok"]
    allowed = judge(far, varied, [1.0], "builtin", never, rounding=9)
    assert allowed["ok"] and allowed["note"].startswith("rounds otherwise than XNNPACK on the host: up to 9 steps")
    assert not judge(far, varied, [1.0], "csr", lambda backend: varied, rounding=9)["ok"]


def test_csr_has_to_give_the_bits_of_its_runtime_without_it() -> None:
    def stock(backend: str) -> list[Any]:
        return moved(2) if backend == "xnnpack" else moved(3)

    same = judge(moved(2), GOLDEN, [1.0], "csr", stock)
    assert same["ok"]
    assert same["note"].endswith("as this runtime does without csr")
    other = judge(moved(1), GOLDEN, [1.0], "csr", stock)
    assert not other["ok"]
    assert other["reason"].startswith("against this runtime without csr, output 0 is up to 1 steps off")


def test_dynamic_ranges_count_as_floats() -> None:
    golden = [GENERATOR.normal(size=(8, 10)).astype(np.float32)]
    verdict = judge([golden[0] + np.float32(0.01)], golden, [None], "builtin", never)
    assert verdict["ok"]
    assert verdict["note"] == "rounds otherwise than XNNPACK on the host: up to 0.01"
    assert not judge([golden[0] + 1], golden, [None], "builtin", never)["ok"]
