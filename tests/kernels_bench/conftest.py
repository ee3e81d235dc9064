"""A small model as files, and the kernels where they are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesparse.errors import UsageError
from kernels.bench.files import ModelFiles, find_delegate
from kernels.bench.interleave import Timing
from kernels.bench.modes import Request, Setting
from tests.tiny import TinyFiles

QUICK = Timing(rounds=8, min_time_s=0.0, max_time_s=5.0)


@pytest.fixture
def files(tiny_files: TinyFiles, tmp_path: Path) -> ModelFiles:
    """The tiny model, zeros and sparse."""
    (tmp_path / "zeros.tflite").write_bytes(tiny_files["dense"])
    (tmp_path / "sparse.tflite").write_bytes(tiny_files["sparse"])
    return ModelFiles(tmp_path / "zeros.tflite", tmp_path / "sparse.tflite")


@pytest.fixture
def delegate() -> Path:
    """The library built for this machine."""
    try:
        return find_delegate(None)
    except UsageError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def request_of_tiny(files: ModelFiles, delegate: Path) -> Request:
    """A request whose files are the tiny model's."""
    setting = Setting(delegate=str(delegate), timing=QUICK)
    return Request("mlp-64", "unstructured-80", setting=setting, given=(str(files.zeros), str(files.sparse)))
