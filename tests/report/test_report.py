"""From journal to comparison, and the comparison on the terminal, in JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest
from rich.console import Console

from edgesparse import stats
from edgesparse.report.export import ranking, to_csv, to_json, to_markdown
from edgesparse.report.summary import Comparison, Row, summarise
from edgesparse.report.terminal import render
from edgesparse.store import Run
from tests.report.runs import BACKENDS, CONDITIONS, VARIANTS, fill, make_run

Make = Callable[..., Comparison]
NAMES = [variant[0] for variant in VARIANTS]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The comparison of a run that went as asked."""

    def make(*, emulated: bool = False, threads: tuple[int, ...] = (1,), **how: Any) -> Comparison:
        return summarise(fill(make_run(tmp_path, emulated=emulated, threads=threads), **how))

    return make


@pytest.fixture
def troubled(make: Make) -> Comparison:
    """One check failed, one worker crashed."""
    return make(parity_fails="two-four/xnnpack/1", crashes=("block-4x1-80/builtin/1", 3))


def row_of(comparison: Comparison, variant: str, backend: str, threads: int = 1) -> Row:
    found = next(each for each in comparison.variants if each.name == variant)
    return next(row for row in found.backends if (row.backend, row.threads) == (backend, threads))


def shown(comparison: Comparison, width: int, *, color: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=color, highlight=False)
    console.print(render(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# -- the numbers -------------------------------------------------------------------------------------------------------


def test_every_row_has_every_number(make: Make) -> None:
    comparison = make()
    assert (comparison.status, comparison.reason, comparison.stopped) == (
        "finished",
        "",
        {"reason": "narrow", "detail": "every median is known within 0.6% after 6 rounds"},
    )
    assert [variant.name for variant in comparison.variants] == NAMES
    for variant in comparison.variants:
        assert [row.backend for row in variant.backends] == list(BACKENDS)
        assert variant.dense_bytes == 412_340
        for row in variant.backends:
            assert (row.status, row.kind, row.reason, row.launches, row.count) == ("ok", None, "", 6, 420)
            assert len(row.samples_ms) == 420 and len(row.warmup_ms) == 30
            assert row.median_ms and row.interval_ms and row.interval_ms[0] <= row.median_ms <= row.interval_ms[1]
            assert row.p90_ms and row.p90_ms > row.median_ms
            assert row.p99_ms is None  # 420 samples do not know it
            assert row.init_ms == pytest.approx(4.2, rel=0.1)
            assert row.first_inference_ms == pytest.approx(3.1, rel=0.1)
            assert row.runtime == {"name": "ai-edge-litert", "version": "2.3.0"}
            assert row.parity and row.parity["ok"]
    assert comparison.warnings == [
        "Stored sparse but run dense under builtin: unstructured-80, block-4x1-80, two-four; under xnnpack: two-four; "
        "`edgesparse explain unstructured-80.tflite --board kitchen-pi` says why."
    ]


def _alone(ratio: stats.Ratio | None) -> stats.Ratio:
    """As if there were no other in the run."""
    assert ratio is not None and ratio.p_value is not None and ratio.p_adjusted is not None
    assert ratio.p_value <= ratio.p_adjusted <= 1
    return replace(ratio, p_adjusted=ratio.p_value)


def test_the_median_is_of_the_launches_and_the_ratio_of_the_rounds(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path))
    medians: dict[str, dict[int, float]] = {}
    for each in record.records():
        if each["type"] == "samples":
            medians.setdefault(each["cell"], {})[each["round"]] = median(each["latency_ns"]) / 1e6
    comparison = Run(record).comparison()
    for name in NAMES:
        for backend in BACKENDS:
            row, own = row_of(comparison, name, backend), medians[f"{name}/{backend}/1"]
            assert row.median_ms == median(own.values())
            assert row.interval_ms == stats.median_interval(list(own.values()))
            if name == "dense":
                assert row.ratio_to_dense is None
            else:
                assert _alone(row.ratio_to_dense) == stats.compare(medians[f"dense/{backend}/1"], own)


def test_a_launch_with_more_samples_weighs_no_more(tmp_path: Path) -> None:
    record = make_run(tmp_path)
    fill(record, rounds=7, cancelled_in=6, samples=20)
    records = record.records()
    for each in records:
        if each["type"] == "samples" and each["round"] == 0:
            each["latency_ns"] = [value * 3 for value in each["latency_ns"]] * 50
    (record.path / "journal.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    assert row_of(summarise(record), "dense", "builtin").median_ms == pytest.approx(3.46, rel=0.02)


def test_verdicts(make: Make) -> None:
    comparison = make(rounds=10)
    verdicts = {}
    for name in NAMES[1:]:
        for backend in BACKENDS:
            ratio = row_of(comparison, name, backend).ratio_to_dense
            assert ratio is not None
            verdicts[name, backend] = ratio.verdict
    assert verdicts["block-4x1-80", "xnnpack"] == verdicts["unstructured-80", "xnnpack"] == "faster"
    assert [verdicts[name, "builtin"] for name in NAMES[1:]] == ["no difference"] * 3
    ratio = row_of(comparison, "block-4x1-80", "xnnpack").ratio_to_dense
    assert ratio and ratio.interval and ratio.interval[0] <= 2.05 <= ratio.interval[1]
    assert ratio.p_value == pytest.approx(4 / comb(20, 10))


def test_each_thread_count_is_held_against_dense_with_as_many(make: Make) -> None:
    comparison = make(threads=(1, 4))
    for threads in (1, 4):
        ratio = row_of(comparison, "block-4x1-80", "xnnpack", threads).ratio_to_dense
        assert ratio and ratio.value == pytest.approx(2.05, rel=0.02)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_failed_check_is_a_row_with_its_reason(troubled: Comparison) -> None:
    row = row_of(troubled, "two-four", "xnnpack")
    assert (row.status, row.kind, row.reason) == (
        "failed",
        "parity",
        "output 0 is off by 0.31 where 0.00011 is allowed",
    )
    assert (row.samples_ms, row.count, row.launches) == ([], 0, 0)
    assert (row.median_ms, row.interval_ms, row.ratio_to_dense, row.p90_ms, row.init_ms) == (None,) * 5
    assert row.parity and not row.parity["ok"]
    assert row.path == {"requested": "sparse", "taken": "unknown", "evidence": ""}


def test_a_crash_keeps_what_was_measured_before_it(troubled: Comparison) -> None:
    row = row_of(troubled, "block-4x1-80", "builtin")
    assert (row.status, row.kind) == ("failed", "crash")
    assert row.reason == "in round 4: the worker was killed by signal 11 (SIGSEGV)"
    assert (row.launches, row.count, row.interval_ms) == (3, 210, None)
    assert (row.median_ms, row.ratio_to_dense) == (None, None)
    assert len(row.launch_medians_ms) == 3
    assert row_of(troubled, "block-4x1-80", "xnnpack").status == "ok"


def test_without_dense_there_is_no_ratio(make: Make) -> None:
    comparison = make(parity_fails="dense/xnnpack/1")
    assert row_of(comparison, "block-4x1-80", "xnnpack").ratio_to_dense is None
    assert row_of(comparison, "block-4x1-80", "builtin").ratio_to_dense is not None


def test_a_cancelled_run_has_its_rounds_and_says_so(make: Make) -> None:
    comparison = make(cancelled_in=2)
    assert comparison.status == "cancelled"
    assert comparison.warnings[0].startswith("The run was cancelled")
    assert any(text.startswith("Too few launches") for text in comparison.warnings)
    launches = {row.launches for variant in comparison.variants for row in variant.backends}
    assert launches == {2, 3}
    assert "after" not in comparison.conditions


def test_a_run_that_ended_before_its_first_launch(make: Make) -> None:
    comparison = make(cancelled_in=0)
    kinds = [row.kind for variant in comparison.variants for row in variant.backends]
    assert kinds.count("not measured") == 5
    assert row_of(comparison, "two-four", "xnnpack").reason == "the run ended before its first launch"


def test_an_empty_journal_is_an_unfinished_run(tmp_path: Path) -> None:
    record = make_run(tmp_path)
    comparison = summarise(record)
    assert comparison.status == "unfinished"
    assert f"--attach {record.id}" in comparison.warnings[0]
    assert {row.reason for variant in comparison.variants for row in variant.backends} == {
        "the run ended before its check"
    }
    json.dumps(to_json(comparison), allow_nan=False)
    assert "not measured" in shown(comparison, 100)


BUSY = {**CONDITIONS, "other_cpu_percent": 34.0}
THROTTLED = {**CONDITIONS, "throttled": ["cpu0 throttled 3 times"]}


@pytest.mark.parametrize(
    ("how", "warning"),
    [
        ({"before": BUSY}, "CPU busy (34 % before the run): end them"),
        ({"before": BUSY, "after": BUSY}, "(34 % before and 34 % after the run)"),
        ({"after": THROTTLED}, "throttled during the run (cpu0 throttled 3 times): cool it"),
        ({"before": THROTTLED, "after": THROTTLED}, "throttled before the run"),
        ({"before": {**CONDITIONS, "governor": "ondemand"}}, "governor is ondemand: `sudo cpupower frequency-set"),
        ({"virtual": "KVM"}, "virtual machine (KVM)"),
        ({"emulated": True}, "emulated: it has no latency"),
        ({"noise": 0.2}, "Medians known no better than to 5 %"),
    ],
)
def test_what_makes_numbers_doubtful_is_said_with_the_next_step(make: Make, how: dict[str, Any], warning: str) -> None:
    assert sum(warning in text for text in make(**how).warnings) == 1


def test_a_quiet_board_draws_no_warning_about_its_state(make: Make) -> None:
    unknown = {**CONDITIONS, "governor": None, "frequency_mhz": None, "temperature_c": {}}
    assert [text for text in make(before=unknown, after=unknown).warnings if "Stored sparse" not in text] == []


def test_the_time_limit_is_named(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path))
    journal = record.path / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"reason":"narrow"', '"reason":"time limit"'))
    assert any(text.startswith("The time limit ended the run") for text in summarise(record).warnings)


def test_on_x86_xnnpack_s_dense_path_has_its_reason(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path))
    journal = record.path / "journal.jsonl"
    journal.write_text(journal.read_text().replace("aarch64", "x86_64"))
    assert any("switched off on x86 with AVX" in text for text in summarise(record).warnings)


