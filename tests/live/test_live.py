"""The live view: what a recorded run makes of it, on terminals of any size, and in lines where there is none."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgesparse import console, wire
from edgesparse.live import LEAVES, RunView
from edgesparse.live.drawing import RunDrawing, clock
from edgesparse.live.state import RunState
from edgesparse.quantity import Quantity
from edgesparse.store import Record, RunRecord
from tests.report.runs import fill, make_run

BACKENDS = ("builtin", "xnnpack", "csr")


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    made = make_run(tmp_path, rounds=8, backends=BACKENDS)
    return fill(made, rounds=8, crashes=("two-four/builtin/1", 2), powered=True)


def state_of(run: RunRecord, until: int | None = None, quantity: Quantity = "latency") -> RunState:
    state = RunState()
    state.quantity = quantity
    state.plan(run.id, run.spec)
    for number, record in enumerate(run.records()[:until]):
        state.take({"type": "record", "record": record}, float(number))
    return state


def drawn(state: RunState, width: int = 80, height: int = 24, now_s: float = 100.0) -> list[str]:
    shown = Console(width=width, height=height, file=io.StringIO(), record=True)
    shown.print(RunDrawing(state, "measuring on kitchen-pi", LEAVES, now_s))
    return [line.rstrip() for line in shown.export_text().splitlines()]


def place_of(run: RunRecord, what: str, count: int) -> int:
    """How many records there are up to the `count`th of a type."""
    places = [place for place, record in enumerate(run.records(), start=1) if record["type"] == what]
    return places[count - 1]


def test_a_run_halfway_has_its_medians_and_ratios_so_far(run: RunRecord) -> None:
    until = place_of(run, "samples", 40)
    state = state_of(run, until)
    lines = drawn(state)
    assert lines[0] == f"measuring on kitchen-pi, run {run.id}"
    assert lines[1].startswith("round 4 of 8  ━") and "left at most" in lines[1]
    assert re.split(r"\s{2,}", lines[2]) == ["median ms", "builtin", "xnnpack", "csr"]
    medians: dict[str, dict[int, float]] = {}
    for record in run.records()[:until]:
        if record["type"] == "samples":
            ordered = sorted(record["latency_ns"])
            middle = (ordered[34] + ordered[35]) / 2
            medians.setdefault(record["cell"], {})[record["round"]] = middle / 1e6
    dense, block = medians["dense/xnnpack/1"], medians["block-4x1-80/xnnpack/1"]
    row = next(line for line in lines if line.startswith("block-4x1-80"))
    figures = re.findall(r"\d+\.\d+x?", row)
    assert figures[2] == f"{_median(list(block.values())):.3f}"
    assert figures[3] == f"{_median([dense[n] / block[n] for n in sorted(dense.keys() & block.keys())]):.2f}x"
    assert next(line for line in lines if line.startswith("two-four")).split()[1] == "crash"
    assert lines[-1] == LEAVES


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def test_heat_clock_and_power_are_the_last_that_were_read(run: RunRecord) -> None:
    records = run.records()
    looks = next(record for record in records if record["type"] == "conditions_during")["readings"]
    state = state_of(run, place_of(run, "conditions_during", 1))
    assert state.temperature_c == max(looks[-1]["temperature_c"].values())
    watts = next(record for record in records if record["type"] == "sensors")["values"]["VDD_IN"]
    assert state.power_w == pytest.approx(sum(watts) / len(watts))
    board = drawn(state)[-3]
    assert board == f"{state.temperature_c:.0f} °C  2400 MHz  {state.power_w:.2f} W  2 % CPU by others"


def test_a_counter_of_energy_is_shown_as_power() -> None:
    state = RunState()
    channel = {"name": "package-0", "scope": "soc", "counts": "energy", "resolution": 1e-6, "total": True}
    source = {"source": "rapl", "simulated": True, "channels": [channel]}
    take(state, {"type": "sensors_found", "sources": [source], "energy": True, "reason": ""})
    joules = {"source": "rapl", "t_ns": [0, 10**9, 2 * 10**9], "errors": []}
    take(state, {"type": "sensors", **joules, "values": {"package-0": [10.0, None, 16.0]}})
    assert state.power_w == pytest.approx(3.0)
    assert state.power_simulated
    take(state, {"type": "sensors", **joules, "values": {"package-0": [16.0, 17.0, 2.0]}})  # it began again
    assert state.power_w == pytest.approx(3.0)


def take(state: RunState, record: Record, now_s: float = 0.0) -> None:
    state.take({"type": "record", "record": {"t_ns": 0, **record}}, now_s)


@pytest.mark.parametrize("width", [50, 80, 120, 200])
@pytest.mark.parametrize("records", [0, 1, 20, 60, None])
def test_it_fits_every_width(run: RunRecord, width: int, records: int | None) -> None:
    lines = drawn(state_of(run, records), width)
    assert max(map(len, lines)) <= width
    if records is None:
        for name in ("dense", "unstructured-80", "block-4x1-80", "two-four"):
            assert any(line.startswith(name[: width // 8]) for line in lines)


def test_many_variants_fit_the_height_with_dense_and_the_current_one_in_view(tmp_path: Path) -> None:
    variants = tuple((f"v{number}", "unstructured", 0.8, 1000, 0.9, 1.0) for number in range(39))
    many = make_run(tmp_path, variants=(("dense", "dense", None, 1000, 0.9, 1.0), *variants), backends=("csr",))
    state = state_of(many)
    take(state, {"type": "run", "run": many.id})
    for current in ("dense/csr/1", "v0/csr/1", "v17/csr/1", "v38/csr/1"):
        take(state, {"type": "launch", "cell": current, "round": 0})
        lines = drawn(state, 80, 24)
        assert len(lines) <= 23
        assert any(line.startswith("dense ") for line in lines)
        assert any(line.startswith(current.split("/")[0]) and "> launched" in line for line in lines)
        assert any(re.fullmatch(r"and \d+ more", line) for line in lines)


def test_several_threads_are_rows_of_their_own(tmp_path: Path) -> None:
    lines = drawn(state_of(fill(make_run(tmp_path, threads=(1, 4)))), 80)
    assert any(line.startswith("dense x1") for line in lines) and any(line.startswith("dense x4") for line in lines)


@pytest.mark.parametrize(
    ("quantity", "shown", "hidden"),
    [("instructions", "M instructions", " ms"), ("nothing", "emulated: no latency", " ms")],
)
def test_an_emulated_board_shows_no_latency_and_no_heat(
    run: RunRecord, quantity: Quantity, shown: str, hidden: str
) -> None:
    text = "\n".join(drawn(state_of(run, quantity=quantity)))
    assert shown in text and hidden not in text
    assert "°C" not in text and "MHz" not in text
    if quantity == "nothing":
        assert not re.search(r"\d\.\d", text)
    else:  # of dense, not how many times as fast
        row = next(line for line in text.splitlines() if line.startswith("block-4x1-80"))
        assert float(row.split()[4]) == pytest.approx(1 / 2.05, rel=0.02)


def test_what_is_left_is_what_the_agent_says_of_its_line(run: RunRecord) -> None:
    """With a whole spec by the agent's own rule; the pace of half a run is known, so the other half takes as long."""
    spec = wire.RunSpec(
        run="r", owner="me@desk", bundle="b", runtime="x", runtime_version="1", max_rounds=10, time_limit_s=1000,
        cells=[wire.Cell("dense/csr/1", "dense", "csr", 1)],
        files={"dense": wire.Files("a" * 64, None, "b" * 64, "c" * 64)}, delegate=wire.Delegate("d" * 64, {}),
    )  # fmt: skip
    state = RunState()
    state.take({"type": "planned", "run": "r", "spec": spec.to_message()}, 0.0)
    assert (state.run, state.most_rounds, list(state.cells)) == ("r", 10, ["dense/csr/1"])
    assert state.remaining_s(0.0) is None
    take(state, {"type": "run", "run": "r", "t_ns": 0})
    for number in range(5):
        take(state, {"type": "samples", "cell": "dense/csr/1", "round": number, "latency_ns": [10**6] * 5,
                     "t_ns": (number + 1) * 4 * 10**9}, now_s=100 + number * 4.0)  # fmt: skip
    assert state.elapsed_s(116.0) == pytest.approx(20)
    assert state.remaining_s(116.0) == pytest.approx(20)
    assert state.share() == pytest.approx(0.5)
    assert state.elapsed_s(118.0) == pytest.approx(22)  # goes on between two records
    take(state, {"type": "finished", "status": "finished", "reason": "", "t_ns": 21 * 10**9}, 121.0)
    assert state.remaining_s(500.0) is None
    assert state.elapsed_s(500.0) == pytest.approx(21)


