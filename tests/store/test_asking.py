"""SQL over all runs and DataFrames of one: the same numbers as the records, and no latency where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from edgesparse import store
from edgesparse.errors import UsageError
from edgesparse.report.summary import summarise
from edgesparse.store import Run, RunRecord, put_away
from edgesparse.store.asking import VIEWS, ask
from edgesparse.store.exporting import export
from edgesparse.store.moving import remove_run
from tests.report.runs import fill, make_run
from tests.report.test_emulated import run_of
from tests.store.test_packed import old
from tests.store.test_place import KeptFileSystem

__all__ = ["old"]

Make = Callable[..., RunRecord]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs, packed or not, by the same name of a board."""

    def build(*, packed: bool = True, **options: Any) -> RunRecord:
        record = fill(make_run(tmp_path), **{"rounds": 2, "samples": 8, **options})
        if packed:
            record.pack()
        return record

    return build


def raw(record: RunRecord, key: str = "latency_ns") -> dict[tuple[str, int], list[int]]:
    """Cell and round -> what the board sent."""
    return {(each["cell"], each["round"]): each[key] for each in record.records() if each["type"] == "samples"}


def test_samples_are_those_of_the_records_packed_or_not(make: Make) -> None:
    runs = [make(), make(packed=False, seed=1), make(seed=2)]
    answer = ask(
        "SELECT run, variant || '/' || backend || '/' || threads, round, latency_ms FROM samples WHERE phase = 'timed' "
        "ORDER BY run, 2, round, number"
    )
    expected = [
        (record.id, cell, number, ns / 1e6)
        for record in sorted(runs, key=lambda each: each.id)
        for (cell, number), values in sorted(raw(record).items())
        for ns in values
    ]
    assert answer.rows == expected
    ((count, most),) = ask("SELECT count(*), max(number) FROM samples WHERE phase = 'warmup'").rows
    assert count == sum(len(values) for record in runs for values in raw(record, "warmup_ns").values()) and most == 4


def test_columns_say_whose_samples_they_are(make: Make) -> None:
    record = make()
    answer = ask("SELECT DISTINCT board, board_type, bundle, created FROM samples")
    ((board, board_type, bundle, created),) = answer.rows
    assert (board, board_type, bundle) == ("kitchen-pi", "raspberrypi5", "digits")
    assert created.isoformat() + "Z" == record.about["created"]
    assert answer.to_dicts()[0]["created"] == record.about["created"][:-1]


def test_cells_are_those_of_the_comparison(make: Make) -> None:
    record = make(rounds=7, parity_fails="two-four/xnnpack/1")
    comparison = summarise(record)
    found = ask(
        "SELECT variant, backend, threads, median_ms, low_ms, high_ms, ratio_to_dense, ratio_low, verdict, "
        "status, kind, path_taken, count FROM cells"
    )
    expected = [
        (
            variant.name, row.backend, row.threads, row.median_ms, *(row.interval_ms or (None, None)),
            row.ratio_to_dense and row.ratio_to_dense.value,
            row.ratio_to_dense and row.ratio_to_dense.interval and row.ratio_to_dense.interval[0],
            row.ratio_to_dense and row.ratio_to_dense.verdict, row.status, row.kind, row.path["taken"], row.count,
        )
        for variant in comparison.variants
        for row in variant.backends
    ]  # fmt: skip
    assert found.rows == expected
    assert ("two-four", "xnnpack", 1, None) in [row[:4] for row in found.rows]
    # The median of the launches' medians, computed by DuckDB alone.
    by_sql = ask(
        "SELECT variant, backend, median(launch) FROM (SELECT variant, backend, round, median(latency_ms) launch "
        "FROM samples WHERE phase = 'timed' GROUP BY ALL) GROUP BY ALL"
    )
    medians = {row[:2]: row[2] for row in by_sql.rows}
    for name, backend, _, median_ms, *_ in found.rows:
        assert median_ms is None or medians[name, backend] == pytest.approx(median_ms, rel=1e-12)