# -- how it is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 140])
@pytest.mark.parametrize("threads", [(1,), (1, 4)])
def test_the_table_fits_and_folds_no_number(make: Make, width: int, threads: tuple[int, ...]) -> None:
    comparison = make(threads=threads)
    lines = shown(comparison, width).splitlines()
    assert max(map(len, lines)) <= width
    table = lines[1 : next(number for number, line in enumerate(lines) if line.startswith("  Runtime"))]
    for variant in comparison.variants:
        for row in variant.backends:
            assert row.median_ms and row.interval_ms and row.interval_ms[0]
            low, high = row.interval_ms
            assert any(f"[{low:.3f}, {high:.3f}]" in line for line in table)
            if row.ratio_to_dense and row.ratio_to_dense.interval:
                low, high = row.ratio_to_dense.interval
                mark = " ~" if row.ratio_to_dense.verdict == "no difference" else ""
                assert any(f"[{low:.2f}, {high:.2f}]{mark}" in line for line in table)
    for fact in (*NAMES, "412.3 kB", "98.9 %", "20 %"):
        assert sum(fact in line for line in table) >= 1


def test_percentiles_are_shown_where_there_is_room(make: Make) -> None:
    assert "p90" not in shown(make(), 100)
    assert "p90" in shown(make(), 150) and "p99" not in shown(make(), 150)
    assert "p99" in shown(make(rounds=10), 165)


