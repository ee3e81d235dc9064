"""Outliers are counted and explained, and stay where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesparse.report.export import outlier_notes
from edgesparse.report.outliers import find_outliers
from edgesparse.store import Run
from tests.report.runs import fill, make_run

SECOND = 1_000_000_000


def launch(spikes: dict[int, float], begin_s: float = 100.0) -> dict[str, Any]:
    """A hundred samples of 10 ms, give or take, some of them so many times as long."""
    latencies = [int(1e7 * (1 + 0.001 * (place % 7)) * spikes.get(place, 1)) for place in range(100)]
    begin_ns = int(begin_s * SECOND)
    return {"latency_ns": latencies, "window_ns": [begin_ns, begin_ns + sum(latencies)]}


def look(second: float, **found: Any) -> dict[str, Any]:
    return {
        "t_ns": int(second * SECOND),
        "throttled": [],
        "frequency_mhz": [2400, 1800],
        "other_cpu_percent": 1.0,
        **found,
    }


def test_none() -> None:
    found = find_outliers([launch({})], [look(100)])
    assert (found.count, found.share, found.reasons, found.sentence()) == (0, 0.0, {}, "")


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({}, "unexplained"),
        ({"throttled": ["throttled now"]}, "while the board throttled"),
        ({"throttled": ["throttled since boot"]}, "unexplained"),
        ({"frequency_mhz": [1500, 1500]}, "while the clock was lower"),
        ({"other_cpu_percent": 80.0}, "while other processes used the CPU"),
        ({"frequency_mhz": None, "other_cpu_percent": None}, "unexplained"),
    ],
)
def test_what_went_on_explains_them(conditions: dict[str, Any], reason: str) -> None:
    during = [look(99), look(100.6, **conditions), look(103)]
    found = find_outliers([launch({50: 3.0, 60: 1.5})], during)
    assert (found.count, found.share, found.reasons) == (2, 0.02, {reason: 2})
    assert "none is left out" in found.sentence()


def test_the_first_of_a_launch_and_those_that_nobody_looked_at() -> None:
    records = [launch({0: 2.0}), launch({9: 2.0}, begin_s=500.0)]
    assert find_outliers(records, [look(100)]).reasons == {"first in their launch": 1, "unexplained": 1}
    assert find_outliers([{"latency_ns": [10] * 50 + [90]}], []).reasons == {"unexplained": 1}


def test_launches_that_differ_are_no_outliers_of_each_other() -> None:
    slow = launch({})
    slow["latency_ns"] = [2 * each for each in slow["latency_ns"]]
    assert find_outliers([launch({}), slow], []).count == 0


def test_many_rows_with_outliers_are_told_of_in_one_sentence(tmp_path: Path) -> None:
    record = fill(make_run(tmp_path), rounds=2)
    lines = (record.path / "journal.jsonl").read_text().splitlines()
    spiked = []
    for line in map(json.loads, lines):
        if line["type"] == "samples":
            line["latency_ns"][5:8] = [9 * each for each in line["latency_ns"][5:8]]
        spiked.append(json.dumps(line))
    (record.path / "journal.jsonl").write_text("\n".join(spiked) + "\n")
    (note,) = outlier_notes(Run.load(record.path).comparison())
    assert note.startswith("8 of 8 rows have samples far above the others, 4.")
    assert "48 unexplained" in note and note.endswith("none is left out.")