def test_cells_that_are_kept_are_those_that_would_be_computed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    record = make(rounds=7)
    computed, summaries = ask("FROM cells").rows, []

    def counted(run: RunRecord) -> Any:
        summaries.append(run.id)
        return summarise(run)

    monkeypatch.setattr("edgesparse.report.summary.summarise", counted)
    assert ask("FROM cells").rows == computed and summaries == []
    # What they come from has changed: the file, the code; or what is kept is torn.
    about = json.loads((record.path / "run.json").read_text())
    (record.path / "run.json").write_text(json.dumps({**about, "noise_floor": {"share": 9.0, "run": "another"}}))
    assert {row[0] for row in ask("SELECT verdict FROM cells").rows} == {None, "no difference"}
    assert len(summaries) == 1
    monkeypatch.setattr("edgesparse.store.cells._code", lambda: b"other code")
    ask("FROM cells")
    assert len(summaries) == 2
    (kept,) = (store.runs_dir().parent / "cells").iterdir()
    kept.write_text(kept.read_text()[:50])
    ask("FROM cells")
    assert len(summaries) == 3
    remove_run(store.entries()[0])
    assert not kept.exists()


def test_runs_in_every_state(make: Make, tmp_path: Path, old: Path) -> None:
    packed, journal, cancelled = make(), make(packed=False), make(cancelled_in=1)
    going_on = make_run(tmp_path)
    broken = make()
    (broken.path / "run.json").write_text("{")
    rows = dict(ask("SELECT run, (status, form, sample_count) FROM runs").rows)
    assert rows[packed.id] == ("finished", "packed", 2 * 8 * 8)
    assert rows[journal.id] == ("finished", "journal", None)
    assert rows[cancelled.id][:2] == ("cancelled", "packed")
    assert rows[going_on.id] == ("unfinished", "journal", None)
    assert rows[broken.id][0] == "unreadable"
    assert rows[old.name] == ("finished", "journal", None)
    # What cannot be read does not keep the others from being asked.
    names = {run for (run,) in ask("SELECT DISTINCT run FROM samples").rows}
    assert names == {packed.id, journal.id, cancelled.id, old.name}


def _cut(run: RunRecord) -> None:
    file = run.path / "samples.parquet"
    file.write_bytes(file.read_bytes()[:-9])


def _remove(run: RunRecord) -> None:
    (run.path / "samples.parquet").unlink()