def test_failures_are_in_the_table_and_in_words(troubled: Comparison) -> None:
    for text in (shown(troubled, 140), to_markdown(troubled)):
        assert "crash" in text and "failed" in text
        assert "two-four under xnnpack, 1 thread: parity, output 0 is off by 0.31 where 0.00011 is allowed." in text


def test_colours_are_on_terminals_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    comparison = make()
    assert "\x1b[1;32m" in shown(comparison, 100, color=True)
    assert "\x1b" not in shown(comparison, 100)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;32m" not in shown(comparison, 100, color=True)


def test_json_is_plain_and_complete(troubled: Comparison) -> None:
    document = to_json(troubled)
    assert json.loads(json.dumps(document, allow_nan=False)) == json.loads(json.dumps(document))
    assert document["version"] == 1
    row = document["variants"][1]["backends"][1]
    assert len(row["samples_ms"]) == row["count"] == 420
    assert set(row["ratio_to_dense"]) == {"value", "interval", "p_value", "p_adjusted", "launches", "verdict"}
    assert row["path"] == {
        "requested": "sparse",
        "taken": "sparse",
        "evidence": "outputs are 1.2e-07 apart from the dense-stored twin's on 8 inputs",
    }


def test_csv_has_a_line_for_each_cell(troubled: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(troubled))))
    assert [(line["variant"], line["backend"]) for line in lines] == [
        (name, each) for name in NAMES for each in BACKENDS
    ]
    row = row_of(troubled, "block-4x1-80", "xnnpack")
    line = lines[5]
    assert row.interval_ms and row.ratio_to_dense
    assert float(line["median_ms"]) == row.median_ms
    assert (float(line["low_ms"]), float(line["high_ms"])) == row.interval_ms
    assert (float(line["ratio_to_dense"]), line["verdict"]) == (row.ratio_to_dense.value, "faster")
    assert (lines[7]["kind"], lines[7]["median_ms"], lines[7]["parity_ok"]) == ("parity", "", "False")


