"""Runs on disk: whole or not at all, every record once, and what a kill leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesparse import store
from edgesparse.convert.bundle import Bundle
from edgesparse.errors import MeasurementError, UsageError
from edgesparse.store import Record, Run, RunRecord, create_run, entries, list_runs, new_run_id
from edgesparse.store.catalogue import UNREADABLE
from tests.report.runs import fill, make_bundle, make_run

Damage = Callable[[Record], Any]
BOARD = {"name": "pi", "type": "raspberrypi5", "transport": "ssh", "host": "10.0.0.5", "emulated": False}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return make_run(tmp_path)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """What a board sends of a short run."""
    (tmp_path / "other").mkdir()
    return fill(make_run(tmp_path / "other"), rounds=1).records()


def test_an_id_says_when_and_where() -> None:
    assert re.fullmatch(r"\d{8}-\d{6}-jetson-[0-9a-f]{4}", new_run_id("jetson"))


def test_a_run_says_what_was_asked_of_whom(bundle: Bundle) -> None:
    made = create_run("20261122-231502-pi-3f9a", board=BOARD, bundle=bundle, spec={"cells": []}, owner="me@host")
    run = RunRecord.load(made.id)
    assert run.path == store.runs_dir() / "20261122-231502-pi-3f9a"
    assert (run.board, run.spec, run.about["owner"]) == (BOARD, {"cells": []}, "me@host")
    assert run.manifest == bundle.manifest
    assert run.about["bundle"] == {"id": bundle.id, "name": "digits"}
    assert (run.last_seq, run.records(), run.finished) == (0, [], False)


def test_a_run_is_found_by_its_directory_from_anywhere(run: RunRecord, tmp_path: Path) -> None:
    moved = run.path.rename(tmp_path / "from a colleague")
    assert RunRecord.load(moved).id == Run.load(str(moved)).id == run.id


def test_records_come_back_as_they_came(run: RunRecord, records: list[Record]) -> None:
    run.append(records)
    assert run.records() == RunRecord.load(run.id).records() == records
    assert run.last_seq == RunRecord.load(run.id).last_seq == len(records)
    assert run.finished


def test_what_is_there_already_is_dropped(run: RunRecord, records: list[Record]) -> None:
    run.append(records[:7])
    run.append(records[3:])
    RunRecord.load(run.id).append(records)
    assert run.records() == records


def test_a_gap_is_refused_and_keeps_what_came_before_it(run: RunRecord, records: list[Record]) -> None:
    run.append(records[:3])
    with pytest.raises(MeasurementError, match="expected record 4, found 5") as caught:
        run.append(records[4:])
    assert run.id in caught.value.hint
    assert run.records() == records[:3]
    run.append(records[3:])
    assert run.records() == records


def test_a_gap_within_a_batch_loses_nothing(run: RunRecord, records: list[Record]) -> None:
    with pytest.raises(MeasurementError, match="expected record 3, found 4"):
        run.append([*records[:2], *records[3:]])
    run.append(records)
    assert run.records() == RunRecord.load(run.id).records() == records


@pytest.mark.parametrize("kept_bytes", [1, 20, -1])
def test_a_line_that_a_kill_tore_is_cut_off_and_taken_again(
    run: RunRecord, kept_bytes: int, records: list[Record]
) -> None:
    run.append(records[:5])
    torn = (json.dumps(records[5]) + "\n").encode()[:kept_bytes]
    with (run.path / store.JOURNAL).open("ab") as file:
        file.write(torn)
    again = RunRecord.load(run.id)
    assert (again.last_seq, again.records(), again.finished) == (5, records[:5], False)
    again.append(records[3:])
    assert again.records() == RunRecord.load(run.id).records() == records


def test_finished_is_the_last_word(run: RunRecord, records: list[Record]) -> None:
    run.append(records[:-1])
    assert not RunRecord.load(run.id).finished
    run.append(records[-1:])
    assert RunRecord.load(run.id).finished


def test_an_interrupted_creation_leaves_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        create_run("20261122-231502-pi-3f9a", board=BOARD, bundle=bundle, spec={}, owner="me")
    assert list(store.runs_dir().iterdir()) == []


def test_the_last_run_is_the_latest(bundle: Bundle) -> None:
    names = ["20261123-000000-pi-0001", "20261122-231502-zebra-ffff", "20261122-231503-pi-0000"]
    for name in names:
        create_run(name, board=BOARD, bundle=bundle, spec={}, owner="me")
    assert list_runs() == sorted(names)
    assert RunRecord.last().id == names[0]


def test_no_run_yet_says_how_to_make_one() -> None:
    assert list_runs() == []
    with pytest.raises(UsageError, match="no run") as caught:
        RunRecord.last()
    assert "edgesparse bench" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        RunRecord.load("nonsense")
    assert "edgesparse bench" in caught.value.hint


def test_an_unknown_run_lists_the_latest(run: RunRecord) -> None:
    with pytest.raises(UsageError, match="no run 'nonsense'") as caught:
        RunRecord.load("nonsense")
    assert run.id in caught.value.hint


def test_a_directory_without_a_run_is_refused(run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"found no run\.json \(No such file"):
        RunRecord.load(tmp_path / "empty")
    (run.path / store.RUN).write_text('{"version": 1, "id"')
    with pytest.raises(UsageError, match=r"found no whole .*/run\.json"):
        RunRecord.load(run.id)


def _without(*keys: str) -> Damage:
    def damage(about: Record) -> Record:
        inner = about
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return about

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda about: {"version": 1, "created": "x"}, "missing required field `id`"),
        (lambda about: {**about, "board": ["pi"]}, r"Expected `object`, got `array` - at `\$.board`"),
        (lambda about: {**about, "spec": []}, r"at `\$.spec`"),
        (lambda about: {**about, "created": "yesterday"}, "'yesterday' does not match"),
        (lambda about: {**about, "packed": {"status": "finished"}}, "missing required field `reason`"),
        (_without("spec", "cells", 0, "variant"), "missing required field `variant`"),  # type: ignore[arg-type]
        (_without("board", "name"), r"missing required field `name` - at `\$.board`"),
        (_without("bundle"), "missing required field `bundle`"),
        (lambda about: {**about, "noise_floor": 0.1}, r"at `\$.noise_floor`"),
        (lambda about: [about], "found no whole"),
    ],
)
def test_a_run_json_that_is_whole_and_not_a_runs(run: RunRecord, tmp_path: Path, damage: Damage, says: str) -> None:
    (tmp_path / "well").mkdir()
    well = make_run(tmp_path / "well")
    (run.path / store.RUN).write_text(json.dumps(damage(run.about)))
    with pytest.raises(UsageError, match=says) as caught:
        RunRecord.load(run.id)
    assert str(run.path / store.RUN) in caught.value.message
    found = {entry.run: entry for entry in entries()}
    assert found[run.id].status == UNREADABLE and re.search(says, found[run.id].reason)
    assert found[run.id].to_dict()["board"] is None and found[well.id].status == "unfinished"


def test_a_run_json_that_is_no_file_is_listed_as_unreadable(run: RunRecord) -> None:
    (run.path / store.RUN).unlink()
    (run.path / store.RUN).mkdir()
    assert [(entry.status, entry.reason) for entry in entries()] == [
        (UNREADABLE, "run.json cannot be read: Is a directory")
    ]


def test_another_version_is_refused(run: RunRecord) -> None:
    (run.path / store.RUN).write_text(json.dumps({**run.about, "version": 3}))
    with pytest.raises(UsageError, match="has version 3; this edgesparse reads versions 1 to 2"):
        RunRecord.load(run.id)


def test_two_who_collect_one_run_keep_every_record_once(run: RunRecord, records: list[Record]) -> None:
    other = RunRecord.load(run.id)
    for count in range(1, len(records) + 1):
        (run, other)[count % 2].append(records[:count])
        (other, run)[count % 2].append(records[:count])
    assert run.records() == records
    assert run.last_seq == other.last_seq == len(records)


def test_reading_a_run_leaves_alone_what_is_being_written(run: RunRecord, records: list[Record]) -> None:
    run.append(records[:5])
    line = (json.dumps(records[5], separators=(",", ":")) + "\n").encode()
    journal = run.path / store.JOURNAL
    with journal.open("ab", buffering=0) as file:
        file.write(line[:30])
        assert RunRecord.load(run.id).records() == records[:5]
        file.write(line[30:])
    assert RunRecord.load(run.id).records() == records[:6]


def test_a_journal_damaged_in_the_middle_is_no_run(run: RunRecord, records: list[Record]) -> None:
    run.append(records)
    journal = run.path / store.JOURNAL
    whole = journal.read_bytes()
    for damage in (b'"type":"che\x00', b'"typ":"check"', b'"type":["check"]', b'"type":"check","seq":null'):
        journal.write_bytes(whole.replace(b'"type":"check"', damage, 1))
        with pytest.raises(UsageError, match="Expected one record a line"):
            RunRecord.load(run.id)


def test_a_full_disk_keeps_what_was_whole(
    run: RunRecord, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.append(records[:5])
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run.append(records[5:])
    assert RunRecord.load(run.id).records() == records[:5]
    run.append(records[5:])
    assert RunRecord.load(run.id).records() == records
