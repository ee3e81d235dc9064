"""The forecast against the path really taken, and against what was measured where this machine cannot show it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from edgesparse.boards.types import BoardType, load_type
from edgesparse.errors import ModelError, UsageError
from edgesparse.explain import Explanation, explain
from edgesparse.explain.runtimes import RUNTIMES
from edgesparse.report.explain_table import render
from tests.explain_graphs import write_graphs

PI = load_type("raspberrypi5")
NO_AVX = msgspec.structs.replace(load_type("x86-64"), name="x86-64-v2", isa=["sse2", "sse4_1"])

# What XNNPACK does on ARM64, the whole model: as seen with tflite-runtime 2.14.0 on an emulated Cortex-A76, and with
# ai-edge-litert 2.3.0 on an x86-64 CPU without AVX, where its rules are the same. Both where one word is given.
XNNPACK: dict[str, str | dict[str, str]] = {
    "fits": "sparse",
    "two_of_four": "dense",
    "same_stem": "dense",
    "same_padding": "wrong",
    "one_channel": "dense",
    "pooled_kept": "sparse",
    "pooled_conv": {"ai-edge-litert": "fails", "tflite-runtime": "sparse"},
    "no_pooling": "dense",
    "squeeze_excite": "sparse",
    "concat": "wrong",
    "concat_few_zeros": "dense",
    "branch": "dense",
    "blocks_of_inputs": "sparse",
    "overlooked": {"ai-edge-litert": "wrong", "tflite-runtime": "dense"},  # the latter by its rules, not yet seen
    "plain": "dense",
}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_graphs(tmp_path_factory.mktemp("graphs"))


def forecast(file: Path, board: BoardType, runtime: str = "ai-edge-litert") -> Explanation:
    return explain(file, board, runtime=runtime, backends=("builtin", "xnnpack"))


def xnnpack_paths(explanation: Explanation) -> dict[str, str]:
    return {each.name or str(each.index): each.paths["xnnpack"].path for each in explanation.operators if each.weights}


def taken(runtime: str, graphs: dict[str, Path], *before: str) -> dict[str, dict[str, str]]:
    """What really happens, in a process of its own, under the emulator that `before` starts."""
    probe = Path(__file__).with_name("path_probe.py")
    command = [*before, sys.executable, str(probe), runtime, str(graphs["fits"].parent), *graphs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def foretold(runtime: str, graphs: dict[str, Path], board: BoardType) -> dict[str, dict[str, str]]:
    found = {name: forecast(file, board, runtime) for name, file in graphs.items()}
    return {name: {b: each.path(b) for b in ("builtin", "xnnpack")} for name, each in found.items()}


@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_as_measured_on_arm64(graphs: dict[str, Path], runtime: str) -> None:
    measured = {name: path if isinstance(path, str) else path[runtime] for name, path in XNNPACK.items()}
    assert {name: path["xnnpack"] for name, path in foretold(runtime, graphs, PI).items()} == measured


@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_as_this_machine_does(graphs: dict[str, Path], runtime: str) -> None:
    if find_spec(runtime.replace("-", "_")) is None:
        pytest.skip(f"{runtime} is not installed")
    here = load_type("local")
    if not here.x86:
        pytest.skip(
            "on ARM TFLite's dense and sparse FULLY_CONNECTED give the same bits, so the probe cannot tell them"
        )
    assert foretold(runtime, graphs, here) == taken(runtime, graphs)


@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_as_a_cpu_without_avx_does(graphs: dict[str, Path], runtime: str) -> None:
    """XNNPACK's sparse path engages on x86-64 without AVX, so an emulated CPU without it shows every verdict."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None or not load_type("local").x86:
        pytest.skip("no qemu-x86_64 here: apt-get install qemu-user")
    if find_spec(runtime.replace("-", "_")) is None:
        pytest.skip(f"{runtime} is not installed")
    assert foretold(runtime, graphs, NO_AVX) == taken(runtime, graphs, emulator, "-cpu", "Nehalem")


