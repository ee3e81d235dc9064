"""Where the live views are drawn: on a terminal that can move its cursor, and nowhere else."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from edgesparse import console
from edgesparse.live import RunView
from tests.live.test_live import Screen, replay
from tests.report.runs import fill, make_run

# What moves a cursor, hides it or clears a line; colours end in m.
MOVES = re.compile(r"\x1b\[[\d;?]*[A-KSTfhl]")


def seen(view: str, file: io.StringIO, directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a view writes to `file` while something goes on."""
    # A console looks at the environment as it is made.
    monkeypatch.setattr(console, "talk", Console(file=file, highlight=False, width=80))
    if view == "run":
        run = fill(make_run(directory, rounds=8), rounds=8)
        replay(RunView("measuring on kitchen-pi"), run)
    elif view == "fleet":
        with console.FleetView(["pi", "nuc"]) as fleet:
            fleet.of("pi")("pushing")
            fleet.messages_of("nuc")({"type": "record", "record": {"type": "stopped", "reason": "narrow"}})
    else:
        with console.PushView(1_000_000) as push:
            push(500_000)
    return file.getvalue()


@pytest.mark.parametrize("view", ["run", "fleet", "push"])
def test_a_terminal_is_drawn_on(view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert MOVES.search(seen(view, Screen(), tmp_path, monkeypatch))


@pytest.mark.parametrize("view", ["run", "fleet", "push"])
def test_force_color_makes_no_terminal_of_a_log(view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = seen(view, io.StringIO(), tmp_path, monkeypatch)
    assert not MOVES.search(said)
    check_lines(view, said)
    assert ("\x1b[2m" in said) == (view != "push"), "colours are what was asked for"


@pytest.mark.parametrize("view", ["run", "fleet", "push"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    said = seen(view, Screen(), tmp_path, monkeypatch)
    assert "\x1b" not in said
    check_lines(view, said)


def check_lines(view: str, said: str) -> None:
    """A line for each step."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", said).splitlines()
    if view == "run":
        assert sum(line.startswith("· round ") for line in lines) == 8
    elif view == "fleet":
        assert lines == ["· pi: pushing", "· nuc: stopped: narrow; 0 launches"]
    else:
        assert lines == []
