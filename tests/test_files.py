"""Where a result may be written is known before the work begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgesparse.errors import UsageError
from edgesparse.files import refuse_foreign, replacing

MARKER = "result.json"


def test_what_may_be_written(tmp_path: Path) -> None:
    refuse_foreign(tmp_path / "new", MARKER)
    refuse_foreign(tmp_path / "new" / "deep" / "er", MARKER)
    (tmp_path / "empty").mkdir()
    refuse_foreign(tmp_path / "empty", MARKER)
    with replacing(tmp_path / "old") as directory:
        (directory / MARKER).write_text("{}")
    refuse_foreign(tmp_path / "old", MARKER)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "old"]


def test_nothing_but_an_earlier_result_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for place, says in (
        (tmp_path, "was not made by this command"),
        (tmp_path / "thesis.tex", "was not made by this command"),
        (tmp_path / "thesis.tex" / "out", "cannot be made: .*thesis.tex is no directory"),
    ):
        with pytest.raises(UsageError, match=says):
            refuse_foreign(place, MARKER)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="may not be written to"):
        refuse_foreign(tmp_path / "out", MARKER)
