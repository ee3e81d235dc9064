"""Where a result may be written is known before the work begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgesparse.errors import UsageError
from edgesparse.files import refuse_foreign, replacing, replacing_file, write_whole

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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_whole(file, b"first")
    with pytest.raises(OSError, match="No space left"), replacing_file(file) as aside:
        aside.write_bytes(b"hal")
        raise OSError(28, "No space left on device")
    assert file.read_bytes() == b"first" and list(tmp_path.iterdir()) == [file]
    file.chmod(0o640)
    write_whole(file, b"second")
    assert file.read_bytes() == b"second" and list(tmp_path.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o640


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    link, file = tmp_path / "page.html", tmp_path / "site" / "index.html"
    link.symlink_to("site/index.html")
    for content in (b"where there was none", b"where there was one"):
        write_whole(link, content)
        assert link.is_symlink() and file.read_bytes() == content
    assert sorted(tmp_path.rglob("*")) == [link, tmp_path / "site", file]


def test_what_is_no_regular_file_is_left_as_it_is(tmp_path: Path) -> None:
    pipe, link, directory = tmp_path / "pipe", tmp_path / "link", tmp_path / "directory"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    directory.mkdir()
    for path, says in ((pipe, "no regular file"), (link, "no regular file"), (directory, "is a directory")):
        with pytest.raises(OSError, match=says):
            write_whole(path, b"data")
    assert pipe.is_fifo() and link.is_symlink() and directory.is_dir() and len(list(tmp_path.iterdir())) == 3
