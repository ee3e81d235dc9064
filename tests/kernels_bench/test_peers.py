"""The peers' own environment, and a row in which every runtime ran the same network, where that environment is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from edgesparse.errors import MeasurementError
from kernels.bench import peers_env
from kernels.bench.modes import Request, in_own_process
from kernels.bench.peers import WORKER
from kernels.bench.rows import passed


def user_cache() -> Path:
    root = os.environ.get("EDGESPARSE_CACHE")
    return Path(root) if root else platformdirs.user_cache_path("edgesparse")


def test_every_runtime_gives_the_same_outputs(request_of_tiny: Request) -> None:
    ready = sorted(user_cache().glob("peers-*/.ready"), key=lambda path: path.stat().st_mtime)
    if not ready:
        pytest.skip("the peers are not installed: make bench-peers")
    setting = replace(request_of_tiny.setting, claims=("auto",))
    row = in_own_process(replace(request_of_tiny, setting=setting), ready[-1].parent / "bin" / "python", WORKER)
    assert list(row["cells"]) == ["xnnpack", "xnnpack-sparse", "csr", "onnxruntime", "openvino"]
    assert passed(row), row
    assert set(row["versions"]) == {"onnxruntime", "openvino", "ai-edge-litert"}


def test_every_requirement_is_pinned() -> None:
    lines = [line for line in peers_env.REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    assert {"onnxruntime", "openvino", "onnx"} <= {line.partition("==")[0] for line in lines}


def test_an_environment_that_cannot_be_made_is_a_sentence_and_leaves_nothing_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESPARSE_CACHE", str(tmp_path))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("edgesparse-no-such-package==1.0\n")
    monkeypatch.setattr(peers_env, "REQUIREMENTS", requirements)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MeasurementError, match="could not be made"):
        peers_env.peers_python()
    assert not list(tmp_path.glob("peers-*/.ready"))
