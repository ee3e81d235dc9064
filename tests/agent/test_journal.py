from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import pytest

from edgesparse.agent.journal import Journal, last_record, read_from


def records(path: Path) -> list[dict[str, object]]:
    return [record for _, record in read_from(path, 0)]


def test_numbers_go_on_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("run", run="a")
        journal.append("samples", latency_ns=[1, 2])
    with Journal(path) as journal:
        assert journal.append("finished")["seq"] == 3
    assert [record["seq"] for record in records(path)] == [1, 2, 3]
    assert (last_record(path) or {})["type"] == "finished"


def test_a_line_cut_short_is_dropped_and_its_number_used_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("run")
        journal.append("launch")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [record["seq"] for record in records(path)] == [1]
    with Journal(path) as journal:
        journal.append("samples")
    assert [(record["seq"], record["type"]) for record in records(path)] == [(1, "run"), (2, "samples")]


def test_reading_goes_on_at_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("run")
        offset = path.stat().st_size
        journal.append("launch")
    assert [record["type"] for _, record in read_from(path, offset)] == ["launch"]


def test_times_are_monotonic(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        times = [journal.append("samples")["t_ns"] for _ in range(20)]
    assert times == sorted(times)


def test_a_disk_that_refuses_leaves_what_was_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Journal(path) as journal:
            journal.append("run")
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
            with pytest.raises(OSError):
                journal.append("samples", latency_ns=list(range(100)))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            journal.append("finished")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert [(record["seq"], record["type"]) for record in records(path)] == [(1, "run"), (2, "finished")]
    assert all(json.loads(line) for line in path.read_text().splitlines())
