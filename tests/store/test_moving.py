"""Runs as files for other tools and other machines, and runs that go for good."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import pytest

from edgesparse import store
from edgesparse.errors import UsageError
from edgesparse.report.export import to_json
from edgesparse.report.summary import summarise
from edgesparse.store import RunRecord, entries, list_runs, runs_dir
from edgesparse.store.exporting import export
from edgesparse.store.moving import read_archive, remove_run
from tests.report.runs import fill, make_run


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    record = fill(make_run(tmp_path), rounds=2, samples=8)
    (record.path / "masks.json").write_text("{}")
    record.pack()
    return record


def test_every_sample_as_parquet_and_csv(run: RunRecord, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export(run, tmp_path / "new" / "samples.parquet")
    export(run, tmp_path / "samples.csv")
    expected = [
        (each["cell"], each["round"], ns / 1e6)
        for each in run.records()
        if each["type"] == "samples"
        for ns in each["latency_ns"]
    ]
    table = pq.ParquetFile(tmp_path / "new" / "samples.parquet").read(use_threads=False)
    rows = [row for row in table.to_pylist() if row["phase"] == "timed"]
    cells = [f"{row['variant']}/{row['backend']}/{row['threads']}" for row in rows]
    assert [(cell, row["round"], row["latency_ms"]) for cell, row in zip(cells, rows, strict=True)] == expected
    with (tmp_path / "samples.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["phase"] == "timed"]
    assert [float(line["latency_ms"]) for line in lines] == [ms for _, _, ms in expected]
    assert {line["run"] for line in lines} == {run.id}


def test_the_comparison_as_json(run: RunRecord, tmp_path: Path) -> None:
    export(run, tmp_path / "run.json")
    comparison = json.loads((tmp_path / "run.json").read_text())
    assert comparison["run"] == run.id and len(comparison["variants"]) == len(summarise(run).variants)
    assert comparison["version"] == to_json(summarise(run))["version"]


def test_a_form_that_there_is_not(run: RunRecord, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.parquet, \.csv, \.json, \.zip"):
        export(run, tmp_path / "run.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        export(run, tmp_path / "file" / "run.csv")


class Torn:
    """A frame, and a disk that is full after half of it."""

    def __init__(self, record: RunRecord) -> None:
        pass

    def to_csv(self, path: Path, **options: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    to_parquet = to_csv


@pytest.mark.parametrize("name", ["run.csv", "run.parquet", "run.json", "run.zip"])
def test_a_full_disk_leaves_the_file_that_was_there(
    run: RunRecord, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / name
    out.write_text("of yesterday")

    def full(self: Path | zipfile.ZipFile, *args: object, **options: object) -> None:
        if isinstance(self, Path):
            with self.open("wb") as file:
                file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edgesparse.store.exporting.samples_frame", Torn)
        patch.setattr(Path, "write_bytes", full)
        patch.setattr(zipfile.ZipFile, "write", full)
        with pytest.raises(UsageError, match="cannot be written: No space left"):
            export(run, out)
    assert out.read_text() == "of yesterday" and list(out.parent.iterdir()) == [out]
    export(run, out)
    assert out.read_bytes() != b"of yesterday" and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("packed", [True, False])
def test_a_whole_run_goes_to_another_machine(
    tmp_path: Path, run: RunRecord, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        (tmp_path / "journal").mkdir()
        run = fill(make_run(tmp_path / "journal"), rounds=1, samples=5)
    records, archive = run.records(), tmp_path / "run.zip"
    export(run, archive)
    with pytest.raises(UsageError, match=f"There is a run {run.id} already"):
        read_archive(archive)
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "there"))
    taken = read_archive(archive)
    assert (taken.id, taken.packed, taken.records()) == (run.id, packed, records)
    assert RunRecord.load(run.id).records() == records and list_runs() == [run.id]
    assert {path.name for path in taken.path.iterdir()} == {path.name for path in run.path.iterdir()}


@pytest.mark.parametrize("name", ["../{run}/run.json", "/{run}/run.json", "{run}/../../run.json", "other/{run}"])
def test_an_archive_writes_nowhere_else(run: RunRecord, tmp_path: Path, name: str) -> None:
    export(run, tmp_path / "run.zip")
    remove_run(entries()[0])
    with zipfile.ZipFile(tmp_path / "run.zip", "a") as archive:
        archive.writestr(name.format(run=run.id), "{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="to hold the directory of one run"):
        read_archive(tmp_path / "run.zip")
    assert sorted(tmp_path.rglob("*")) == before and list_runs() == []


def test_what_is_no_archive_or_holds_no_whole_run(run: RunRecord, tmp_path: Path) -> None:
    export(run, tmp_path / "run.zip")
    (tmp_path / "no.zip").write_text("no")
    for path in (tmp_path / "no.zip", tmp_path / "missing.zip"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_archive(path)
    remove_run(entries()[0])
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr(f"{run.id}/run.json", json.dumps(run.about))
    with pytest.raises(UsageError, match=r"Expected found\.json"):
        read_archive(tmp_path / "half.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr(f"{run.id}/run.json", '{"version": 1}')
    with pytest.raises(UsageError, match=r"run\.json is not that of a run: .*missing required field"):
        read_archive(tmp_path / "empty.zip")
    content = (tmp_path / "run.zip").read_bytes()
    at = content.index(b"run.json") + len("run.json") + 40  # within what run.json was compressed to
    (tmp_path / "damaged.zip").write_bytes(content[:at] + bytes(200) + content[at + 200 :])
    with pytest.raises(UsageError, match="cannot be read"):
        read_archive(tmp_path / "damaged.zip")
    assert list_runs() == [] and list(runs_dir().iterdir()) == []


def test_a_run_is_removed_here_and_there(run: RunRecord, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remove_run(entries()[0])
    assert list_runs() == [] and list(runs_dir().iterdir()) == []
    (tmp_path / "next").mkdir()
    second = fill(make_run(tmp_path / "next"), rounds=1, samples=5)
    monkeypatch.setenv("EDGESPARSE_STORE", str(tmp_path / "far"))
    store.put_away(second)
    assert [path.name for path in (tmp_path / "far").iterdir()] == [second.id]
    remove_run(entries()[0])
    assert list_runs() == [] and list((tmp_path / "far").iterdir()) == []


def test_what_a_kill_left_of_a_removed_run_goes_with_the_next(run: RunRecord, tmp_path: Path) -> None:
    (runs_dir() / f".gone-{run.id}x").mkdir()
    assert list_runs() == [run.id]
    remove_run(entries()[0])
    assert list(runs_dir().iterdir()) == []
