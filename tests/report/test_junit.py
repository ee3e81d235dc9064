"""JUnit's XML: what Ant's schema asks for, and what every CI server reads out of it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgesparse.report.comparing import RunsCompared, compare_runs, judge
from edgesparse.report.comparing import to_junit as to_junit_of
from tests.report.pairs import make_pair, slower

CELL = "block-4x1-80/xnnpack/1"

# Of JUnit.xsd as Ant's task writes it: element -> (attributes it must have, those it may have, children in order).
SCHEMA = {
    "testsuites": ({}, {}, ["testsuite"]),
    "testsuite": (
        {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "id", "package"},
        {"skipped"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": ({}, {}, ["property"]),
    "property": ({"name", "value"}, {}, []),
    "testcase": ({"name", "classname", "time"}, {}, ["skipped", "error", "failure"]),
    "failure": ({"type"}, {"message"}, []),
    "error": ({"type"}, {"message"}, []),
    "skipped": ({}, {"message"}, []),
    "system-out": ({}, {}, []),
    "system-err": ({}, {}, []),
}


def to_junit(compared: RunsCompared, limit: float | None = None) -> str:
    """With the gate's verdict, as the command writes it."""
    return to_junit_of(compared, judge(compared, limit))


def check(element: ElementTree.Element) -> None:
    """Hold an element and all in it against the schema."""
    must, may, children = SCHEMA[element.tag]
    assert set(must) <= set(element.attrib) <= set(must) | set(may), element.attrib
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places), f"{element.tag} has its children in another order"
    for child in element:
        check(child)


def test_a_case_for_each_cell_and_a_failure_for_what_is_not_allowed(tmp_path: Path) -> None:
    compared = compare_runs(*make_pair(tmp_path, slower({CELL: 1.2}), crashes=("two-four/builtin/1", 1)))
    text = to_junit(compared, 0.05)
    assert text.startswith("<?xml version='1.0' encoding='utf-8'?>")
    root = ElementTree.fromstring(text.encode())
    check(root)
    suite = root[0]
    assert {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped", "hostname")} == {
        "tests": "8", "failures": "2", "errors": "0", "skipped": "0", "hostname": "kitchen",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    assert list(cases) == [cell.cell for cell in compared.cells]
    failures = {name: case.find("failure") for name, case in cases.items()}
    assert [name for name, failure in failures.items() if failure is not None] == [CELL, "two-four/builtin/1"]
    failure = failures[CELL]
    assert failure is not None and failure.attrib["type"] == "slower" and "+2" in failure.attrib["message"]
    new = next(cell.new for cell in compared.cells if cell.cell == CELL)
    assert new is not None and new.median_ms is not None
    assert float(cases[CELL].attrib["time"]) == pytest.approx(new.median_ms / 1e3, abs=1e-9)


def test_the_limit_decides_and_what_cannot_be_judged_is_skipped(tmp_path: Path) -> None:
    allowed = compare_runs(*make_pair(tmp_path, slower({CELL: 1.2})))
    assert "<failure" not in to_junit(allowed, 0.5)
    assert "<failure" in to_junit(allowed)
    few = ElementTree.fromstring(to_junit(compare_runs(*make_pair(tmp_path, rounds=3))).encode())
    check(few)
    assert few[0].attrib["skipped"] == "8"
    assert {case[0].attrib["message"] for case in few.iter("testcase")} == {"too few launches to tell"}
    working = make_pair(tmp_path, parity_fails=CELL)[1], make_pair(tmp_path, parity_fails=CELL)[1]
    both = ElementTree.fromstring(to_junit(compare_runs(*working)).encode())
    (skipped,) = both.iter("skipped")
    assert "failed in the base run as well: parity" in skipped.attrib["message"]


def test_a_job_that_fails_without_a_worse_cell_is_an_error(tmp_path: Path) -> None:
    few = compare_runs(*make_pair(tmp_path, rounds=2))
    base, new = make_pair(tmp_path)
    new.record.about["board"] = {**new.record.about["board"], "type": "raspberrypi4"}
    others = compare_runs(base, new)
    for compared, kind in ((few, "undecided"), (others, "refused")):
        root = ElementTree.fromstring(to_junit(compared, 0.05).encode())
        check(root)
        counts = {key: root[0].attrib[key] for key in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": "9", "failures": "0", "errors": "1", "skipped": "8"}
        assert len(list(root.iter("testcase"))) == 9
        ((case, error),) = [(each, each[0]) for each in root.iter("testcase") if each.find("error") is not None]
        assert (case.attrib["name"], error.attrib["type"]) == ("gate", kind)
        assert "<error" not in to_junit(compared)


def test_an_emulated_board_has_no_time(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, base={"emulated": True}, make_emulated=True)
    root = ElementTree.fromstring(to_junit(compare_runs(*pair)).encode())
    check(root)
    assert {case.attrib["time"] for case in root.iter("testcase")} == {"0.000000000"}
    assert root[0].attrib["skipped"] == "8"


def test_what_a_worker_said_is_escaped(tmp_path: Path) -> None:
    nasty = 'it said <b> & "quit"\x00\x1b[31m ]]> \ud7ff\ufffe'

    def says(record: dict[str, object]) -> dict[str, object]:
        return {**record, "reason": nasty} if record["type"] == "cell_failed" else record

    compared = compare_runs(*make_pair(tmp_path, says, crashes=(CELL, 1)))
    root = ElementTree.fromstring(to_junit(compared).encode())
    check(root)
    (failure,) = root.iter("failure")
    assert 'it said <b> & "quit"' in failure.attrib["message"]
    assert "\x00" not in failure.attrib["message"] and "\x1b" not in failure.attrib["message"]
