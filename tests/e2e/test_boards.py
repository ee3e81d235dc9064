"""The whole path on this machine and over a real OpenSSH server: the same steps, the same shape of result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesparse import bench, deploy
from edgesparse.boards.inventory import Board, resolve
from edgesparse.convert import Bundle
from edgesparse.errors import UsageError
from edgesparse.files import sha256_of
from edgesparse.kernels import library_path
from edgesparse.report.export import to_json
from edgesparse.store import Run, RunRecord
from tests.interrupting import hear_ctrl_c
from tests.sshd import Sshd
from tests.waiting import wait_until

CELLS = 9  # dense, unstructured, block-4x1 x builtin, xnnpack, csr


@pytest.fixture(params=["local", "ssh"])
def board(request: pytest.FixtureRequest) -> Board:
    if request.param == "local":
        request.addfinalizer(stop_local_agent)
        return resolve("local")
    return over_ssh(request.getfixturevalue("sshd"))


def over_ssh(server: Sshd) -> Board:
    """The server as a board whose Python has the runtime already."""
    inventory = Path(os.environ["EDGESPARSE_CONFIG"])
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_text(
        f'version = 1\n[boards.loop]\ntype = "x86-64"\nhost = "{server.host}"\n'
        f'python = "{sys.executable}"\nthreads = [1]\n'
    )
    return resolve("loop")


def stop_local_agent() -> None:
    subprocess.run([sys.executable, "-m", "edgesparse.cli", "agent", "stop", "--force"], check=False)


def shape(document: Any) -> Any:
    """A JSON document with its keys alone; lists by their first element."""
    if isinstance(document, dict):
        differs = ("temperature_c", "reasons")  # the sensors there are, and what disturbed some samples
        return {key: shape(value) for key, value in document.items() if key not in differs}
    return [shape(document[0])] if isinstance(document, list) and document and isinstance(document[0], dict) else None


def quick_bench(bundle: Bundle, board: Board, on_message: Callable[[Any], None] = lambda message: None) -> Run:
    return bench(bundle, board, rounds=(6, 6), samples=15, on_message=on_message)


def test_deploying_twice_moves_nothing_and_takes_no_time(bundle: Bundle, board: Board) -> None:
    first = deploy(bundle, board)
    assert first.pushed.moved_bytes > 0
    assert [check["status"] for check in first.checks] == ["ok"] * CELLS

    def takes_no_time() -> bool:
        started = time.perf_counter()
        again = deploy(bundle, board)
        assert again.pushed.moved_bytes == again.pushed.moved == 0
        assert all(check["cached"] for check in again.checks)
        return time.perf_counter() - started < 2

    wait_until(takes_no_time)  # as soon as nobody else wants this machine


def test_a_comparison_has_every_number(bundle: Bundle, board: Board) -> None:
    document = to_json(quick_bench(bundle, board).comparison())
    json.dumps(document, allow_nan=False)
    assert [variant["name"] for variant in document["variants"]] == ["dense", "unstructured", "block-4x1"]
    for variant in document["variants"]:
        assert 0 < variant["density"] <= 1
        assert variant["bytes"] > 1000
        assert 0 <= variant["accuracy"] <= 1
        assert [row["backend"] for row in variant["backends"]] == ["builtin", "xnnpack", "csr"]
        for row in variant["backends"]:
            assert row["status"] == "ok"
            assert len(row["samples_ms"]) == row["count"] == 6 * 15
            low, high = row["interval_ms"]
            assert low <= row["median_ms"] <= high
            assert row["parity"]["ok"]
            assert row["path"]["requested"] == ("dense" if variant["name"] == "dense" else "sparse")
            assert row["path"]["taken"] in ("sparse", "dense")
        csr = variant["backends"][-1]["delegate"]
        assert [node["op"] for node in csr["nodes"]].count("FULLY_CONNECTED") >= 1
        assert all(node["kernel"] if node["claimed"] else node["reason"] for node in csr["nodes"])


def test_the_same_run_has_the_same_shape_over_ssh(bundle: Bundle, sshd: Sshd, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(stop_local_agent)
    here, there = quick_bench(bundle, resolve("local")), quick_bench(bundle, over_ssh(sshd))
    assert shape(to_json(here.comparison())) == shape(to_json(there.comparison()))


def test_ctrl_c_frees_the_board_and_keeps_what_there_is(bundle: Bundle, sshd: Sshd) -> None:
    board = over_ssh(sshd)
    deploy(bundle, board)
    command = [sys.executable, "-m", "edgesparse.cli", "bench", str(bundle.path), "--board", "loop", "--rounds", "500"]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
    runs = Path(os.environ["EDGESPARSE_DATA"]) / "runs"
    wait_until(lambda: any(path.stat().st_size > 10_000 for path in runs.glob("*/journal.jsonl")))
    host.send_signal(signal.SIGINT)
    out, err = host.communicate(timeout=120)
    assert host.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    assert b"Interrupted" in err
    status = json.loads(cli("agent", "status", "--board", "loop", "--json").stdout)
    assert status["state"] == "idle"
    assert status["ended"][0]["status"] == "cancelled"
    last = RunRecord.last()
    assert last.packed
    assert last.records()[-1] == {**last.records()[-1], "type": "finished", "status": "cancelled"}
    assert cli("report", "--last", "--json").returncode == 0


@pytest.mark.parametrize("after_s", [0.3, 0.8, 1.3])
def test_ctrl_c_while_deploying_leaves_no_half(bundle: Bundle, sshd: Sshd, after_s: float) -> None:
    over_ssh(sshd)
    command = [sys.executable, "-m", "edgesparse.cli", "deploy", str(bundle.path), "--board", "loop"]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
    time.sleep(after_s)
    host.send_signal(signal.SIGINT)
    _, err = host.communicate(timeout=120)
    assert host.returncode in (0, 130, -signal.SIGINT), err.decode()  # the last: while Python still starts
    wait_until(lambda: not list(sshd.board_home.rglob(".part-*")))  # the board sweeps when the host has hung up
    done = cli("deploy", str(bundle.path), "--board", "loop", "--json")
    assert done.returncode == 0, done.stderr
    assert all(check["status"] == "ok" for check in json.loads(done.stdout)["checks"])


def test_a_board_without_a_runtime_is_given_one(bundle: Bundle, sshd: Sshd, bare_python: Path) -> None:
    inventory = over_ssh(sshd)
    del inventory
    config = Path(os.environ["EDGESPARSE_CONFIG"])
    config.write_text(config.read_text().replace(sys.executable, str(bare_python)))
    deployment = deploy(bundle, resolve("loop"))
    assert [check["status"] for check in deployment.checks] == ["ok"] * CELLS
    assert deployment.runtime["python"] == str(bare_python)
    runtimes = [path.name for path in (sshd.board_home / "runtimes").iterdir()]
    deploy(bundle, resolve("loop"))
    assert [path.name for path in (sshd.board_home / "runtimes").iterdir()] == runtimes


def test_the_kernels_are_pushed_once_by_their_hash(bundle: Bundle, sshd: Sshd) -> None:
    board, sha256 = over_ssh(sshd), sha256_of(library_path())
    deployment = deploy(bundle, board, backends=["csr"])
    assert [check["cell"] for check in deployment.checks] == ["dense/csr/1", "unstructured/csr/1", "block-4x1/csr/1"]
    there = sshd.board_home / "objects" / sha256
    assert there.read_bytes() == library_path().read_bytes()
    everything = [sshd.board_home, *sshd.board_home.rglob("*")]
    assert [path for path in everything if path.lstat().st_mode & 0o077] == [], "all of it is its user's alone"
    assert deploy(bundle, board, backends=["csr"]).pushed.moved == 0
    there.unlink()
    assert deploy(bundle, board, backends=["csr"]).pushed.moved == 1


def test_a_forced_instruction_set_reaches_the_board(
    bundle: Bundle, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESPARSE_ISA", "scalar")
    checks = deploy(bundle, over_ssh(sshd), backends=["csr"]).checks
    assert {check["delegate"]["isa"] for check in checks} == {"scalar"}
    monkeypatch.setenv("EDGESPARSE_ISA", "mmx")
    deployment = deploy(bundle, over_ssh(sshd), backends=["csr"])
    assert all(check["status"] == "failed" and "mmx" in check["reason"] for check in deployment.checks)


def test_without_kernels_the_other_backends_are_measured(
    bundle: Bundle, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesparse.kernels._BUILD", Path("/nowhere"))
    said: list[str] = []
    deployment = deploy(bundle, over_ssh(sshd), progress=said.append)
    assert {check["cell"].split("/")[1] for check in deployment.checks} == {"builtin", "xnnpack"}
    assert any("without csr" in text and "make kernels" in text for text in said)
    with pytest.raises(UsageError, match="not built"):
        deploy(bundle, over_ssh(sshd), backends=["csr"])


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    """A Python on the board with nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    return tmp_path / "bare" / "bin" / "python"


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgesparse.cli", *arguments], capture_output=True, text=True, check=False
    )
