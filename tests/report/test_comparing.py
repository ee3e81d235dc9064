"""Two runs held against each other: settings, cells, what is noise, and what a CI job fails for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from edgesparse.errors import MeasurementError, SlowerThanAllowed, UsageError
from edgesparse.report.comparing import RunsCompared, compare_runs, gate, render, to_json, to_markdown
from edgesparse.report.comparing.cells import CellChange, Reading
from edgesparse.report.comparing.verdict import NO_LIMIT, Verdict
from edgesparse.report.comparing.words import headline
from edgesparse.report.html.again import contexts
from edgesparse.store import NoiseFloor, Run, keep_noise_floor
from tests.report.pairs import make_pair, slower, without
from tests.report.runs import CONDITIONS, VARIANTS

CELL = "block-4x1-80/xnnpack/1"


def cell_of(compared: RunsCompared, name: str = CELL) -> CellChange:
    return next(cell for cell in compared.cells if cell.cell == name)


def sides(cell: CellChange) -> tuple[Reading, Reading]:
    assert cell.base is not None and cell.new is not None
    return cell.base, cell.new


def printed(compared: RunsCompared, width: int = 120, verdict: Verdict = NO_LIMIT) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(render(compared, verdict))
    return shown.get()


def test_two_runs_of_the_same_show_no_setting_and_no_difference(tmp_path: Path) -> None:
    base, new = make_pair(tmp_path)
    compared = compare_runs(base, new)
    assert (compared.base.run, compared.new.run, compared.measured) == (base.id, new.id, "latency")
    assert compared.settings == []
    assert len(compared.cells) == 8
    assert {cell.outcome for cell in compared.cells} == {"no difference"}
    assert all(cell.same for cell in compared.cells)
    assert headline(compared) == "No difference shown: of 8 cells 8 no difference."
    gate.require_not_slower(compared, 0.0)


def test_what_a_change_says_is_what_the_samples_say(tmp_path: Path) -> None:
    base, new = make_pair(tmp_path, slower({CELL: 1.2}))
    compared = compare_runs(base, new)
    found = {}
    for run in (base, new):
        launches = [r["latency_ns"] for r in run.record.records() if r["type"] == "samples" and r["cell"] == CELL]
        found[run.id] = np.array([np.median(each) / 1e6 for each in launches])
    cell = cell_of(compared)
    quotients = found[new.id][:, None] / found[base.id][None, :]
    assert cell.change is not None and cell.change.interval is not None
    assert cell.change.value == pytest.approx(float(np.median(quotients)), rel=1e-3)
    assert cell.change.interval[0] < 1.2 < cell.change.interval[1]
    assert [side.median_ms for side in sides(cell)] == [
        pytest.approx(float(np.median(each))) for each in found.values()
    ]
    assert cell.outcome == "slower"
    assert [other.outcome for other in compared.cells if other is not cell] == ["no difference"] * 7


def test_faster_is_told_and_allowed(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 0.8})))
    assert cell_of(compared).outcome == "faster"
    assert headline(compared).startswith("Faster: of 8 cells 1 faster")
    gate.require_not_slower(compared, 0.0)


@pytest.mark.parametrize(("factor", "limit", "fails"), [(1.2, 0.05, True), (1.2, 0.3, False), (1.02, 0.05, False)])
def test_the_gate_fails_for_what_is_slower_by_more_than_allowed(
    tmp_path: Path, factor: float, limit: float, fails: bool
) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: factor})))
    assert cell_of(compared).outcome == "slower"
    if not fails:
        gate.require_not_slower(compared, limit)
        return
    with pytest.raises(SlowerThanAllowed, match=CELL) as caught:
        gate.require_not_slower(compared, limit)
    assert caught.value.exit_code == 7
    assert "--compare" in caught.value.hint


def test_a_point_beyond_the_limit_within_noise_does_not_fail(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.08}), noise=0.3))
    cell = cell_of(compared)
    assert cell.outcome == "no difference"
    assert gate.broken(compared, 0.0) == {}


def test_the_noise_floor_of_the_board_widens(tmp_path: Path) -> None:
    base, new = make_pair(tmp_path, slower({CELL: 1.04}))
    narrow = compare_runs(base, new)
    assert cell_of(narrow).outcome == "slower"
    assert any("noise floor was never measured" in text for text in narrow.warnings)
    keep_noise_floor(base.record.board, NoiseFloor(0.06, "an-aa-run"))
    wide = compare_runs(base, new)
    assert wide.noise_floor == NoiseFloor(0.06, "an-aa-run")
    assert cell_of(wide).outcome == "no difference"
    before, after = (cell_of(each).change for each in (narrow, wide))
    assert before and after and before.interval and after.interval
    assert after.interval == pytest.approx((before.interval[0] / 1.06, before.interval[1] * 1.06))
    assert "widened by the board's noise floor, 6.0% (run an-aa-run)" in printed(wide, 160)


def test_equal_runs_are_seldom_called_different(tmp_path: Path) -> None:
    """In fewer than one of 20 pairs any of 8 cells is: in up to 2 of 10 pairs with 98.8 %; `test_stats` has more."""
    base = make_pair(tmp_path)[0]
    alarms = 0
    for seed in range(10):
        new = make_pair(tmp_path, seed=100 + seed)[1]
        compared = compare_runs(base, new)
        alarms += any(cell.outcome != "no difference" for cell in compared.cells)
    assert alarms <= 2


def test_a_cell_that_fails_now_or_is_missing_fails_the_gate(tmp_path: Path) -> None:
    fails = compare_runs(*make_pair(tmp_path, crashes=(CELL, 2)))
    assert cell_of(fails).outcome == "fails now"
    assert list(gate.broken(fails, 0.05)) == [CELL]
    cells = VARIANTS[:2]
    missing = compare_runs(*make_pair(tmp_path, make_variants=cells))
    assert {cell.cell for cell in missing.cells if cell.outcome == "missing"} == {
        f"{name}/{backend}/1" for name in ("block-4x1-80", "two-four") for backend in ("builtin", "xnnpack")
    }
    assert len(gate.broken(missing, 0.05)) == 4
    gone = compare_runs(*make_pair(tmp_path, without(CELL)))
    assert cell_of(gone).outcome == "fails now"  # it was asked for, and nothing came


def test_what_failed_before_or_was_not_there_does_not_fail_the_gate(tmp_path: Path) -> None:
    working, broken = make_pair(tmp_path, parity_fails=CELL)
    again = make_pair(tmp_path, parity_fails=CELL)[1]
    both = compare_runs(broken, again)
    assert cell_of(both).outcome == "fails in both"
    gate.require_not_slower(both, 0.0)
    assert cell_of(compare_runs(broken, working)).outcome == "works now"
    added = compare_runs(*make_pair(tmp_path, base={"variants": VARIANTS[:2]}))
    assert cell_of(added).outcome == "added"
    gate.require_not_slower(added, 0.0)


def test_nothing_that_could_be_judged_is_no_pass(tmp_path: Path) -> None:
    few = compare_runs(*make_pair(tmp_path, slower({CELL: 2.0}), rounds=3))
    assert {cell.outcome for cell in few.cells} == {"too few launches"}
    assert gate.undecided(few, 0.05) == [CELL]
    with pytest.raises(MeasurementError, match="Not one of 8 cells could be judged"):
        gate.require_not_slower(few, 0.05)


def test_every_form_says_what_the_gate_says(tmp_path: Path) -> None:
    """The job fails for more than slower cells: no form is green then."""
    base, new = make_pair(tmp_path)
    for compared, kind, said in (
        (compare_runs(*make_pair(tmp_path, rounds=2)), "undecided", "Not one of 8 cells could be judged"),
        (compare_runs(base, retyped(new, type="raspberrypi4")), "refused", "Expected two runs of one type of board"),
    ):
        verdict = gate.judge(compared, 0.05)
        assert verdict.kind == kind and verdict.fails
        assert to_markdown(compared, verdict).startswith(f"❌ **{said}")
        assert said in printed(compared, 160, verdict)
        document = to_json(compared, verdict)
        assert document["verdict"].startswith(said) and document["gate"] == kind


def test_without_a_limit_nothing_judged_is_no_good_news(tmp_path: Path) -> None:
    few = compare_runs(*make_pair(tmp_path, rounds=2))
    assert to_markdown(few).startswith("⚠️ **Nothing could be judged: of 8 cells 8 too few launches.")


def test_what_is_not_counted_is_told_in_markdown(tmp_path: Path) -> None:
    """One cell slower by far in too few launches, the others judged: the job goes on, with a warning."""

    def few(record: dict[str, Any]) -> dict[str, Any] | None:
        if record.get("cell") == CELL and record["type"] in ("launch", "samples") and record["round"] >= 3:
            return None
        return slower({CELL: 2.0})(record)

    compared = compare_runs(*make_pair(tmp_path, few))
    verdict = gate.judge(compared, 0.05)
    assert (verdict.kind, verdict.not_counted) == ("passed", [CELL])
    text = to_markdown(compared, verdict)
    assert text.startswith("⚠️") and f"{CELL} took more than allowed, and had too few launches to tell" in text


def test_settings_that_changed_are_told_and_others_not(tmp_path: Path) -> None:
    def otherwise(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "run":
            record = {**record, "agent": {"version": "0.2.0", "sha256": "b" * 64}}
            record["board"] = {**record["board"], "kernel": "6.12.1"}
        if "runtime" in record:
            record = {**record, "runtime": {"name": "ai-edge-litert", "version": "2.4.0"}}
        return record

    slow = {
        **CONDITIONS,
        "governor": "ondemand",
        "throttled": ["throttled now"],
        "temperature_c": {"cpu-thermal": 84.0},
    }
    compared = compare_runs(*make_pair(tmp_path, otherwise, before=slow, after=slow))
    changed = {each.what: (each.base, each.new) for each in compared.settings}
    assert changed == {
        "runtime": ("ai-edge-litert 2.3.0", "ai-edge-litert 2.4.0"),
        "agent": ("0.1.0 aaaaaaaaaaaa", "0.2.0 bbbbbbbbbbbb"),
        "kernel": ("6.6.31", "6.12.1"),
        "governor": ("performance", "ondemand"),
        "hottest": ("51 °C", "84 °C"),
        "throttling": ("none", "throttled now"),
    }
    assert [each.kind for each in compared.settings] == ["software"] * 2 + ["board"] + ["conditions"] * 3
    assert not any(cell.same for cell in compared.cells)
    for what, (base, new) in changed.items():
        assert any(what in line and base in line and new in line for line in printed(compared).splitlines())


def test_another_bundle_is_told_by_its_files(tmp_path: Path) -> None:
    smaller = tuple(
        (
            name,
            pattern,
            sparsity,
            size - 1000 * (name == "block-4x1-80"),
            accuracy - 0.1 * (name == "block-4x1-80"),
            times,
        )
        for name, pattern, sparsity, size, accuracy, times in VARIANTS
    )
    compared = compare_runs(*make_pair(tmp_path, make_variants=smaller))
    assert [each.what for each in compared.settings if each.kind == "files"] == ["bundle", "block-4x1-80"]
    assert {cell.variant for cell in compared.cells if not cell.same} == {"block-4x1-80"}
    cell = cell_of(compared)
    assert cell.accuracy_told
    shown = printed(compared, 140)
    assert "size -0.8 %" in shown and "accuracy -10.0 points" in shown


def test_a_path_that_became_dense_is_told(tmp_path: Path) -> None:
    def dense(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "check" and record["cell"] == CELL:
            return {**record, "path": {**record["path"], "taken": "dense"}}
        return record

    assert "runs dense, was sparse" in printed(compare_runs(*make_pair(tmp_path, dense)), 140)


def test_a_cell_of_which_nothing_changed_tells_of_the_board(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.1, "dense/xnnpack/1": 1.1})))
    assert any("2 differ, by up to" in text and "the board's doing" in text for text in compared.warnings)


def test_energy_is_compared_of_one_sensor_alone(tmp_path: Path) -> None:
    def of(change: Any = None, **new: Any) -> RunsCompared:
        later = make_pair(tmp_path, change or (lambda record: record), powered=True, **new)[1]
        first = make_pair(tmp_path, powered=True, seed=3)[1]
        return compare_runs(first, later)

    alike = of()
    assert all(cell.energy and cell.energy.change for cell in alike.cells)
    assert "Energy above idle differs in 0 of the 8 cells" in printed(alike)
    unmetered = compare_runs(*make_pair(tmp_path, powered=True))
    assert {cell.energy.reason for cell in unmetered.cells if cell.energy} == {"measured in one of the runs only"}

    def doubled(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "sensors":
            watts = [2.0 + 2 * (value - 2.0) for value in record["values"]["VDD_IN"]]
            return {**record, "values": {"VDD_IN": watts}}
        return record

    more = cell_of(of(doubled))
    assert more.energy and more.energy.change and more.energy.change.value == pytest.approx(2, rel=0.05)
    assert "energy +" in printed(of(doubled), 140)

    def at_the_wall(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "sensors_found":
            sources = [{**s, "channels": [{**c, "scope": "wall"} for c in s["channels"]]} for s in record["sources"]]
            return {**record, "sources": sources}
        return record

    other = cell_of(of(at_the_wall))
    assert other.energy and other.energy.change is None
    assert other.energy.reason == "board-input by ina3221, then wall by ina3221"


def test_different_quantities_are_refused(tmp_path: Path) -> None:
    emulated = {"emulated": True, "counts_instructions": True}
    with pytest.raises(UsageError, match=r"found instructions in .* and latency in"):
        compare_runs(*make_pair(tmp_path, base=emulated))


def test_instructions_are_compared_as_such_and_never_called_latency(tmp_path: Path) -> None:
    emulated = {"emulated": True, "counts_instructions": True}
    make = {"make_emulated": True, "make_counts_instructions": True}
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.5}), base=emulated, rounds=1, noise=1e-9, **make))
    assert compared.measured == "instructions"
    cell = cell_of(compared)
    assert cell.outcome == "more" and cell.change and cell.change.value == pytest.approx(1.5, rel=0.02)
    with pytest.raises(SlowerThanAllowed, match="more instructions"):
        gate.require_not_slower(compared, 0.05)
    for text in (printed(compared), to_markdown(compared)):
        assert "no proof of another latency" in text
        assert " ms" not in text and "slower" not in text and "faster" not in text


def test_an_emulated_board_that_counts_nothing_shows_no_time(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, base={"emulated": True}, make_emulated=True))
    assert {cell.outcome for cell in compared.cells} == {"not timed"}
    assert all(cell.change is None for cell in compared.cells)
    assert "emulated: no latency" in printed(compared)
    with pytest.raises(MeasurementError):
        gate.require_not_slower(compared, 0.05)


def retyped(run: Run, **board: str | None) -> Run:
    run.record.about["board"] = {**run.record.about["board"], **board}
    return run


def test_other_boards_are_marked_and_other_types_are_no_gate(tmp_path: Path) -> None:
    base, new = make_pair(tmp_path)
    twin = compare_runs(base, retyped(new, address="pi@10.0.0.6:22", name="hall-pi"))
    assert twin.same_type and not twin.same_board
    assert any("two of one type (kitchen-pi and hall-pi)" in text for text in twin.warnings)
    gate.require_not_slower(twin, 0.05)
    other = compare_runs(base, retyped(new, type="raspberrypi4"))
    assert any("different types (raspberrypi5 and raspberrypi4)" in text for text in other.warnings)
    with pytest.raises(UsageError, match="one type of board"):
        gate.require_not_slower(other, 0.05)


def test_every_machine_has_a_board_local_and_they_are_not_the_same(tmp_path: Path) -> None:
    def on_the_server(record: dict[str, Any]) -> dict[str, Any]:
        if record["type"] == "run":
            return {**record, "board": {**record["board"], "hostname": "server"}}
        return record

    def local(*runs: Run) -> list[Run]:
        return [retyped(run, name="local", address=None) for run in runs]

    desk, server = local(*make_pair(tmp_path, on_the_server))
    keep_noise_floor({"name": "local", "address": None, "hostname": "kitchen"}, NoiseFloor(0.06, "an-aa-run"))
    compared = compare_runs(desk, server)
    assert compared.same_type and not compared.same_board
    assert any("two of one type (local of kitchen and local of server)" in text for text in compared.warnings)
    assert [(each.what, each.base, each.new) for each in compared.settings] == [("host name", "kitchen", "server")]
    grid, _ = contexts([desk, server], [desk.comparison(), server.comparison()], ["one", "other"])
    assert [(line.cells, line.mark) for line in grid.lines if line.cells[0] == "host name"] == [
        (("host name", "kitchen", "server"), "differs")
    ]
    assert compare_runs(server, *local(make_pair(tmp_path, on_the_server)[1])).noise_floor is None
    again = compare_runs(desk, *local(make_pair(tmp_path)[1]))
    assert again.same_board and again.noise_floor == NoiseFloor(0.06, "an-aa-run")


def test_a_run_that_is_not_whole_is_told(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, cancelled_in=7))
    assert any("is not whole (cancelled)" in text for text in compared.warnings)


def test_runs_at_other_times_may_differ_by_more_than_their_launches_show(tmp_path: Path) -> None:
    assert any("no interval knows of" in text for text in compare_runs(*make_pair(tmp_path)).warnings)


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("5 %", 0.05), ("0.05", 0.05), ("0%", 0.0), ("2.5%", 0.025)])
def test_limits(text: str, share: float) -> None:
    assert gate.share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "five", "5", "-5%", "5%%", "nan", "2000%"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="Expected a limit such as 5%"):
        gate.share(text)


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_table_fits_and_breaks_no_number(tmp_path: Path, width: int) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.2}), crashes=("two-four/builtin/1", 1)))
    shown = printed(compared, width)
    assert max(map(len, shown.splitlines())) <= width
    if width >= 80:
        row = next(line for line in shown.splitlines() if line.startswith(f"{CELL} "))
        assert "slower" in row and " %" in row and "[+1" in row


def test_markdown_is_a_verdict_a_table_and_folds(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.2}), crashes=("two-four/builtin/1", 1)))
    plain = to_markdown(compared).splitlines()
    assert plain[0].startswith("⚠️ **Slower: of 8 cells 1 slower, 1 fails now, 6 no difference; at worst block-4x1-80")
    assert sum(line.startswith("| ") and "| --- |" not in line for line in plain) == 1 + 8
    assert plain.count("<details>") == plain.count("</details>") == 1
    assert "\\~" in "\n".join(plain)
    worse = to_markdown(compared, gate.judge(compared, 0.05))
    assert worse.startswith("❌ **Worse than allowed: block-4x1-80/xnnpack/1 slower, +")
    fine = to_markdown(compare_runs(*make_pair(tmp_path)))
    assert fine.startswith("✅ **No difference shown")


def test_long_markdown_folds_the_noise(tmp_path: Path) -> None:
    threads = {"threads": (1, 2, 4)}
    base, new = make_pair(tmp_path, slower({CELL: 1.3}), base=threads, make_threads=(1, 2, 4), rounds=10)
    text = to_markdown(compare_runs(base, new))
    top, _, _ = text.partition("<details>")
    assert CELL in top and "dense/builtin/1" not in top
    assert "All 24 cells" in text and "dense/builtin/1" in text


def test_json_is_the_structs(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.2}), crashes=("two-four/builtin/1", 1)))
    document = json.loads(json.dumps(to_json(compared), allow_nan=False))
    assert (document["version"], document["not_allowed"]) == (1, [])
    assert document["verdict"] == headline(compared)
    assert msgspec.convert(document, RunsCompared) == compared