def test_operator_by_operator(graphs: dict[str, Path]) -> None:
    dense = {"stem": "dense", "dw2": "dense", "dw3": "dense"}
    sparse = {"pw1": "sparse", "pw2": "sparse", "pw3": "sparse"}
    for runtime, fc1 in {"ai-edge-litert": "sparse", "tflite-runtime": "dense"}.items():
        paths = xnnpack_paths(forecast(graphs["fits"], PI, runtime))
        assert {k: paths[k] for k in (*dense, *sparse, "fc1")} == dense | sparse | {"fc1": fc1}
    assert xnnpack_paths(forecast(graphs["squeeze_excite"], PI))["se1"] == "sparse"
    broken = xnnpack_paths(forecast(graphs["concat"], PI))
    assert (broken["pw1"], broken["pw2"], broken["pw3"]) == ("sparse", "wrong", "dense")


@pytest.mark.parametrize(
    ("graph", "reason", "cure"),
    [
        ("same_stem", "stride 2 with SAME padding", "ZeroPadding2D(1)"),
        ("one_channel", "3 channels", "3 input channels"),
        ("two_of_four", "50.0 % zeros", "70 %"),
        ("no_pooling", "no global pooling", "GlobalAveragePooling2D"),
        ("branch", "CONCATENATION", "CONCATENATION"),
        ("concat", "CONCATENATION", "GlobalAveragePooling2D"),
        ("concat_few_zeros", "outputs would be wrong", "GlobalAveragePooling2D"),
        ("plain", "DENSIFY", "edgesparse convert"),
        ("pooled_conv", "keepdims", "keepdims"),
        ("overlooked", "reads the same tensor twice", "Multiply by 2"),
    ],
)
def test_reason_and_cure(graphs: dict[str, Path], graph: str, reason: str, cure: str) -> None:
    explanation = forecast(graphs[graph], PI)
    paths = [each.paths["xnnpack"] for each in explanation.operators if each.name != "fc1"]
    assert any(reason in path.reason and cure in path.cure for path in paths), [(p.reason, p.cure) for p in paths]
    assert cure in explanation.advice[0].text or graph == "concat_few_zeros"


def test_no_advice_leads_into_wrong_outputs(graphs: dict[str, Path]) -> None:
    """More zeros would switch XNNPACK on, and its outputs would be wrong: that must not be the advice."""
    advice = [each.text for each in forecast(graphs["concat_few_zeros"], PI).advice]
    assert advice and not any("Prune to more" in text for text in advice)


def test_avx_keeps_everything_dense(graphs: dict[str, Path]) -> None:
    explanation = forecast(graphs["fits"], load_type("x86-64"))
    assert explanation.path("xnnpack") == "dense"
    assert all("AVX" in p.paths["xnnpack"].reason for p in explanation.operators if p.name.startswith("pw"))


def test_block_sparse_fully_connected_is_tflites_own(graphs: dict[str, Path]) -> None:
    for board in (PI, load_type("x86-64")):
        explanation = forecast(graphs["blocks_of_inputs"], board)
        fc1 = next(each for each in explanation.operators if each.name == "fc1")
        assert {fc1.paths[b].kernel for b in ("builtin", "xnnpack")} == {"TFLite sparse block 1x4"}
        assert "version 8" in fc1.paths["xnnpack"].reason


def test_packing_by_blocks_of_outputs(graphs: dict[str, Path]) -> None:
    def kernels(graph: str, board: BoardType) -> set[str]:
        found = forecast(graphs[graph], board).operators
        return {each.paths["xnnpack"].kernel for each in found if each.paths["xnnpack"].path == "sparse"}

    assert kernels("fits", PI) == {"XNNPACK sparse, blocks of 4 outputs"}
    assert kernels("squeeze_excite", PI) == {"XNNPACK sparse, single values"}
    assert kernels("fits", NO_AVX) == {"XNNPACK sparse, single values"}
    arm32 = msgspec.structs.replace(PI, arch="armv7l")
    assert kernels("fits", arm32) == {"XNNPACK sparse, blocks of 4 outputs, scalar kernels"}