def _double(run: RunRecord) -> None:
    """A whole Parquet file, with other numbers in it."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = run.path / "samples.parquet"
    table = pq.ParquetFile(file).read(use_threads=False)
    place = table.column_names.index("clock_ns")
    pq.write_table(table.set_column(place, "clock_ns", pc.multiply(table["clock_ns"], 2)), file, compression="zstd")


def _tear_a_line(run: RunRecord) -> None:
    journal = run.path / "journal.jsonl"
    journal.write_bytes(b'{"seq": 1, "ty\n' + journal.read_bytes())


def _empty_a_record(run: RunRecord) -> None:
    journal = run.path / "journal.jsonl"
    journal.write_bytes(b'{"seq": 1, "type": "sensors_found"}\n' + journal.read_bytes())


@pytest.mark.parametrize(
    ("packed", "damage", "says"),
    [
        (True, _cut, "samples.parquet is not what run.json says"),
        (True, _remove, "Expected samples.parquet in"),
        (True, _double, "samples.parquet is not what run.json says"),
        (False, _tear_a_line, "Expected one record a line"),
        (False, _empty_a_record, "KeyError: 'sources'"),
    ],
)
def test_a_damaged_run_is_left_out_by_name_and_the_others_are_asked(
    make: Make, packed: bool, damage: Callable[[RunRecord], None], says: str
) -> None:
    well, damaged = make(), make(packed=packed, seed=1)
    expected = ask(f"SELECT count(*), sum(latency_ms) FROM samples WHERE run = '{well.id}'").rows
    damage(damaged)
    answer = ask("SELECT count(*), sum(latency_ms) FROM samples")
    assert answer.rows == expected and list(answer.left_out) == [damaged.id] and says in answer.left_out[damaged.id]
    cells = ask("SELECT DISTINCT run FROM cells")
    assert cells.rows == [(well.id,)] and list(cells.left_out) == [damaged.id]
    assert len(ask("FROM runs").rows) == 2 and ask("FROM runs").left_out == {}


def test_a_copy_beside_a_run_counts_nothing_twice(make: Make) -> None:
    run = make()
    expected = ask("SELECT run, count(*) FROM samples GROUP BY run").rows
    shutil.copytree(run.path, run.path.with_name("a-copy"))
    answer = ask("SELECT run, count(*) FROM samples GROUP BY run")
    assert answer.rows == expected and f"is that of run {run.id}" in answer.left_out["a-copy"]
    assert ask("SELECT DISTINCT run FROM cells").rows == [(run.id,)]


def test_a_file_that_changes_between_two_questions_is_noticed(make: Make) -> None:
    run = make()
    assert ask("FROM samples").left_out == {} == ask("FROM samples").left_out
    _double(run)
    assert list(ask("FROM samples").left_out) == [run.id]


def test_a_disk_that_is_full_does_not_keep_cells_from_being_asked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make()

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgesparse.store.cells.write_whole", full)
    answer = ask("SELECT DISTINCT run FROM cells")
    assert (answer.rows, answer.left_out) == ([(run.id,)], {})


def test_a_pivot_is_a_question_too(make: Make) -> None:
    make()
    whole = "PIVOT samples ON phase USING count(*) GROUP BY variant"
    within = f"SELECT * FROM ({whole})"
    assert ask(whole).columns == ask(within).columns == ["variant", "timed", "warmup"]
    assert {row[1:] for row in ask(whole).rows} == {(2 * 2 * 8, 2 * 2 * 5)}


def test_sensors_and_conditions(old: Path) -> None:
    record = RunRecord.load(old.name)
    readings = [each for each in record.records() if each["type"] == "sensors"]
    watts = [value for each in readings for value in each["values"]["simulated"]]
    for _ in ("journal", "packed"):
        answer = ask("SELECT source, channel, scope, simulated, power_w, energy_j FROM sensors ORDER BY t_ns")
        assert answer.rows == [("simulated", "simulated", "board-input", True, value, None) for value in watts]
        ((before, during, loads),) = ask(
            "SELECT count(*) FILTER (\"when\" = 'before'), count(*) FILTER (\"when\" = 'during'), "
            "median(frequency_mhz) FROM conditions"
        ).rows
        assert (before, during, loads) == (
            1,
            sum(len(each["readings"]) for each in record.records() if each["type"] == "conditions_during"),
            2596.0,
        )
        record.pack()


def test_a_counter_has_joules_and_a_failed_reading_its_reason(tmp_path: Path) -> None:
    record = make_run(tmp_path)
    channel = {"name": "package-0", "scope": "soc", "counts": "energy", "resolution": 1e-6, "wraps_at": None,
               "total": True}  # fmt: skip
    found: dict[str, Any] = {"type": "sensors_found", "energy": True, "reason": "",
             "sources": [{"source": "rapl", "simulated": False, "channels": [channel]}]}  # fmt: skip
    readings: dict[str, Any] = {
        "type": "sensors", "source": "rapl", "t_ns": [1, 2, 3], "values": {"package-0": [1.5, None, 2.5]},
        "errors": [[2, "package-0", "no permission"]],
    }  # fmt: skip
    end: dict[str, Any] = {"type": "finished", "status": "finished", "reason": ""}
    record.append([{"seq": seq, "t_ns": seq, **each} for seq, each in enumerate([found, readings, end], start=1)])
    expected = [(1, None, 1.5, None), (2, None, None, "no permission"), (3, None, 2.5, None)]
    assert ask("SELECT t_ns, power_w, energy_j, error FROM sensors").rows == expected
    record.pack()
    assert ask("SELECT t_ns, power_w, energy_j, error FROM sensors").rows == expected
    frame = Run(record).sensors
    assert frame["power_w"].isna().all() and frame["energy_j"].dropna().tolist() == [1.5, 2.5]
    assert frame["error"].dropna().tolist() == ["no permission"]


@pytest.mark.parametrize("counting", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_an_emulated_board_has_no_latency(tmp_path: Path, counting: bool, packed: bool) -> None:
    record = run_of(tmp_path, counting=counting)
    values = [ns for launch in raw(record).values() for ns in launch]
    if packed:
        record.pack()
    answer = ask("SELECT latency_ms, instructions FROM samples WHERE phase = 'timed'")
    assert {row[0] for row in answer.rows} == {None}
    assert sorted(row[1] for row in answer.rows if row[1] is not None) == (sorted(values) if counting else [])
    assert {row for row in ask("SELECT median_ms, p90_ms, init_ms, ratio_to_dense FROM cells").rows} == {(None,) * 4}
    frame = Run(record).samples
    assert frame["latency_ms"].isna().all() and len(frame) > 0
    timed = frame[frame["phase"] == "timed"]
    assert sorted(timed["instructions"].dropna().tolist()) == (sorted(values) if counting else [])
    export(record, tmp_path / "samples.csv")
    assert not any(f"{ns / 1e6}," in (tmp_path / "samples.csv").read_text() for ns in values)


def test_a_frame_is_typed_and_has_units(make: Make) -> None:
    for record in (make(), make(packed=False)):
        run = Run.load(record.id)
        frame = run.samples
        assert list(frame.columns) == [
            "run", "variant", "backend", "threads", "round", "phase", "number", "latency_ms", "instructions",
        ]  # fmt: skip
        for name in ("run", "variant", "backend", "phase"):
            assert frame[name].dtype == "category", name
        assert frame["latency_ms"].dtype == float and frame["threads"].dtype == "int32"
        assert list(frame["phase"].cat.categories) == ["warmup", "timed"]
        timed = frame[frame["phase"] == "timed"]
        by_launch = timed.groupby(["variant", "backend", "threads", "round"], observed=True)["latency_ms"].median()
        for (cell, number), values in raw(record).items():
            variant, backend, threads = cell.split("/")
            assert by_launch[variant, backend, int(threads), number] == pytest.approx(median(values) / 1e6, rel=1e-12)
        assert run.conditions["when"].tolist() == ["before", "after"]
        assert run.conditions["temperature_c"].tolist() == [51.2, 51.2]
        assert run.sensors.empty and "power_w" in run.sensors and "energy_j" in run.sensors


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("selct 1", "syntax error"),
        ("SELECT nope FROM samples", '"nope" not found'),
        ("SELECT * FROM nowhere", "nowhere does not exist"),
        ("", "found nothing"),
        ("SELECT 1; SELECT 2", "found SELECT and SELECT"),
        ("DROP VIEW runs", "found DROP"),
        ("COPY runs TO 'out.csv'", "found COPY"),
        ("CREATE TABLE mine AS SELECT 1", "found CREATE"),
        ("ATTACH 'mine.db'", "found ATTACH"),
        ("SET threads = 1", "found SET"),
    ],
)
def test_what_is_no_question_is_refused_in_a_sentence(make: Make, sql: str, says: str) -> None:
    make()
    with pytest.raises(UsageError, match=says) as caught:
        ask(sql)
    assert "\n" not in caught.value.message and all(view in caught.value.hint for view in VIEWS)
    assert caught.value.exit_code == 2


def test_no_variable_of_this_program_is_a_table(make: Make) -> None:
    import pandas as pd

    secret = pd.DataFrame({"a": [1]})
    with pytest.raises(UsageError, match="secret does not exist"):
        ask("SELECT * FROM secret")
    assert len(secret) == 1


def test_a_store_without_runs_has_all_views() -> None:
    assert sorted(name for (name,) in ask("SHOW TABLES").rows) == sorted(VIEWS)
    for view in VIEWS:
        assert ask(f"SELECT count(*) FROM {view}").rows == [(0,)]
        assert ask(f"DESCRIBE {view}").rows
    assert ask("FROM samples").columns[-2:] == ["latency_ms", "instructions"]


def test_columns_of_one_name_stay_apart() -> None:
    assert ask("SELECT 1 AS a, 2 AS a, 'nan'::DOUBLE AS b, [1.5, NULL] AS c").to_dicts() == [
        {"a": 1, "a_1": 2, "b": None, "c": [1.5, None]}
    ]


def test_runs_in_a_store_elsewhere_are_asked_too(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESPARSE_STORE", "kept://asked")
    away, here = make(), make(seed=1)
    put_away(away)
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "data"))
    assert dict(ask('SELECT run, "where" FROM runs').rows) == {away.id: "store", here.id: "here"}
    assert dict(ask("SELECT run, count(*) FROM samples GROUP BY run").rows) == dict.fromkeys(
        [away.id, here.id], 2 * 8 * (8 + 5)
    )
    away_too = store.runs_dir().parent / "fetched"
    shutil.rmtree(away_too)

    def gone(self: KeptFileSystem, *args: Any, **options: Any) -> None:
        raise ConnectionResetError("the other side has gone")

    monkeypatch.setattr(KeptFileSystem, "get_file", gone)
    with pytest.raises(UsageError, match="cannot be read"):  # and not an answer without the runs that are there
        ask("FROM samples")


def test_figures_are_those_of_the_report(make: Make) -> None:
    from edgesparse.report.charts import FIGURES

    run = Run(make(rounds=6))
    with pytest.raises(UsageError, match="nonsense"):
        run.figure("nonsense")
    assert run.figure(next(iter(FIGURES))).to_dict()
