"""Where a run ends it is packed and put away, however it ended; and a result never depends on that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgesparse.bench import _collect, attach
from edgesparse.store import Record, RunRecord, runs_dir
from tests.report.runs import fill, make_run

End = dict[str, Any]


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    (tmp_path / "like").mkdir()
    return fill(make_run(tmp_path / "like"), rounds=1, samples=5).records()


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[End | None, list[str]]]:
    """Collect records from a board that is not there; what came of it, and what was told."""

    def carry_out(record: RunRecord, records: list[Record], then: BaseException | None = None) -> Any:
        def follow(session: Any, run: str, have: int, keep: Callable[[End], None], *, wait: bool) -> Any:
            def to_end(spec: Any) -> End:
                for each in records[have:]:
                    keep({"type": "record", "record": each})
                if then is not None:
                    raise then
                return {"type": "end", "status": "finished", "reason": ""}

            return SimpleNamespace(carry_out=to_end)

        monkeypatch.setattr(sys.modules["edgesparse.bench"], "Following", follow)
        told: list[str] = []
        session: Any = SimpleNamespace(progress=told.append)
        try:
            return _collect(session, record, lambda message: None), told
        except BaseException as error:
            if error is not then:
                raise
            return None, told

    return carry_out


def test_a_run_that_ends_is_packed(tmp_path: Path, records: list[Record], collect: Any) -> None:
    record = make_run(tmp_path)
    end, told = collect(record, records)
    assert (end["status"], told) == ("finished", [])
    assert record.packed and RunRecord.load(record.id).packed and record.records() == records


def test_so_is_one_that_was_cancelled(tmp_path: Path, records: list[Record], collect: Any) -> None:
    record = make_run(tmp_path)
    ended = [*records[:-1], {**records[-1], "status": "cancelled", "reason": "cancelled"}]
    assert collect(record, ended, then=KeyboardInterrupt()) == (None, [])
    assert record.packed and RunRecord.load(record.id).records() == ended


def test_one_whose_link_was_lost_is_not(tmp_path: Path, records: list[Record], collect: Any) -> None:
    record = make_run(tmp_path)
    assert collect(record, records[:6], then=ConnectionError()) == (None, [])
    assert not record.packed and RunRecord.load(record.id).records() == records[:6]
    assert collect(record, records)[1] == []
    assert record.packed and record.records() == records


def test_a_full_disk_costs_neither_result_nor_journal(
    tmp_path: Path, records: list[Record], collect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    record = make_run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("edgesparse.store.packed._write", full)
        end, told = collect(record, records)
    assert end["status"] == "finished"
    assert len(told) == 1 and "No space left" in told[0] and f"run {record.id} stays in" in told[0]
    assert not RunRecord.load(record.id).packed and RunRecord.load(record.id).records() == records
    # The next who attaches finds it ended, and asks no board.
    assert attach(record.id, progress=pytest.fail).id == record.id
    assert RunRecord.load(record.id).packed and RunRecord.load(record.id).records() == records


def test_a_store_that_is_away_costs_neither(
    tmp_path: Path, records: list[Record], collect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGESPARSE_STORE", str(tmp_path / "file" / "runs"))
    record = make_run(tmp_path)
    end, told = collect(record, records)
    assert end["status"] == "finished" and len(told) == 1 and "cannot be written" in told[0]
    assert record.path == runs_dir() / record.id and RunRecord.load(record.id).records() == records
    monkeypatch.setenv("EDGESPARSE_STORE", str(tmp_path / "far"))
    attach(record.id, progress=pytest.fail)
    assert RunRecord.load(record.id).path == tmp_path / "far" / record.id
