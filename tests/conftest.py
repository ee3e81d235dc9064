"""What the whole suite shares: nothing of the user's own state is touched, and TensorFlow is loaded once at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import TinyFiles, make_tiny_files


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, inventory and board store of this test alone; a test that changes the working directory changes its own."""
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setenv("EDGESPARSE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("EDGESPARSE_STORE", raising=False)
    monkeypatch.setenv("EDGESPARSE_CONFIG", str(tmp_path / "config" / "boards.toml"))
    monkeypatch.setenv("EDGESPARSE_HOME", str(tmp_path / "board"))
    monkeypatch.setenv("EDGESPARSE_LOCK", str(tmp_path / "measuring.lock"))  # no test waits for another's measurement


@pytest.fixture(scope="session")
def tiny_files() -> TinyFiles:
    """See tests/tiny.py."""
    return make_tiny_files()
