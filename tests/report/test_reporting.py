"""`edgesparse report` as it is called: forms, exit codes, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from edgesparse.cli import app
from edgesparse.errors import EdgesparseError
from edgesparse.store import Run
from tests.report.pairs import make_pair, slower

CELL = "block-4x1-80/xnnpack/1"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Run, Run]:
    return make_pair(tmp_path, slower({CELL: 1.2}))


def report(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def half(path: Path, data: object) -> None:
    """A disk that is full after half of a file."""
    with path.open("wb") as file:
        file.write(b"half")
    raise OSError(28, "No space left on device")


def refused(result: Result) -> EdgesparseError:
    """What `main` would print, and exit with."""
    assert isinstance(result.exception, EdgesparseError), result.output
    return result.exception


def test_one_run_several_runs_and_the_last(pair: tuple[Run, Run]) -> None:
    base, new = pair
    assert json.loads(report(base.id, "--json").stdout)["run"] == base.id
    several = json.loads(report(base.id, new.id, "--json").stdout)
    assert (several["version"], [run["run"] for run in several["runs"]]) == (1, [base.id, new.id])
    latest = max(base.id, new.id)
    for arguments in (["--last", "--json"], ["--json"], ["last", "--json"]):
        assert json.loads(report(*arguments).stdout)["run"][:15] == latest[:15]
    text = report(base.id, new.id).stdout
    assert base.id in text and new.id in text


def test_a_page_is_written_beside_what_is_printed(
    pair: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    monkeypatch.setattr("edgesparse.report.html.write_report", lambda runs, path: written.append((runs, path)))
    page = tmp_path / "page.html"
    result = report(*(run.id for run in pair), "--json", "--html", str(page))
    assert result.exit_code == 0
    (runs, path) = written[0]
    assert ([run.id for run in runs], path) == ([run.id for run in pair], page)
    assert len(json.loads(result.stdout)["runs"]) == 2
    assert "the page of 2 runs" in " ".join(result.stderr.split())


def test_comparing_fails_only_where_a_limit_says_so(pair: tuple[Run, Run]) -> None:
    ids = [run.id for run in pair]
    plain = report("--compare", *ids)
    assert plain.exit_code == 0 and "Slower: of 8 cells 1 slower" in plain.stdout
    allowed = report("--compare", *ids, "--fail-if-slower", "50%")
    assert allowed.exit_code == 0
    failed = report("--compare", *ids, "--fail-if-slower", "5%", "--json")
    assert refused(failed).exit_code == 7
    assert json.loads(failed.stdout)["new"]["run"] == ids[1], "all of it is printed first"


def test_a_pull_request_and_a_ci_server_get_theirs(pair: tuple[Run, Run], tmp_path: Path) -> None:
    ids, junit = [run.id for run in pair], tmp_path / "made" / "junit.xml"
    result = report("--compare", *ids, "--fail-if-slower", "5%", "--markdown", "--junit", str(junit))
    assert refused(result).exit_code == 7
    assert result.stdout.startswith("❌ **Worse than allowed: block-4x1-80/xnnpack/1 slower")
    root = ElementTree.parse(junit).getroot()
    assert root[0].attrib["failures"] == "1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        patch.setattr(Path, "write_text", half)
        full = report("--compare", *ids, "--junit", str(junit))
    assert "cannot be written: No space left" in refused(full).message
    assert list(junit.parent.iterdir()) == [junit] and ElementTree.parse(junit).getroot().attrib == root.attrib
    nowhere = report("--compare", *ids, "--junit", str(tmp_path))
    assert refused(nowhere).exit_code == 2


def test_no_file_is_green_where_the_command_fails(tmp_path: Path) -> None:
    ids, junit = [run.id for run in make_pair(tmp_path, rounds=2)], tmp_path / "junit.xml"
    result = report("--compare", *ids, "--fail-if-slower", "5%", "--markdown", "--junit", str(junit))
    assert refused(result).exit_code == 6
    assert result.stdout.startswith("❌ **Not one of 8 cells could be judged")
    assert ElementTree.parse(junit).getroot()[0].attrib["errors"] == "1"
    assert "9 test cases" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--compare"], "two runs to compare, found one"),
        (["--compare", "BASE"], "two runs to compare, found one"),
        (["--compare", "BASE", "BASE"], "twice"),
        (["--compare", "BASE", "NEW", "BASE"], "found 3"),
        (["--compare", "BASE", "NEW", "--csv"], "none of --csv"),
        (["--compare", "BASE", "NEW", "--json", "--markdown"], "one of --json"),
        (["--compare", "BASE", "NEW", "--fail-if-slower", "much"], "a limit such as 5%"),
        (["BASE", "NEW", "--fail-if-slower", "5%"], "--compare with"),
        (["BASE", "--junit", "x.xml"], "--compare with"),
        (["BASE", "--last"], "found both"),
    ],
)
def test_wrong_usage_is_2_and_one_sentence(pair: tuple[Run, Run], arguments: list[str], says: str) -> None:
    names = {"BASE": pair[0].id, "NEW": pair[1].id}
    error = refused(report(*(names.get(each, each) for each in arguments)))
    assert error.exit_code == 2 and says in error.message and error.hint
