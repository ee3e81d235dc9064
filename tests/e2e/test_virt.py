"""The emulated ARM64 board: built, booted, deployed to and measured on as any board; and nothing left of what is
interrupted. The image is the user's own, from the cache; the boards that run here are the tests' own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgesparse import bench, deploy
from edgesparse.boards.ssh import SshTransport
from edgesparse.boards.virt import Image, Machine, ensure_image, tools
from edgesparse.convert import Bundle
from edgesparse.errors import BoardError
from edgesparse.report.summary import Row
from edgesparse.store import Run
from edgesparse.wire import BACKENDS
from kernels.bench.arm_bundle import make_bundle
from tests.interrupting import hear_ctrl_c

MISSING = tools.missing_packages(build=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt)"),
    pytest.mark.timeout(1800),  # the first test builds the image, and everything is slow when it is emulated
]
# A stock graph, which XNNPACK runs dense; and one that it runs sparse. The latter is not of the smallest size: where a
# layer is one pixel large, XNNPACK's sparse kernels take some 13 instructions for every weight that is left, as many as
# for four pixels, and dense ones 0.6 for every weight. Of 32x32 pixels, 80 % zeros make 7.7 out of 3.6 million; of
# 128x128, 22.3 out of 40.2.
STOCK, BLOCKS = "mobilenetv2-64", "block-16x1-80"
CONFORMING, SINGLE = "mobilenetv2-128-conforming", "unstructured-80"


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(print)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Dense, and with blocks of 16 outputs that csr alone runs sparse."""
    return make_bundle(tmp_path_factory.mktemp("stock"), STOCK, [BLOCKS])


@pytest.fixture(scope="module")
def conforming(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Dense, and with single zeros that XNNPACK runs sparse on ARM64."""
    return make_bundle(tmp_path_factory.mktemp("conforming"), CONFORMING, [SINGLE])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    yield made
    made.stop(discard=True)


def shell(machine: Machine, script: str) -> str:
    transport = SshTransport(machine.board())
    try:
        return transport.run(["sh", "-c", script], timeout_s=60).stdout.decode().strip()
    finally:
        transport.close()


def row(run: Run, variant: str, backend: str) -> Row:
    found = next(each for each in run.comparison().variants if each.name == variant)
    return next(each for each in found.backends if each.backend == backend)


def test_it_is_a_debian_with_all_that_a_board_needs(image: Image, machine: Machine) -> None:
    machine.start(image)
    assert shell(machine, "uname -m; hostname; nproc").split() == ["aarch64", "virt-aarch64", "2"]
    assert shell(machine, "python3 --version").startswith("Python 3.11")
    assert shell(machine, "dpkg --audit; dpkg -l | tail -n +6 | grep -v ^ii") == "", "every package is set up"
    assert "asimddp" in shell(machine, "grep Features /proc/cpuinfo")


def test_its_host_key_is_checked(machine: Machine) -> None:
    known = machine.directory / "known_hosts"
    right = known.read_text()
    try:
        known.write_text(right.rpartition(" ")[0] + " " + "AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + "\n")
        with pytest.raises(BoardError, match="host key"):
            shell(machine, "true")
    finally:
        known.write_text(right)


def test_it_runs_what_an_arm64_board_runs_under_every_backend(machine: Machine, stock: Bundle) -> None:
    deployment = deploy(stock, machine.board())
    deployment.require_parity()
    taken = {check["cell"]: check["path"]["taken"] for check in deployment.checks}
    assert [cell for cell, path in taken.items() if path == "sparse"] == [f"{BLOCKS}/csr/1"]
    assert set(taken) == {f"{name}/{backend}/1" for name in ("dense", BLOCKS) for backend in BACKENDS}
    evidence = next(check["path"]["evidence"] for check in deployment.checks if check["cell"] == f"{BLOCKS}/csr/1")
    assert "bsr" in evidence and evidence.count("__neon") >= 1


def test_it_shows_no_latency(machine: Machine, stock: Bundle) -> None:
    run = bench(stock, machine.board(), backends=["csr"])
    found = row(run, BLOCKS, "csr")
    assert run.comparison().measured == "nothing" and run.comparison().board["emulated"] is True
    assert found.status == "ok" and found.count >= 5 and found.parity and found.parity["ok"]
    assert found.median_ms is None and not found.samples_ms and found.instructions is None


def test_a_disk_is_clean_unless_it_is_to_be_gone_on_with(image: Image, machine: Machine) -> None:
    shell(machine, "echo here > /root/left; sync")
    machine.start(image, keep=True)
    assert shell(machine, "cat /root/left") == "here"
    started = time.monotonic()
    machine.start(image)
    assert shell(machine, "cat /root/left; ls /root/.edgesparse") == ""
    print(f"powered off and booted in {time.monotonic() - started:.0f} s")


def test_in_counting_mode_instructions_are_the_same_again(image: Image, machine: Machine, conforming: Bundle) -> None:
    machine.start(image, counting=True)
    run = bench(conforming, machine.board(), backends=["xnnpack"], rounds=(2, 2))
    assert run.comparison().measured == "instructions"
    dense, sparse = (row(run, name, "xnnpack").instructions for name in ("dense", SINGLE))
    assert dense is not None and sparse is not None and sparse.of_dense is not None
    for found in (dense, sparse):
        assert found.lowest is not None and found.highest is not None
        assert found.highest / found.lowest < 1.01, found.launches
    assert row(run, SINGLE, "xnnpack").path["taken"] == "sparse"
    assert 0.3 < sparse.of_dense < 0.75, "fewer instructions, though not by the share of zeros"


@pytest.mark.parametrize(
    ("step", "number", "returncode"),
    [
        ("unpacking", signal.SIGINT, 130),
        ("setting the packages up", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, step: str, number: signal.Signals, returncode: int
) -> None:
    cache = tmp_path / "cache"
    environment = {**os.environ, "EDGESPARSE_CACHE": str(cache)}
    command = [sys.executable, "-m", "edgesparse.cli", "virt", "start"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_ctrl_c
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if step in line:
                break
        time.sleep(1)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: to the whole group
        else:
            process.send_signal(number)
        process.stderr.read()
    assert process.returncode == returncode
    assert [path.name for path in (cache / "virt").iterdir()] == ["lock"]
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(cache) in " ".join(each.info["cmdline"] or [])]