def test_summary_counts_weights_and_work(graphs: dict[str, Path]) -> None:
    explanation = forecast(graphs["fits"], PI)
    # 16x16 input: stem 8x8x(8*27), dw2 4x4x9x32, dw3 4x4x9x32, pw1 8x8x8x32, pw2 and pw3 4x4x32x32, fc1, fc2.
    pointwise = 8 * 8 * 8 * 32 + 2 * 4 * 4 * 32 * 32
    assert explanation.macs == 8 * 8 * 216 + 2 * 4 * 4 * 9 * 32 + pointwise + 32 * 32 + 32 * 8
    summary = explanation.summaries["xnnpack"]
    assert (summary.operators, summary.sparse_operators) == (8, 4)  # pw1 to pw3 and fc1
    assert summary.sparse_macs_share == pytest.approx((pointwise + 32 * 32) / explanation.macs)
    assert summary.sparse_density == pytest.approx(0.2, abs=0.01)


def test_json_and_table(graphs: dict[str, Path]) -> None:
    explanation = forecast(graphs["concat"], PI)
    document = json.loads(json.dumps(explanation.to_dict()))
    assert document["summaries"]["xnnpack"]["path"] == "wrong"
    assert msgspec.convert(document, Explanation) == explanation
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render(explanation))
    text = console.export_text()
    assert "xnnpack computes wrong outputs" in text
    assert "CONCATENATION" in text
    assert text.index("What to do") < text.index("1. End the cluster")


def test_keras_model_is_converted_first(tmp_path: Path) -> None:
    from edgesparse.prune.legacy_keras import keras

    layers = keras.layers
    entry = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, 2, "same", name="stem")(entry)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 1, name="pw")(x))
    keras.Model(entry, x).save(tmp_path / "model.keras")
    said: list[str] = []
    explanation = explain(tmp_path / "model.keras", PI, progress=said.append)
    assert len(said) == 1
    assert "SAME padding" in next(e for e in explanation.operators if e.name == "pw").paths["xnnpack"].reason


def test_what_is_refused(tmp_path: Path, graphs: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="backend 'cuda'") as caught:
        explain(graphs["fits"], PI, backends=["cuda"])
    assert "builtin, xnnpack" in caught.value.hint
    with pytest.raises(UsageError, match="onnx"):
        explain(graphs["fits"], PI, runtime="onnx")
    with pytest.raises(ModelError, match="nothing at"):
        explain(tmp_path / "no.tflite", PI)


def test_int8_says_its_zero_blocks_what_it_costs_and_that_stock_runtimes_run_it_dense(tmp_path: Path) -> None:
    from edgesparse.networks import write

    file = tmp_path / "int8.tflite"
    write("mlp-64", file, "block 16x4", 0.75, "zeros", weights="int8")
    found = forecast(file, PI)
    assert {summary.path for summary in found.summaries.values()} == {"dense"}
    assert found.block_int8 == "16x4"
    pruned = [each for each in found.operators if each.weights and each.zeros > 0.5]
    assert pruned
    assert all(each.zero_blocks == pytest.approx(0.75, abs=0.02) for each in pruned)
    assert found.storage is not None
    assert found.storage.file_bytes == file.stat().st_size
    assert found.storage.zstd_bytes < found.storage.sparse_bytes < found.storage.file_bytes
    assert [advice.backends for advice in found.advice] == [["xnnpack"]]
    assert "under csr" in found.advice[0].text
    console = Console(record=True, width=200)
    console.print(render(found))
    assert "no runtime would run it right" in " ".join(console.export_text().split())
