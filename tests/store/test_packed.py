"""A run that has ended: what comes out of its files is what its journal had, and a kill leaves one whole form."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgesparse import store
from edgesparse.errors import MeasurementError, UsageError
from edgesparse.report.summary import summarise
from edgesparse.store import FOUND, JOURNAL, Record, RunRecord
from edgesparse.store.asking import ask
from edgesparse.store.catalogue import entry_of
from edgesparse.store.packed import decode, join, split
from edgesparse.store.paths import PART
from tests.report.runs import fill, make_run

RUNS = Path(__file__).parents[1] / "data" / "runs"
VERSION_1, VERSION_2 = RUNS / "version-1", RUNS / "version-2"
TABLES = ("samples.parquet", "sensors.parquet", "conditions.parquet")


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return fill(make_run(tmp_path), rounds=2, samples=8)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A run as version 1 kept it: measured on a machine with a made-up sensor, its launches cut short."""
    return Path(shutil.copytree(VERSION_1, store.runs_dir() / "20261128-221040-local-82be"))


def test_a_packed_run_gives_the_records_of_its_journal(run: RunRecord) -> None:
    records, comparison = run.records(), summarise(run)
    run.pack()
    assert sorted(path.name for path in run.path.iterdir()) == sorted([*TABLES, FOUND, "manifest.json", "run.json"]), (
        "and the journal is gone"
    )
    for same in (run, RunRecord.load(run.id)):
        assert json.dumps(same.records()) == json.dumps(records), "with the keys of each in their order, too"
        assert (same.packed, same.finished, same.last_seq) == (True, True, len(records))
        assert summarise(same) == comparison
    run.pack()
    assert run.records() == records, "packing again changes nothing"


def test_what_is_in_a_table_is_not_in_the_json(run: RunRecord) -> None:
    run.pack()
    found = json.loads((run.path / FOUND).read_text())
    assert (found["version"], found["run"]) == (1, run.id)
    assert {each["type"] for each in found["records"]} == {each["type"] for each in run.records()}
    samples = [each for each in found["records"] if each["type"] == "samples"]
    assert samples and all(each["latency_ns"] is each["warmup_ns"] is None for each in samples)
    packed = RunRecord.load(run.id).about["packed"]
    assert (packed["status"], packed["samples"]) == ("finished", 2 * 8 * 8)


def test_other_files_stay_beside_it(run: RunRecord) -> None:
    (run.path / "masks.json").write_text("{}")
    run.pack()
    assert (run.path / "masks.json").read_text() == "{}"


def test_a_run_of_version_1_is_read_and_packed(old: Path) -> None:
    lines = [json.loads(line) for line in (old / JOURNAL).read_text().splitlines()]
    record = RunRecord.load(old.name)
    assert (record.about["version"], record.packed, record.records()) == (1, False, lines)
    before = summarise(record)
    assert {row.status for variant in before.variants for row in variant.backends} == {"ok"}
    record.pack()
    again = RunRecord.load(old.name)
    assert (again.about["version"], again.packed, again.records()) == (2, True, lines)
    assert {key: again.about[key] for key in ("id", "created", "spec", "board", "owner")} == {
        key: json.loads((VERSION_1 / "run.json").read_text())[key]
        for key in ("id", "created", "spec", "board", "owner")
    }
    assert summarise(again) == before
    tables = again.tables()
    readings = [each for each in lines if each["type"] == "sensors"]
    assert tables["sensors"]["value"].to_pylist() == [w for each in readings for w in each["values"]["simulated"]]
    looks = sum(len(each["readings"]) for each in lines if each["type"] == "conditions_during")
    assert tables["conditions"]["when"].to_pylist() == ["before", *["during"] * looks, "after"]


@pytest.mark.parametrize("place", ["in the store", "by its directory"])
def test_a_run_that_was_packed_as_version_2_is_read_whole(place: str) -> None:
    """The run that `old` is, as the first version of this form packed it: what every later one has to read."""
    path = VERSION_2
    if place == "in the store":
        path = Path(shutil.copytree(VERSION_2, store.runs_dir() / "20261128-221040-local-82be"))
    lines = [json.loads(line) for line in (VERSION_1 / JOURNAL).read_text().splitlines()]
    record = RunRecord.load(path)
    assert (record.about["version"], record.packed, record.finished, record.last_seq) == (2, True, True, len(lines))
    assert json.dumps(record.records()) == json.dumps(lines)
    expected = split(record.id, lines)[2]
    for name, table in record.tables().items():
        assert table.column_names == expected[name].column_names and table.to_pylist() == expected[name].to_pylist()
    assert record.manifest == RunRecord.load(VERSION_1).manifest
    assert summarise(record) == summarise(RunRecord.load(VERSION_1))
    assert (entry_of(record).status, entry_of(record).samples) == ("finished", 144)
    assert sorted(each.name for each in path.iterdir()) == sorted([*TABLES, FOUND, "manifest.json", "run.json"])
    if place == "in the store":
        for view in ("samples", "sensors", "conditions"):
            answer = ask(f"SELECT count(*) FROM {view}")
            assert (answer.rows, answer.left_out) == ([(len(expected[view]),)], {})
        assert {row for row in ask("SELECT status, count FROM cells").rows} == {("ok", 36)}


