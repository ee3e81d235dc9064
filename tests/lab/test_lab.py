"""The whole lab, cut short: one epoch of everything, two patterns, one round on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import edgesparse
from edgesparse.boards.inventory import resolve
from edgesparse.errors import UsageError
from edgesparse.examples import digits
from edgesparse.lab import make_recipes
from edgesparse.wire import BACKENDS


@pytest.fixture(autouse=True)
def agent_stopped(own_state: None) -> Iterator[None]:
    """The agent that a test leaves on this machine."""
    yield
    subprocess.run([sys.executable, "-m", "edgesparse.cli", "agent", "stop", "--force"], check=False)


def test_the_lab_ends_in_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [recipe for recipe in make_recipes(0.5, epochs=1) if recipe.pattern in ("block 16x1", "2:4")]
    monkeypatch.setattr(digits, "EPOCHS", 1)
    monkeypatch.setattr(import_module("edgesparse.lab"), "make_recipes", lambda sparsity, epochs: two)
    said: list[str] = []
    found = edgesparse.lab(tmp_path / "lab", epochs=1, rounds=(1, 1), time_limit_s=30, progress=said.append)

    assert [each.pattern for each in found.patterns] == ["dense", "2:4", "block 16x1"]
    for each in found.pruned:
        assert each.zeros == 0.5
        assert each.shape == (256, 1, 1, 256)
        assert each.own.ratio is not None
        assert 1.8 < each.own.ratio < 2
        assert each.layer_file_bytes == each.form("CSR").total_bytes  # the file holds what the form says
        assert {row.backend for row in each.backends} <= set(BACKENDS)
        assert all(row.status == "ok" and row.parity == "ok" and row.median_ms and row.why for row in each.backends)
    assert found.pruned_layers == ["pointwise1", "pointwise2", "pointwise3"]
    assert not any("earlier" in line for line in said)
    page = (tmp_path / "lab" / "page" / "index.html").read_text()
    assert found.run in page
    assert json.loads((tmp_path / "lab" / "page" / "lab.json").read_text())["run"] == found.run

    again: list[str] = []
    edgesparse.lab(tmp_path / "lab", resolve("local"), rounds=(1, 1), time_limit_s=30, progress=again.append)
    assert sum("earlier" in line for line in again) == 3


def test_other_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "mine.html").write_text("mine")
    with pytest.raises(UsageError, match="left alone"):
        edgesparse.lab(tmp_path)