def test_markdown_is_a_table_and_a_list(troubled: Comparison) -> None:
    lines = to_markdown(troubled).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(NAMES) * len(BACKENDS)
    assert {line.count("|") for line in table} == {15}
    assert any("sparse → dense" in line for line in table)
    assert any(line.startswith("- **Warning:** Stored sparse") for line in lines)


def test_the_fastest_of_each_kind_within_the_points_of_accuracy(make: Make) -> None:
    comparison = make()
    assert ranking(comparison) == []  # one type of weights: nothing to rank
    dense, *others = comparison.variants
    sparse = others[0]
    variants = [
        dense,
        msgspec.structs.replace(dense, name="dense-int8", precision="int8"),
        sparse,
        msgspec.structs.replace(sparse, name="sparse-int8", precision="int8", accuracy=dense.accuracy),
    ]
    head, *lines = ranking(msgspec.structs.replace(comparison, variants=variants))
    assert head == "Fastest of each kind, within 1.5 points of dense's accuracy:"
    assert sorted(line.split(":")[0] for line in lines) == [
        "float32 dense", "float32 sparse", "int8 dense", "int8 sparse",
    ]  # fmt: skip
    assert sum("as fast as float32 dense" in line for line in lines) == 3
    twin = [line for line in lines if line.startswith(("int8 sparse", "float32 sparse"))]
    assert "no difference to the first could be shown" in twin[1]
    assert dense.accuracy is not None
    worse = msgspec.structs.replace(variants[3], accuracy=dense.accuracy - 0.016)
    left = ranking(msgspec.structs.replace(comparison, variants=[*variants[:3], worse]))
    assert not any("int8 sparse" in line for line in left)