def test_a_run_of_a_newer_version_is_refused_by_name(run: RunRecord) -> None:
    run.pack()
    found = run.path / FOUND
    about = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**about, "version": 3}))
    with pytest.raises(UsageError, match=r"run\.json has version 3; this edgesparse reads versions 1 to 2"):
        RunRecord.load(run.id)
    found.write_text(found.read_text().replace('"version": 1', '"version": 9', 1))
    about["packed"]["files"][FOUND]["sha256"] = _sha256(found)
    (run.path / "run.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match=r"found\.json has version 9"):
        RunRecord.load(run.id).records()


@pytest.mark.parametrize("name", [*TABLES, FOUND])
def test_a_damaged_or_missing_file_is_told_by_name(run: RunRecord, name: str) -> None:
    run.pack()
    content = (run.path / name).read_bytes()
    (run.path / name).write_bytes(content[:-3])
    with pytest.raises(UsageError, match=f"{name} is not what run.json says"):
        RunRecord.load(run.id).records()
    (run.path / name).unlink()
    with pytest.raises(UsageError, match=f"Expected {name} in"):
        RunRecord.load(run.id).records()


def test_a_run_that_goes_on_stays_a_journal(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_run(tmp_path / "other")
    other.append(run.records()[:5])
    with pytest.raises(UsageError, match="has not ended"):
        other.pack()
    assert RunRecord.load(other.id).records() == run.records()[:5]


def test_several_who_collect_a_run_that_one_of_them_packs(tmp_path: Path, run: RunRecord) -> None:
    records = run.records()
    (tmp_path / "other").mkdir()
    first = make_run(tmp_path / "other")
    second, third = RunRecord.load(first.id), RunRecord.load(first.id)
    second.append(records[:4])
    first.append(records)
    first.pack()
    second.append(records)  # it has not seen the end yet
    assert (second.packed, second.records(), third.records(), third.finished) == (True, records, records, True)
    third.append(records[-2:])
    with pytest.raises(MeasurementError, match=f"has ended with record {len(records)}"):
        second.append([*records, {**records[-1], "seq": len(records) + 1}])
    assert not (first.path / JOURNAL).exists()


class Killed(BaseException):
    """Nobody expects it, so nobody handles it."""


def _kill_at(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Die at the n-th time that packing asks the disk for something; returns how often it has been asked."""
    asked = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*args: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == step:
                raise Killed
            return real(*args, **options)

        return ask

    for name in ("replace", "unlink"):
        patch.setattr(Path, name, dying(getattr(Path, name)))
    patch.setattr("edgesparse.store.packed._write", dying(store.packed._write))
    patch.setattr(os, "fsync", dying(os.fsync))
    return lambda: asked


def test_a_kill_at_any_step_leaves_a_whole_run(run: RunRecord) -> None:
    records, pristine = run.records(), run.path.with_name(".pristine")
    shutil.copytree(run.path, pristine)
    forms = []
    for step in range(1, 100):
        shutil.rmtree(run.path)
        shutil.copytree(pristine, run.path)
        with pytest.MonkeyPatch.context() as patch:
            asked = _kill_at(step, patch)
            try:
                RunRecord.load(run.id).pack()
            except Killed:
                pass
            else:
                assert asked() < step
                break
        left = RunRecord.load(run.id)
        forms.append(left.packed)
        assert left.records() == records and left.finished, f"killed at step {step}"
        left.append(records)
        assert store.list_runs() == [run.id]
        left.pack()
        again = RunRecord.load(run.id)
        assert again.packed and again.records() == records
        assert not [path for path in run.path.iterdir() if path.name.startswith(PART) or path.name == JOURNAL]
    assert forms == sorted(forms) and {True, False} == set(forms), "a journal before one step, packed from it on"
    assert len(forms) > 12


def test_half_a_write_counts_for_nothing(run: RunRecord) -> None:
    records = run.records()
    for name in (*TABLES, FOUND):
        (run.path / name).write_bytes(b"PAR1half")
        (run.path / f"{PART}{name}").write_bytes(b"")
    assert RunRecord.load(run.id).records() == records
    run.pack()
    assert RunRecord.load(run.id).records() == records


def test_a_full_disk_keeps_the_journal(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    records = run.records()
    told: list[str] = []

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edgesparse.store.packed._write", full)
        store.try_to_put_away(run, told.append)
    assert len(told) == 1 and "No space left" in told[0] and "edgesparse runs pack" in told[0]
    assert RunRecord.load(run.id).records() == records
    assert not RunRecord.load(run.id).packed
    store.try_to_put_away(run, told.append)
    assert RunRecord.load(run.id).packed and len(told) == 1


def test_a_form_that_would_lose_something_is_not_kept(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    records = run.records()
    monkeypatch.setattr("edgesparse.store.packed.join", lambda left, taken, tables: records[:-2])
    with pytest.raises(MeasurementError, match="journal is kept"):
        run.pack()
    assert RunRecord.load(run.id).records() == records and not RunRecord.load(run.id).packed


# -- the round trip, of whatever a board may send ----------------------------------------------------------------------

names = st.text(max_size=8)  # lone surrogates too, as an agent makes them of bytes that are no UTF-8
numbers = st.integers(-(2**70), 2**70) | st.integers(0, 10**9)
plain = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8)
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=3
)
mixed = st.lists(st.booleans() | st.integers(0, 3) | st.sampled_from([1.0, None]), min_size=1, max_size=3)
latencies = st.lists(numbers, max_size=6) | st.lists(st.integers(0, 2**62), max_size=30) | mixed | json_values
cells = st.sampled_from(["dense/builtin/1", "dense/csr/1", "16x1 \ud800/csr/4", "odd"]) | json_values
samples = st.fixed_dictionaries(
    {"type": st.sampled_from(["samples", "slice"]), "cell": cells},
    optional={"round": st.integers(0, 3) | json_values, "warmup_ns": latencies, "latency_ns": latencies,
              "window_ns": st.lists(numbers, max_size=2), "more": json_values},
)  # fmt: skip
readings = st.lists(st.none() | st.floats(), max_size=5)


@st.composite
def sensors(draw: st.DrawFn) -> Record:
    stamps = draw(st.lists(st.integers(0, 2**60), max_size=5))
    exact = st.lists(st.none() | st.floats(), min_size=len(stamps), max_size=len(stamps))
    column = exact | readings | st.lists(st.integers(0, 9), min_size=len(stamps), max_size=len(stamps))
    values = draw(st.dictionaries(names, column, max_size=3))
    return {"type": "sensors", "source": draw(names), "t_ns": stamps, "values": values, "errors": []}


looks = st.fixed_dictionaries(
    {"t_ns": st.integers(0, 2**60)},
    optional={"temperature_c": st.none() | st.dictionaries(names, st.floats(0, 99), max_size=2),
              "frequency_mhz": st.none() | st.lists(st.integers(1, 4000), max_size=3),
              "throttled": st.lists(names, max_size=2), "other_cpu_percent": st.none() | st.floats(0, 400),
              "memory_available_bytes": st.integers(0, 2**50), "more": json_values},
)  # fmt: skip
during = st.fixed_dictionaries({"type": st.just("conditions_during"), "readings": st.lists(looks, max_size=4)})
others = st.fixed_dictionaries({"type": st.sampled_from(["run", "check", "idle", "finished"]), "more": json_values})


def of_samples(*values: Any) -> list[Record]:
    return [{"type": "samples", "cell": "dense/csr/1", "round": 0, "latency_ns": list(values), "warmup_ns": [1]}]


def of_a_sensor(*values: Any) -> list[Record]:
    stamps = list(range(len(values)))
    return [{"type": "sensors", "source": "a", "t_ns": stamps, "values": {"x": list(values)}, "errors": []}]


@example(of_samples(1, True))
@example(of_samples(1.0, 2))
@example(of_samples(2**63, 1))
@example(of_samples(-(2**63), 2**63 - 1))
@example(of_samples())
@example(of_a_sensor(1.0, 2))
@example(of_a_sensor(False, 0.5))
@example(of_a_sensor(float("nan"), None, -0.0, float("inf"), 5e-324))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(samples | sensors() | during | others, max_size=6))
def test_nothing_is_lost(found: list[Record]) -> None:
    records = [{"seq": seq, "t_ns": seq, **record} for seq, record in enumerate(found, start=1)]
    left, taken, tables = split("run", records)
    through_json = decode(json.dumps(left).encode()), decode(json.dumps(taken).encode())
    assert json.dumps(join(*through_json, tables)) == json.dumps(records)


def test_the_tables_have_what_the_records_have(run: RunRecord) -> None:
    table = run.tables()["samples"].to_pylist()
    rows = [
        (cell.rsplit("/", 2)[0], cell.split("/")[1], each["round"], phase, number, value)
        for each in run.records()
        if each["type"] == "samples"
        for cell in [each["cell"]]
        for phase, key in (("warmup", "warmup_ns"), ("timed", "latency_ns"))
        for number, value in enumerate(each[key])
    ]
    assert rows == [
        (row["variant"], row["backend"], row["round"], row["phase"], row["number"], row["clock_ns"]) for row in table
    ]
    assert {row["threads"] for row in table} == {1} and {row["run"] for row in table} == {run.id}


def _sha256(path: Path) -> str:
    from edgesparse.files import sha256_of

    return sha256_of(path)
