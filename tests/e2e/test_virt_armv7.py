"""The emulated 32-bit ARM board, for the path that 32-bit Raspberry Pi OS takes: tflite-runtime's wheel for armv7l over
the system's numpy and psutil, and the ARMv7 kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgesparse import bench, deploy
from edgesparse.boards import reach
from edgesparse.boards.facts import probe
from edgesparse.boards.virt import Image, Machine, ensure_image, tools
from edgesparse.convert import Bundle
from kernels.bench.arm_bundle import make_bundle

TYPE = "virt-armv7"
MISSING = tools.missing_packages("qemu-system-arm", build=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt)"),
    pytest.mark.timeout(1800),  # the first test builds the image, and everything is slow when it is emulated
]
BLOCKS = "block-4x1-80"


@pytest.fixture(scope="module")
def image() -> Image:
    return ensure_image(print, TYPE)


@pytest.fixture(scope="module")
def machine(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"), TYPE)
    made.start(image)
    yield made
    made.stop(discard=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("stock"), "mobilenetv2-32", [BLOCKS])


def test_it_is_what_a_32_bit_system_is(machine: Machine) -> None:
    transport = reach(machine.board())
    facts = probe(transport, machine.board())
    transport.close()
    assert (facts.arch, facts.cpu, facts.isa) == ("armv7l", "cortex-a15", ["neon"])


def test_the_runtimes_wheel_and_the_kernels_run_there(machine: Machine, bundle: Bundle) -> None:
    deployment = deploy(bundle, machine.board())
    deployment.require_parity()
    assert (deployment.runtime["name"], deployment.runtime["version"]) == ("tflite-runtime", "2.14.0")
    checks = {check["cell"]: check["path"] for check in deployment.checks}
    assert [cell for cell, path in checks.items() if path["taken"] == "sparse"] == [f"{BLOCKS}/csr/1"]
    assert "__neon" in checks[f"{BLOCKS}/csr/1"]["evidence"]
    run = bench(bundle, machine.board(), backends=["csr"])
    found = [row for variant in run.comparison().variants for row in variant.backends]
    assert [(row.status, row.median_ms, row.samples_ms) for row in found] == [("ok", None, [])] * 2
