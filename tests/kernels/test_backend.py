"""csr as a backend: in the worker, in the agent's runs, on a board, in the comparison, and foretold by `explain`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgesparse
from edgesparse import wire
from edgesparse.agent import backends, worker
from edgesparse.boards.types import load_type
from edgesparse.errors import UsageError
from edgesparse.explain import explain
from edgesparse.files import sha256_of
from edgesparse.kernels import ARCHITECTURES, LIBRARY, library_path, this_arch
from tests.agent.conftest import Agent, agent
from tests.kernels.graphs import Graph
from tests.kernels.models import MODELS, Model, conv, mobile
from tests.tiny import npz

__all__ = ["agent"]

PI = load_type("raspberrypi5")
AVX2 = load_type("x86-64")


@pytest.fixture(scope="module")
def sparse() -> Model:
    """Blocks in layers large enough that they are claimed on any CPU."""
    return mobile("block 16x1", "16x1", density=0.1, size=64)


def files_of(model: Model, folder: Path) -> dict[str, str]:
    """What a load message names, written here."""
    twin = folder / "twin.tflite"
    twin.write_bytes(model.twin)
    runtime, _ = backends.load_runtime("ai-edge-litert")
    golden = worker.Model(runtime, str(twin), "builtin", 1).run_all([np.stack(model.samples)])
    (folder / "model.tflite").write_bytes(model.file)
    (folder / "inputs.npz").write_bytes(npz(np.stack(model.samples)))
    (folder / "golden.npz").write_bytes(npz(*golden))
    return {name: str(folder / f"{name}.{'npz' if name in ('inputs', 'golden') else 'tflite'}")
            for name in ("model", "twin", "inputs", "golden")}  # fmt: skip


def load(model: Model, folder: Path, options: dict[str, str], runtime: str = "ai-edge-litert") -> dict[str, Any]:
    message = {
        "type": "load", **files_of(model, folder), "backend": "csr", "threads": 1, "runtime": runtime,
        "delegate": {"library": str(library_path()), "options": options}, "report": str(folder / "report.json"),
    }  # fmt: skip
    return worker.load(message).answer


# -- the worker --------------------------------------------------------------------------------------------------------


def test_the_path_names_the_kernels_that_ran(sparse: Model, tmp_path: Path) -> None:
    loaded = load(sparse, tmp_path, {"claim": "all"})
    assert loaded["parity"]["ok"]
    assert loaded["path"]["taken"] == "sparse"
    assert loaded["path"]["evidence"].startswith("7 of 7 operators: es_f32_")
    kinds = {
        sparse: {node["op"] for node in loaded["delegate"]["nodes"] if node["neighbour"] != sparse}
        for sparse in (True, False)
    }
    assert kinds == {True: {"CONV_2D", "FULLY_CONNECTED"}, False: {"DEPTHWISE_CONV_2D", "ADD", "MEAN"}}
    assert loaded["path"]["evidence"].endswith("; 4 dense ones with them")
    assert loaded["delegate"]["version"] == edgesparse.__version__
    json.dumps(loaded, allow_nan=False)


def test_with_nothing_claimed_the_path_is_dense_in_the_delegates_words(sparse: Model, tmp_path: Path) -> None:
    loaded = load(sparse, tmp_path, {"claim": "none"})
    said = loaded["delegate"]["nodes"][0]["reason"]
    assert loaded["path"]["taken"] == "dense"
    assert said in loaded["path"]["evidence"]
    assert "bit-equal" in loaded["path"]["evidence"]


def test_a_dense_model_has_its_reasons_too(tmp_path: Path) -> None:
    loaded = load(MODELS["mobile, dense"](), tmp_path, {})
    assert loaded["path"]["taken"] == "dense"
    assert "left all operators to XNNPACK" in loaded["path"]["evidence"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the runtime's own, after the OSError
def test_a_delegate_that_does_not_load_is_the_cells_reason(sparse: Model, tmp_path: Path) -> None:
    with pytest.raises(backends.DelegateRefused, match="mmx"):
        load(sparse, tmp_path, {"isa": "mmx"})
    runtime, _ = backends.load_runtime("ai-edge-litert")
    other = next(arch for arch in ARCHITECTURES if arch != this_arch())
    with pytest.raises(backends.DelegateRefused, match=LIBRARY):
        backends.load_delegate(runtime, backends.Delegate(str(library_path(other))))


def test_csr_without_its_library_is_no_backend(tmp_path: Path) -> None:
    with pytest.raises(backends.Unsupported, match="library"):
        backends.make_interpreter(None, "csr", "", 1)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1'])
def test_a_report_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(backends.DelegateRefused, match="report"):
        backends.read_report(str(tmp_path / "report.json"))
    with pytest.raises(backends.DelegateRefused, match="wrote no report"):
        backends.read_report(str(tmp_path / "none.json"))


# -- the agent ---------------------------------------------------------------------------------------------------------


def run_csr(agent: Agent, **change: Any) -> dict[str, dict[str, Any]]:
    """The check records of a run of dense and sparse under csr, by cell."""
    client = agent.connect()
    cells = [wire.Cell(f"{variant}/csr/1", variant, "csr", 1) for variant in ("dense", "sparse")]
    library = agent.keep(library_path().read_bytes())
    delegate = wire.Delegate(library, change.pop("options", {}))
    spec = agent.submit(client, **{"cells": cells, "delegate": delegate, "max_rounds": 0, **change})
    return {record["cell"]: record for record in client.records(spec.run) if record["type"] == "check"}


def test_the_agent_keeps_what_happened_to_every_operator(agent: Agent) -> None:
    checks = run_csr(agent, options={"claim": "all"})
    assert {check["status"] for check in checks.values()} == {"ok"}
    check = checks["sparse/csr/1"]
    assert check["path"]["requested"] == check["path"]["taken"] == "sparse"
    assert [node["op"] for node in check["delegate"]["nodes"]] == ["CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED"]
    again = run_csr(agent, options={"claim": "all"})
    assert again["sparse/csr/1"]["cached"]
    assert again["sparse/csr/1"]["delegate"] == check["delegate"]
    other = run_csr(agent, options={"claim": "none"})
    assert not other["sparse/csr/1"]["cached"]  # other options are another question
    assert other["sparse/csr/1"]["path"]["taken"] == "dense"


def test_a_cell_whose_delegate_is_refused_fails_with_its_sentence(agent: Agent) -> None:
    check = run_csr(agent, options={"isa": "mmx"})["sparse/csr/1"]
    assert (check["status"], check["kind"], check["delegate"]) == ("failed", "unsupported", None)
    assert "mmx" in check["reason"]


def test_a_library_that_was_not_deployed_is_missed_before_the_run(agent: Agent) -> None:
    client = agent.connect()
    cells = [wire.Cell("dense/csr/1", "dense", "csr", 1)]
    spec = agent.spec(cells=cells, delegate=wire.Delegate("e" * 64, {}))
    answer = client.ask({"type": "submit", "spec": spec.to_message()})
    assert answer["type"] == "error" and "e" * 64 in answer["message"]


def test_csr_is_timed_like_the_others(agent: Agent) -> None:
    client = agent.connect()
    library = agent.keep(library_path().read_bytes())
    assert library == sha256_of(library_path())
    cells = [wire.Cell(f"sparse/{backend}/1", "sparse", backend, 1) for backend in ("xnnpack", "csr")]
    spec = agent.submit(client, cells=cells, delegate=wire.Delegate(library, {"claim": "all"}))
    records = client.records(spec.run)
    assert [record["cell"] for record in records if record["type"] == "samples"].count("sparse/csr/1") == 2
    assert records[-1]["status"] == "finished"


# -- explain -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(sparse: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "mobile.tflite"
    path.write_bytes(sparse.file)
    return path


@pytest.mark.parametrize(("board", "isa"), [(PI, "neon"), (AVX2, "avx2"), (load_type("local"), None)])
def test_every_operator_is_foretold_by_the_delegate_itself(file: Path, board: Any, isa: str | None) -> None:
    explanation = explain(file, board, backends=["xnnpack", "csr"])
    paths = [each.paths["csr"] for each in explanation.operators if each.op in ("CONV_2D", "FULLY_CONNECTED")]
    assert len(paths) == 7
    assert all(path.kernel and path.reason for path in paths)
    sparse = [path for path in paths if path.path == "sparse"]
    assert len(sparse) >= 3
    assert explanation.summaries["csr"].path == "sparse"
    assert explanation.summaries["csr"].sparse_operators == len(sparse)
    if isa and all(path.kernel.startswith("es_") for path in sparse):
        assert all(path.kernel.endswith(isa) for path in sparse)
    left = [path for path in paths if path.path == "dense" and not path.kernel.startswith("edgesparse")]
    assert all("XNNPACK" in path.kernel for path in left)
    assert any("kernels decide for" in note for note in explanation.notes)


def test_what_is_foretold_for_this_machine_is_what_happens(sparse: Model, file: Path, tmp_path: Path) -> None:
    explanation = explain(file, load_type("local"), backends=["csr"])
    nodes = load(sparse, tmp_path, {})["delegate"]["nodes"]
    claimed = {node["node"]: node["neighbour"] for node in nodes if node["claimed"]}
    foretold = {each.index: each.paths["csr"] for each in explanation.operators}
    assert {index for index, path in foretold.items() if path.path == "sparse"} == {
        index for index, neighbour in claimed.items() if not neighbour
    }
    weighted = {node["node"] for node in nodes if node["neighbour"] and node["claimed"] and "CONV" in node["op"]}
    assert weighted and {index for index, path in foretold.items() if path.kernel == "edgesparse dense"} == weighted


def test_a_file_that_no_interpreter_starts_with_fails(tmp_path: Path) -> None:
    graph = Graph(1, 4, 4, 8)
    random = np.random.default_rng(0)
    output = graph.conv(graph.input, random.normal(size=(16, 1, 1, 8)))  # TFLite wants a bias
    (tmp_path / "no-bias.tflite").write_bytes(graph.finish(output))
    explanation = explain(tmp_path / "no-bias.tflite", PI, backends=["csr"])
    assert explanation.path("csr") == "fails"
    assert "bias" in explanation.operators[0].paths["csr"].reason


def test_kernels_that_do_not_load_are_said_to(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESPARSE_ISA", "mmx")
    with pytest.raises(UsageError, match="aarch64-mmx") as caught:
        explain(file, PI, backends=["csr"])
    assert "--backend xnnpack" in caught.value.hint


def test_csr_is_explained_by_default_and_only_where_it_is_built(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(explain(file, PI).summaries) == ["builtin", "xnnpack", "csr"]
    monkeypatch.setattr("edgesparse.kernels._BUILD", Path("/nowhere"))
    without = explain(file, PI)
    assert list(without.summaries) == ["builtin", "xnnpack"]
    assert any("make kernels" in note for note in without.notes)
    with pytest.raises(UsageError, match="not built"):
        explain(file, PI, backends=["csr"])


# -- the command line --------------------------------------------------------------------------------------------------


def cli(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgesparse.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_path_is_printed_alone() -> None:
    done = cli("kernels", "path")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{library_path()}\n", "")
    done = cli("kernels", "path", "--arch", "aarch64", "--json")
    assert json.loads(done.stdout)["path"] == str(library_path("aarch64"))
    done = cli("kernels", "path", "--arch", "sparc")
    assert done.returncode == 2 and "armv7l" in done.stderr


def test_the_three_lines_of_the_readme_work(tmp_path: Path) -> None:
    """The README's block about using the delegate alone, as it stands there, on a model of ours."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = [text.split("```")[0] for text in readme.split("```python\n")[1:]]
    block = next(text for text in blocks if "load_delegate" in text)
    (tmp_path / "model.tflite").write_bytes(conv((1, 8, 8, 16), (16, 1, 1, 16)).file)
    library = str(library_path())
    code = (
        block.replace("/path/to/libedgesparse_delegate.so", library)
        + "\nprint(interpreter.get_input_details()[0]['shape'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[ 1  8  8 16]")
