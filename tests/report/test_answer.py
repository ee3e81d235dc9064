"""The sentence on top of a report, for every way that a run can end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse.errors import MeasurementError
from edgesparse.report.answer import Answer, answer
from edgesparse.report.export import require_no_difference
from edgesparse.report.summary import Comparison, summarise
from edgesparse.store import AGAIN, NoiseFloor
from tests.report.runs import VARIANTS, Record, Variants, fill, make_bundle, make_run

BACKENDS = ("builtin", "xnnpack", "csr")
# Sparse variants that are no faster anywhere but by what they are called.
SLOW: Variants = (VARIANTS[0], ("two-four", "2:4", None, 306_176, 0.9879, 1.0))


def compared(
    tmp_path: Path, backends: tuple[str, ...] = BACKENDS, variants: Variants = VARIANTS, **how: Any
) -> Comparison:
    return summarise(fill(make_run(tmp_path, backends=backends, variants=variants), **how))


def with_accuracy(comparison: Comparison, **accuracy: float | None) -> Comparison:
    names = {name.replace("_", "-"): value for name, value in accuracy.items()}
    variants = [
        msgspec.structs.replace(each, accuracy=names.get(each.name, each.accuracy)) for each in comparison.variants
    ]
    return msgspec.structs.replace(comparison, variants=variants)


def test_the_fastest_sparse_row_that_is_called_faster(tmp_path: Path) -> None:
    found = answer(compared(tmp_path, powered=True))
    pattern = (
        r"block-4x1-80 runs 2\.3\dx \[2\.3\d, 2\.\d\d\] as fast as dense on kitchen-pi with the csr backend, "
        r"\u22120\.5 points accuracy, \u2212\d\d % energy\."
    )
    assert found.kind == "faster" and re.fullmatch(pattern, found.text)
    assert re.fullmatch(
        r"Dense is fastest under xnnpack, 1\.2\d\d ms; block-4x1-80 runs 2\.\d\dx as fast .*", found.more
    )
    assert [each.name for each in found.facts] == ["Speed", "Accuracy", "Energy", "File"]
    assert found.facts[3].value == "\u221268 %"


def test_simulated_power_is_called_so(tmp_path: Path) -> None:
    assert "energy (simulated, not measured)." in answer(compared(tmp_path, powered=True, simulated=True)).text


def test_without_a_sensor_no_energy_is_told(tmp_path: Path) -> None:
    found = answer(compared(tmp_path))
    assert "energy" not in found.text
    assert found.facts[2].value == "not measured"


def test_threads_are_named_where_there_are_several_numbers_of_them(tmp_path: Path) -> None:
    comparison = summarise(fill(make_run(tmp_path, threads=(1, 4)), rounds=8))
    assert "with the xnnpack backend on 4 threads" in answer(comparison).text


def test_a_variant_that_costs_too_much_accuracy_is_no_answer(tmp_path: Path) -> None:
    comparison = with_accuracy(compared(tmp_path), block_4x1_80=0.90)
    assert answer(comparison).text.startswith("unstructured-80 runs")
    none_left = answer(with_accuracy(comparison, unstructured_80=0.90))
    assert none_left.kind == "not faster"
    assert "within 1.5 points of its accuracy" in none_left.text
    assert "4 faster but less accurate (block-4x1-80 under csr: 2.3" in none_left.text


# Dense int8 is 2.5 times as fast as float32 dense under csr; blocks are another 2 times as fast as that.
INT8: Variants = (
    *VARIANTS[:3],
    ("dense-int8", "dense", None, 120_000, 0.9880, 1.0),
    ("block-16x4-80-int8", "block 16x4", 0.8, 60_000, 0.9870, 1.0),
)


def quantised(tmp_path: Path, times: dict[str, float], backends: tuple[str, ...] = BACKENDS) -> Comparison:
    """With int8 variants; `times` says how many times as fast their cells are."""
    filled = fill(make_run(tmp_path, backends=backends, variants=INT8), rounds=8)
    run = make_run(tmp_path, backends=backends, variants=INT8)

    def faster(record: Record) -> Record:
        factor = times.get(record.get("cell", ""), 1.0)
        if record["type"] != "samples":
            return record
        return {**record, "latency_ns": [round(ns / factor) for ns in record["latency_ns"]]}

    run.append([faster(record) for record in filled.records()])
    comparison = summarise(run)
    variants = [
        msgspec.structs.replace(each, precision="int8" if each.name.endswith("int8") else each.precision)
        for each in comparison.variants
    ]
    return msgspec.structs.replace(comparison, variants=variants)


def test_what_int8_does_is_not_credited_to_sparsity(tmp_path: Path) -> None:
    comparison = quantised(
        tmp_path, {"dense-int8/csr/1": 2.5, "block-16x4-80-int8/csr/1": 5, "block-4x1-80/csr/1": 0.9}
    )
    found = answer(comparison)
    sentence = (
        r"block-16x4-80-int8 runs (\d\.\d\d)x \[.*?\] as fast as float32 dense and (\d\.\d\d)x "
        r"\[(\d\.\d\d), (\d\.\d\d)\] as fast as int8 dense on kitchen-pi with the csr backend, .*"
    )
    match = re.fullmatch(sentence, found.text)
    assert match, found.text
    float32, int8, low, high = map(float, match.groups())
    medians = {
        variant.name: row.launch_medians_ms
        for variant in comparison.variants
        for row in variant.backends
        if row.backend == "csr"
    }
    by_round = np.divide(medians["dense-int8"], medians["block-16x4-80-int8"])
    assert int8 == pytest.approx(float(np.median(by_round)), abs=0.006)
    assert low <= int8 <= high and float32 > 2 * int8
    assert f"{int8:.2f}x [" in found.facts[0].detail and "as int8 dense" in found.facts[0].detail
    assert found.more == "", "the fastest dense row is named already"


def test_another_dense_variant_under_the_same_backend_is_the_fastest(tmp_path: Path) -> None:
    """Float32 wins, but dense int8 is faster than what float32 is held against."""
    times = {"dense-int8/csr/1": 1.2, "block-16x4-80-int8/csr/1": 1.0}
    found = answer(quantised(tmp_path, times))
    assert found.text.startswith("block-4x1-80 runs 2.3") and "int8" not in found.text
    assert re.fullmatch(
        r"Dense is fastest as dense-int8 under csr, 0\.6\d\d ms; block-4x1-80 runs 1\.\d\dx as fast .*", found.more
    )


def test_without_dense_of_its_precision_there_it_is_held_against_float32_by_name(tmp_path: Path) -> None:
    comparison = quantised(tmp_path, {"block-16x4-80-int8/csr/1": 9})
    kept = [each for each in comparison.variants if each.name != "dense-int8"]
    text = answer(msgspec.structs.replace(comparison, variants=kept)).text
    assert "as fast as float32 dense on" in text and "int8 dense" not in text


def test_unknown_accuracy_is_said(tmp_path: Path) -> None:
    found = answer(with_accuracy(compared(tmp_path), dense=None))
    assert "accuracy" not in found.text and found.facts[1].value == "unknown"


def test_nothing_faster_says_why(tmp_path: Path) -> None:
    found = answer(compared(tmp_path, ("builtin", "xnnpack"), SLOW))
    assert found.kind == "not faster"
    assert found.text == (
        "No sparse variant is shown to run faster than dense on kitchen-pi: of 2 measurements, 2 no difference."
    )
    assert found.more == "Run dense by their backend, so that no zero was skipped: 1 under builtin, 1 under xnnpack."


def test_failures_count_among_the_reasons(tmp_path: Path) -> None:
    found = answer(compared(tmp_path, ("builtin", "xnnpack"), SLOW, parity_fails="two-four/xnnpack/1"))
    assert "1 failed (parity)" in found.text and "1 no difference" in found.text


def test_few_launches_claim_nothing(tmp_path: Path) -> None:
    assert "too few launches to tell" in answer(compared(tmp_path, ("xnnpack",), rounds=3)).text


def test_a_bundle_of_dense_alone(tmp_path: Path) -> None:
    assert "no sparse variant in this run" in answer(compared(tmp_path, variants=VARIANTS[:1])).text


@pytest.mark.parametrize("counts", [True, False])
def test_an_emulated_board_has_no_latency(tmp_path: Path, counts: bool) -> None:
    found: Answer = answer(summarise(fill(make_run(tmp_path, emulated=True, counts_instructions=counts))))
    assert "latency" in found.text + found.more and " ms" not in found.text
    if counts:
        assert "block-4x1-80 executes 51 % fewer instructions than dense on kitchen-pi" in found.text
    else:
        assert found.text.startswith("8 of 8 measurements gave the right outputs")


def test_long_launches_have_a_sentence_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, backends=("csr",), sustained_s=40)
    found = answer(summarise(fill(run, powered=True, sustained_slices=40)))
    assert found.kind == "sustained" and found.text.startswith(
        "Under load for minutes on kitchen-pi: block-4x1-80 settles"
    )
    assert found.more == "One launch each, so no interval."


def test_a_run_against_itself_tells_the_noise(tmp_path: Path) -> None:
    again: Variants = tuple(("dense" + suffix, *VARIANTS[0][1:]) for suffix in ("", f"{AGAIN}2", f"{AGAIN}3"))
    bundle = make_bundle(tmp_path / "again", VARIANTS[:1])
    quiet = summarise(fill(make_run(tmp_path, bundle=bundle, variants=again, aa=True)))
    assert answer(quiet).text.startswith("A/A: no difference; the same file differed from itself by at most ")
    require_no_difference(quiet)
    # As if a variant that is twice as fast were the same file.
    too_little = msgspec.structs.replace(compared(tmp_path), aa=True)
    assert answer(too_little).text == "A/A: too little was measured to tell."
    found = msgspec.structs.replace(too_little, noise_floor=NoiseFloor(0.6, "a-run"))
    assert re.match(r"A/A: a difference in [1-9]\d* of \d+ comparisons; .* at most 60\.0%", answer(found).text)
    with pytest.raises(MeasurementError, match="tells a file from itself"):
        require_no_difference(found)
