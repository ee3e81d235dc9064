"""`edgesparse networks`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgesparse.cli import app
from edgesparse.errors import UsageError
from edgesparse.networks import names
from tests.networks.conftest import Build

runner = CliRunner()


def test_list() -> None:
    assert runner.invoke(app, ["networks", "list"]).output.split() == names()
    assert json.loads(runner.invoke(app, ["networks", "list", "--json"]).output) == {"networks": names()}


def test_build_writes_the_file_that_was_asked_for(built: Build, tmp_path: Path) -> None:
    out = tmp_path / "model.tflite"
    done = runner.invoke(app, ["networks", "build", "mlp-48", "--pattern", "2:4", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"out": str(out), "bytes": out.stat().st_size, "model": "mlp-48.2-of-4"}
    assert out.read_bytes() == built("mlp-48", "2-of-4", "sparse").read_bytes()

    runner.invoke(app, ["networks", "build", "mlp-48", "--pattern", "2:4", "--encoding", "zeros", "-o", str(out)])
    assert out.read_bytes() == built("mlp-48", "2-of-4", "zeros").read_bytes()


@pytest.mark.parametrize(
    "arguments", [["mlp-0"], ["mlp-48", "--pattern", "unstructured"], ["mlp-48", "--weights", "float8"]]
)
def test_what_there_is_not_is_refused(arguments: list[str], tmp_path: Path) -> None:
    done = runner.invoke(app, ["networks", "build", *arguments, "-o", str(tmp_path / "model.tflite")])
    assert isinstance(done.exception, UsageError)
    assert not list(tmp_path.glob("*.tflite"))
