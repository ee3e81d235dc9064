"""`edgesparse runs`, as it is typed."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgesparse.cli import app
from edgesparse.errors import EdgesparseError, UsageError
from edgesparse.store import RunRecord, list_runs
from tests.report.runs import fill, make_run

Cli = Callable[..., Result]


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["runs", *arguments])


def document(*arguments: str) -> Any:
    """What --json prints: one document, and nothing else on stdout."""
    result = cli(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: str) -> EdgesparseError:
    result = cli(*arguments)
    assert isinstance(result.exception, EdgesparseError), result.output
    return result.exception


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    record = fill(make_run(tmp_path), rounds=2, samples=8)
    record.pack()
    return record


@pytest.fixture
def going_on(tmp_path: Path, run: RunRecord) -> RunRecord:
    (tmp_path / "another").mkdir()
    record = make_run(tmp_path / "another")
    record.append(run.records()[:4])
    return record


def test_list(run: RunRecord, going_on: RunRecord) -> None:
    found = document("list")
    assert found["version"] == 1
    assert {each["run"]: each["status"] for each in found["runs"]} == {run.id: "finished", going_on.id: "unfinished"}
    table = cli("list").stdout
    assert run.id in table and "finished" in table and "here, as a journal" in table and "128" in table


def test_list_filters(run: RunRecord, going_on: RunRecord) -> None:
    both = {run.id, going_on.id}

    def listed(*options: str) -> set[str]:
        return {each["run"] for each in document("list", *options)["runs"]}

    assert listed("--board", "kitchen-pi") == listed("--board", "raspberrypi5") == listed("--bundle", "digits") == both
    assert listed("--bundle", run.about["bundle"]["id"][:8]) == both and listed("--bundle", "0" * 8) == set()
    assert listed("--board", "jetson") == listed("--bundle", "dig") == set()
    assert listed("--last", "1") == {max(both)} and listed("--last", "5") == both
    assert listed("--since", "1h") == listed("--since", "2020-01-01") == both
    assert listed("--since", "99999999999d") == listed("--since", "9" * 5000 + "w") == both
    assert listed("--since", time.strftime("%Y-%m-%d", time.gmtime(time.time() + 200_000))) == set()
    assert "Expected a date" in refused("list", "--since", "yesterday").message
    assert cli("list", "--board", "jetson").stdout == "No runs.\n"


def test_show(run: RunRecord) -> None:
    found = document("show", run.id)
    assert (found["run"], found["status"], found["path"]) == (run.id, "finished", str(run.path))
    assert {each["name"] for each in found["files"]} == {path.name for path in run.path.iterdir()}
    assert found["comparison"]["run"] == run.id and len(found["comparison"]["variants"]) == 4
    printed = cli("show").stdout
    assert "samples.parquet" in printed and "block-4x1-80" in printed and "me@desk" in printed
    assert "no run 'other'" in refused("show", "other").message


def test_compare(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = fill(make_run(tmp_path / "new"), rounds=2, samples=8, seed=1)
    found = document("compare", run.id, new.id)
    assert run.id in json.dumps(found) and new.id in json.dumps(found)
    assert new.id in cli("compare", run.id, new.id).stdout
    assert "twice" in refused("compare", run.id, run.id).message


def test_sql(run: RunRecord) -> None:
    question = "SELECT variant, count(*) AS n, median(latency_ms) AS median_ms FROM samples GROUP BY ALL ORDER BY 1"
    found = document("sql", question)
    assert found["columns"] == ["variant", "n", "median_ms"] and len(found["rows"]) == 4
    assert {row["n"] for row in found["rows"]} == {2 * 2 * 13}
    rows = list(csv.DictReader(io.StringIO(cli("sql", question, "--csv").stdout)))
    assert [float(row["median_ms"]) for row in rows] == [row["median_ms"] for row in found["rows"]]
    table = cli("sql", question).stdout
    assert "block-4x1-80" in table and f"{found['rows'][0]['median_ms']:.6g}" in table
    error = refused("sql", "SELECT nope FROM runs")
    assert (error.exit_code, "\n" in error.message) == (2, False) and "nope" in error.message
    assert refused("sql", question, "--csv", "--json").exit_code == 2


def test_export_and_import(run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run.zip"
    found = document("export", run.id, "--out", str(out))
    assert found == {"version": 1, "run": run.id, "file": str(out), "bytes": out.stat().st_size}
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "there"))
    assert document("import", str(out))["run"] == run.id
    assert document("list")["runs"][0]["sample_count"] == 2 * 8 * 8


def test_rm_asks_and_leaves_what_goes_on(run: RunRecord, going_on: RunRecord) -> None:
    assert "--yes" in refused("rm", run.id).message
    error = refused("rm", run.id, going_on.id, "--yes")
    assert "has not ended" in error.message and going_on.id in error.hint
    assert "no run 'nonsense'" in refused("rm", run.id, "nonsense", "--yes").message
    assert set(list_runs()) == {run.id, going_on.id}, "all of them or none"
    assert document("rm", run.id, "--yes") == {"version": 1, "removed": [run.id]}
    assert list_runs() == [going_on.id]
    assert cli("rm", going_on.id, "--yes", "--force").exit_code == 0
    assert list_runs() == []


def test_pack(run: RunRecord, going_on: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert document("pack") == {"version": 1, "packed": [], "refused": {}}
    assert "has not ended" in refused("pack", going_on.id).message
    (tmp_path / "third").mkdir()
    journal = fill(make_run(tmp_path / "third"), rounds=1, samples=5)
    assert document("pack")["packed"] == [journal.id]
    monkeypatch.setenv("EDGESPARSE_STORE", str(tmp_path / "far"))
    assert document("pack")["packed"] == sorted([run.id, journal.id]), "they move to the store that is named now"
    assert {each["run"]: each["where"] for each in document("list")["runs"]} == {
        run.id: "store", journal.id: "store", going_on.id: "here",
    }  # fmt: skip


def test_a_store_that_cannot_be_opened_is_one_sentence(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESPARSE_STORE", "nonsense://bucket")
    error = refused("list")
    assert (error.exit_code, "nonsense://" in error.message) == (2, True)
    assert cli("show", run.id).exit_code in (0, 2)


def test_pack_goes_on_after_a_damaged_run(run: RunRecord, tmp_path: Path) -> None:
    journals = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        journals.append(fill(make_run(tmp_path / name), rounds=1, samples=5))
    damaged, *well = sorted(journals, key=lambda each: each.id)
    (damaged.path / "journal.jsonl").write_bytes(b"{\n" + (damaged.path / "journal.jsonl").read_bytes())
    result = cli("pack", "--json")
    found = json.loads(result.stdout)
    assert found["packed"] == [each.id for each in well] and list(found["refused"]) == [damaged.id]
    assert isinstance(result.exception, UsageError) and "Expected one record a line" in result.exception.message
    error = refused("pack", damaged.id, "nonsense", run.id)
    assert "2 runs stay as they are" in error.message and damaged.id in error.message and "nonsense" in error.message


def test_sql_says_which_run_it_left_out(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "well").mkdir()
    well = fill(make_run(tmp_path / "well"), rounds=1, samples=5)
    (run.path / "samples.parquet").write_bytes(b"PAR1")
    result = cli("sql", "SELECT DISTINCT run FROM samples", "--csv")
    assert (result.exit_code, result.stdout) == (0, f"run\n{well.id}\n")
    assert f"warning: run {run.id} is left out" in result.stderr and "samples.parquet is not what" in result.stderr
    assert list(document("sql", "SELECT count(*) FROM samples")["left_out"]) == [run.id]
    assert document("sql", "SELECT count(*) FROM runs")["left_out"] == {}