def test_a_sustained_run_shows_its_seconds(tmp_path: Path) -> None:
    run = fill(make_run(tmp_path, sustained_s=20.0), sustained_slices=20, powered=True)
    state = state_of(run, place_of(run, "slice", 7))
    assert drawn(state)[-2].startswith("dense/builtin/1  7 s  3.")


def test_a_run_in_line_says_for_what_it_waits() -> None:
    state = RunState()
    state.take({"type": "place", "run": "r", "place": 2, "held_by": None, "wait_s": 90.2}, 0.0)
    assert "2 runs are before this one; waiting for 90 s at most" in drawn(state)
    state.take({"type": "place", "run": "r", "place": 0, "held_by": None, "wait_s": 0.0}, 1.0)
    assert not any("waiting" in line for line in drawn(state))


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def view_on(monkeypatch: pytest.MonkeyPatch, file: io.StringIO, **options: Any) -> RunView:
    monkeypatch.setattr(console, "talk", Console(file=file, highlight=False, **options))
    return RunView("measuring on kitchen-pi")


def replay(view: RunView, run: RunRecord) -> None:
    with view:
        view({"type": "planned", "run": run.id, "spec": run.spec})
        for record in run.records():
            view({"type": "record", "record": record})


def test_without_a_terminal_there_are_plain_lines(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    replay(view_on(monkeypatch, file, width=80), run)
    said = file.getvalue()
    assert "\x1b" not in said
    lines = said.splitlines()
    assert lines[0] == "· reading power beside the workers: ina3221"
    assert sum(line.startswith("· round ") for line in lines) == 8
    assert any(line.startswith("· two-four/builtin/1 failed in round 3 (crash)") for line in lines)
    assert lines[-1].startswith("· stopped: narrow; every median is known")


def test_a_dumb_terminal_gets_lines_too(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    file = Screen()
    replay(view_on(monkeypatch, file), run)
    assert sum(line.startswith("· round ") for line in file.getvalue().splitlines()) == 8
    assert "\x1b" not in file.getvalue()


def test_a_terminal_gets_a_view_that_is_gone_in_the_end(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Screen()
    replay(view_on(monkeypatch, file, width=80, height=24, force_terminal=True), run)
    said = file.getvalue()
    assert "· round 1" not in said, "rounds are in the view"
    assert "failed in round 3" in said, "what failed stays"
    assert "\x1b[2K" in said and "\x1b[?25h" in said, "the view is erased and the cursor is back"


def test_no_color_is_heard(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    file = Screen()
    replay(view_on(monkeypatch, file, width=80, height=24, force_terminal=True), run)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", file.getvalue())


def test_what_was_measured_before_is_caught_up_without_a_word(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    view = view_on(monkeypatch, file)
    view.catch_up(run.id, run.spec, run.records()[:60])
    assert file.getvalue() == ""
    assert view.state.launches == state_of(run, 60).launches > 10


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
