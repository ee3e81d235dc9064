"""Whether a file has a pattern, layer by layer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from edgesparse import patterns, sparsify
from edgesparse.check import check
from edgesparse.errors import EdgesparseError
from edgesparse.patterns import conforms, first_violation
from edgesparse.sparsify import make_recipe
from tests.sparsify import files
from tests.test_patterns import PATTERNS, WEIGHTS, fitting


@pytest.fixture(scope="module")
def two_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid 2:4, but for the first layer of 3 inputs; the depthwise one is dense."""
    directory = tmp_path_factory.mktemp("two-four")
    (directory / "model.tflite").write_bytes(files.network())
    bundle = sparsify(directory / "model.tflite", make_recipe("2:4"), directory / "out")
    return bundle.file(bundle.manifest.variants[1].file)


def test_a_valid_file_and_what_does_not_fit(two_four: Path) -> None:
    found = check(two_four, "2:4")
    assert found.valid
    assert [layer.verdict for layer in found.layers] == ["does not fit", "valid", "not checked", *["valid"] * 3]
    assert "needs a multiple of 4 inputs, the layer has 3" in found.layers[0].reason
    assert [round(layer.zeros or 0, 2) for layer in found.layers if layer.verdict == "valid"] == [0.5] * 4


def test_a_broken_group_is_named(two_four: Path, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network())
    found = check(tmp_path / "model.tflite", "2:4")
    assert not found.valid
    broken = next(layer for layer in found.layers if layer.verdict == "broken")
    assert broken.reason == "output 0, tap 0x0, inputs 0 to 3: 4 non-zeros, 2 allowed"
    with pytest.raises(EdgesparseError, match=r"is no valid 2:4: layer .*, and 3 more") as caught:
        found.require_valid()
    assert caught.value.exit_code == 3
    every = [layer.name for layer in found.layers if layer.verdict == "broken"]
    assert check(two_four, "2:4", exclude=every[:1]).layers[1].verdict in ("valid", "not checked")


@settings(deadline=None)
@given(WEIGHTS, PATTERNS)
def test_a_violation_is_named_where_there_is_one(weights: np.ndarray, pattern: patterns.Pattern) -> None:  # type: ignore[type-arg]
    if fitting(weights, pattern):
        assert (first_violation(weights, pattern) is None) == conforms(weights, pattern)


def test_the_command(two_four: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgesparse.cli", "check", *arguments], capture_output=True, text=True
        )

    (tmp_path / "dense.tflite").write_bytes(files.network())
    good, bad = run(str(two_four), "-p", "2:4", "--json"), run(str(tmp_path / "dense.tflite"), "-p", "2:4")
    assert (good.returncode, json.loads(good.stdout)["valid"]) == (0, True)
    assert bad.returncode == 3
    assert "not valid 2:4" in bad.stdout
    assert "is no valid 2:4" in bad.stderr
    assert run(str(tmp_path / "none.tflite"), "-p", "2:4").returncode == 3
    assert run(str(two_four), "-p", "4:2").returncode == 3


@pytest.mark.parametrize("how", [{"include": ("(",)}, {"exclude": ("*",)}])
def test_what_is_no_regular_expression_is_said(two_four: Path, how: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(EdgesparseError, match="is no regular expression") as caught:
        check(two_four, "2:4", **how)
    assert caught.value.exit_code == 3
