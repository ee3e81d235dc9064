"""Keras's own networks, prepared, on the emulated ARM64 board: XNNPACK runs them sparse, and the outputs are right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgesparse import deploy, prepare, sparsify
from edgesparse.boards.virt import Machine, ensure_image, tools
from edgesparse.networks.building import FrozenExporter
from edgesparse.networks.specs import Zeros
from edgesparse.networks.weights import fill
from edgesparse.sparsify import make_recipe
from tests.prune.test_preparing import NETWORKS

MISSING = tools.missing_packages(build=True)
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (apt)"),
    pytest.mark.timeout(1800),  # the first test builds the image where there is none, and all is slow when emulated
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.start(ensure_image(print))
    yield made
    made.stop(discard=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_runs_sparse_on_arm64_with_the_same_outputs(
    name: str, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, model = tmp_path_factory.mktemp(name), NETWORKS[name]()
    fill(model, Zeros(), 0)
    (folder / "whole.tflite").write_bytes(FrozenExporter(prepare(model).model).dense())
    bundle = sparsify(folder / "whole.tflite", make_recipe("unstructured", 0.8), folder / "out")
    deployment = deploy(bundle, machine.board(), backends=["xnnpack"])
    deployment.require_parity()
    taken = {check["cell"]: check["path"]["taken"] for check in deployment.checks}
    assert taken == {"dense/xnnpack/1": "dense", "unstructured-80/xnnpack/1": "sparse"}
