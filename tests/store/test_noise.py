"""The noise floor of a board, and of no other."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from edgesparse.store import NoiseFloor, find_noise_floor, keep_noise_floor
from edgesparse.store.paths import data_dir

FLOOR = NoiseFloor(0.02, "an-aa-run")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "desk")


def kept() -> set[str]:
    return {path.name for path in (data_dir() / "noise").iterdir()}


def test_a_board_over_a_link_is_told_by_its_address() -> None:
    board = {"name": "pi", "address": "pi@10.0.0.5"}
    keep_noise_floor(board, FLOOR)
    assert find_noise_floor(board) == find_noise_floor({**board, "hostname": "kitchen"}) == FLOOR
    assert find_noise_floor({**board, "address": "pi@10.0.0.6"}) is None
    assert kept() == {"pi.json"}


def test_machines_that_share_a_directory_each_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster with one home: each is called local there."""
    board, other = {"name": "local", "address": None}, NoiseFloor(0.3, "another-run")
    keep_noise_floor(board, FLOOR)
    monkeypatch.setattr(platform, "node", lambda: "server")
    assert find_noise_floor(board) is None
    keep_noise_floor(board, other)
    assert find_noise_floor(board) == other
    assert find_noise_floor({**board, "hostname": "desk"}) == FLOOR


def test_one_kept_before_hosts_were_told_apart_is_this_machine_s() -> None:
    old = data_dir() / "noise" / "local.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"version": 1, "address": None, "share": 0.02, "run": "an-aa-run"}))
    board = {"name": "local", "address": None}
    assert find_noise_floor(board) == find_noise_floor({**board, "hostname": "desk"}) == FLOOR
    assert find_noise_floor({**board, "hostname": "server"}) is None


def test_a_hostname_leaves_no_directory(tmp_path: Path) -> None:
    board = {"name": "local", "address": None, "hostname": "../../desk"}
    keep_noise_floor(board, FLOOR)
    assert kept() == {"local@.._.._desk.json"} and find_noise_floor(board) == FLOOR
