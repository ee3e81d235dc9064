"""A finished .tflite file, pruned in the flatbuffer: what changes, what stays, and that it still computes the same."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edgesparse import sparsify
from edgesparse.agent import backends
from edgesparse.boards.inventory import type_of
from edgesparse.check import check
from edgesparse.convert import Bundle, parity, read_bundle
from edgesparse.convert.flatbuffer import FlatModel, read_model, schema
from edgesparse.convert.layers import kernel_operators
from edgesparse.explain import explain
from edgesparse.explain.forewarning import forewarnings
from edgesparse.patterns import conforms, mask, parse_pattern
from edgesparse.sparsify import checking, make_recipe
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.kernels.quantized import QuantizedGraph
from tests.sparsify import files
from tests.sparsify.test_gate import printed

PATTERNS = [("unstructured", 0.8), ("16x1", 0.8), ("2x2", 0.8), ("1x4", 0.8), ("2:4", None), ("filter", 0.5)]


def write(data: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    return path


def pruned(
    data: bytes, tmp_path: Path, pattern: str = "unstructured", sparsity: float | None = 0.8, **how: Any
) -> Bundle:
    return sparsify(write(data, tmp_path), make_recipe(pattern, sparsity, **how), tmp_path / "out")


def sparse_file(bundle: Bundle) -> FlatModel:
    return read_model(bundle.file(bundle.manifest.variants[1].file))


def kernels(model: FlatModel) -> list[Any]:
    return [model.weights(op.inputs[1]) for op in kernel_operators(model)]


def passes_everywhere(bundle: Bundle) -> bool:
    """The gate ran the pruned file under both small runtimes and every backend."""
    rows = bundle.manifest.variants[1].host_parity
    runtimes = 2 if "tflite-runtime" in bundle.manifest.toolchain else 1
    return len(rows) == 3 * runtimes and all(row.ok for row in rows)


@pytest.mark.parametrize(("pattern", "sparsity"), PATTERNS)
def test_prunes_the_weakest_and_nothing_else(pattern: str, sparsity: float | None, tmp_path: Path) -> None:
    before = read_model(files.network())
    bundle = pruned(files.network(), tmp_path, pattern, sparsity)
    assert passes_everywhere(bundle)
    found, layers = sparse_file(bundle), bundle.manifest.variants[1].layers
    changed = 0
    for old, new, layer in zip(kernels(before), kernels(found), layers, strict=True):
        if layer.pattern == "dense":
            assert np.array_equal(old, new)
            assert layer.reason
        else:
            changed += 1
            assert np.array_equal(new, old * mask(old, parse_pattern(pattern), sparsity))
            assert layer.density == np.count_nonzero(new) / new.size
    assert changed >= 3
    assert bundle.manifest.variants[1].file.bytes < 0.9 * bundle.manifest.variants[0].file.bytes
    twin = bundle.manifest.variants[1].twin
    assert twin is not None
    for one, other in zip(kernels(read_model(bundle.file(twin))), kernels(found), strict=True):
        assert np.array_equal(one, other)


def test_the_original_is_in_the_bundle_untouched(tmp_path: Path) -> None:
    bundle = pruned(files.network(), tmp_path)
    assert bundle.file(bundle.variant("dense").file).read_bytes() == files.network()
    assert read_bundle(bundle.path).id == bundle.id


def test_blocks_are_stored_as_blocks_as_large_as_the_kernel_divides_into(tmp_path: Path) -> None:
    layers = {each.shape: each for each in pruned(files.network(), tmp_path, "16x1").manifest.variants[1].layers}
    assert layers[24, 3, 3, 16].encoding == "block 8x1"
    assert layers[48, 1, 1, 24].encoding == "block 16x1"
    assert layers[64, 48].encoding == "block 16x1"
    assert layers[10, 64].encoding == "dense"
    assert "16 outputs, the layer has 10" in layers[10, 64].reason


def test_a_tensor_that_would_grow_stays_dense(tmp_path: Path) -> None:
    """With 15 % zeros, indices take more than the zeros give."""
    for layer in pruned(files.network(), tmp_path, "unstructured", 0.15).manifest.variants[1].layers:
        assert layer.bytes <= layer.weights * 4
        if layer.pattern != "dense":
            assert layer.encoding == "dense"
            assert "stored sparsely it would take" in layer.reason


def test_only_fully_connected_layers_that_read_blocks_get_the_newer_version(tmp_path: Path) -> None:
    bundle = pruned(files.network(), tmp_path, "1x4", 0.8)
    model = sparse_file(bundle)
    versions = {}
    for op in model.operators:
        if op.name == "FULLY_CONNECTED":
            versions[model.weights(op.inputs[1]).shape] = (op.version, model.tensors[op.inputs[1]].sparsity is not None)
    assert versions[64, 48] == (8, True)
    assert versions[10, 64] == ((1, False) if bundle.manifest.variants[1].layers[-1].pattern == "dense" else (8, True))
    # Under TFLite's own kernels it runs sparse, and XNNPACK leaves it to them.
    forecast = explain(model, type_of("local")).operators
    paths = {each.shape: each.paths["builtin"].path for each in forecast}
    assert paths[64, 48] == "sparse"


def test_versions_are_kept_apart(tmp_path: Path) -> None:
    maker, graph = Maker("dense", False, twin=False), Graph(1, 32)
    x = graph.fully_connected(graph.input, maker.weights(64, 32, density=1), maker.bias(64))
    x = graph.fully_connected(x, maker.weights(6, 64, density=1), maker.bias(6))
    model = sparse_file(pruned(graph.finish(x), tmp_path, "1x4", 0.8, exclude=("weights#2",)))
    assert [op.version for op in model.operators if op.name == "FULLY_CONNECTED"] == [8, 1]


def test_a_newer_version_is_lowered_where_blocks_are_read_directly(tmp_path: Path) -> None:
    """Beside int8 layers the converter gives all a version that XNNPACK takes for its own: it would read the blocks'
    values as dense ones, and give NaN."""

    def change(model: Any) -> None:
        for code in model.operatorCodes:
            if code.builtinCode == schema().BuiltinOperator.FULLY_CONNECTED:
                code.version = 9

    bundle = pruned(files.network(change=change), tmp_path, "1x4", 0.8, exclude=("weights#2",))
    assert passes_everywhere(bundle)
    model = sparse_file(bundle)
    found = [op for op in model.operators if op.name == "FULLY_CONNECTED"]
    assert all((op.version == 8) == (model.tensors[op.inputs[1]].sparsity is not None) for op in found)
    assert 8 in [op.version for op in found]


def test_float16_weights_become_sparse_float32_ones_that_compute_the_same(tmp_path: Path) -> None:
    bundle = pruned(files.network(half=True), tmp_path, "16x1", 0.8)
    assert passes_everywhere(bundle)
    model = sparse_file(bundle)
    stored = [model.tensors[model.constant(op.inputs[1]) or 0] for op in kernel_operators(model)]
    assert {each.type for each in stored if each.sparsity} == {"FLOAT32"}
    assert sum(each.sparsity is not None for each in stored) == 3
    assert not any(op.name == "DENSIFY" and model.tensors[op.inputs[0]].type == "FLOAT16" for op in model.operators)
    before = read_model(files.network(half=True))
    for old, new, layer in zip(kernels(before), kernels(model), bundle.manifest.variants[1].layers, strict=True):
        kept = mask(old, parse_pattern("16x1"), 0.8) if layer.pattern != "dense" else np.ones(old.shape)
        assert np.array_equal(new, (old * kept).astype(new.dtype))


def test_float16_weights_that_would_grow_as_float32_stay(tmp_path: Path) -> None:
    bundle = pruned(files.network(half=True), tmp_path, "2:4", None)
    assert passes_everywhere(bundle)
    *halves, _ = bundle.manifest.variants[1].layers  # the last layer's weights are float32
    assert {layer.encoding for layer in halves} == {"dense"}
    assert sum("stored sparsely it would take" in layer.reason for layer in halves) == 3


@pytest.mark.parametrize("pattern", ["16x4", "unstructured"])
def test_large_int8_files_are_checked_as_small_ones_are(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """csr takes blocks of zeros and leaves single ones; tflite-runtime rounds otherwise than the golden outputs."""
    asked: list[Any] = []
    rows = {}

    def check_all(directory: Path, inputs: str, checks: Any, *more: Any, **how: Any) -> Any:
        asked.extend(check.lean and check.lean.weights for check in checks)
        return parity.check_all(directory, inputs, checks, *more, **how)

    monkeypatch.setattr(checking, "check_all", check_all)
    for how, limit in (("small", checking.CHECKING_BYTES), ("large", 0)):
        (tmp_path / how).mkdir()
        monkeypatch.setattr(checking, "CHECKING_BYTES", limit)
        rows[how] = pruned(files.int8_network(64, 64), tmp_path / how, pattern, 0.75).manifest.variants[1].host_parity
    assert asked == [None, "quantised"]
    assert rows["large"] == rows["small"]
    assert {(row.runtime, row.backend) for row in rows["small"]} == set(
        itertools.product(("ai-edge-litert", "tflite-runtime"), ("builtin", "xnnpack", "csr"))
    )


def test_files_of_middle_size_are_checked_in_turn_and_lose_no_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they unpack fits in the room, of one check at a time."""
    asked: list[Any] = []

    def check_all(directory: Path, inputs: str, checks: Any, *more: Any, **how: Any) -> Any:
        asked.extend(check.lean for check in checks)
        return parity.check_all(directory, inputs, checks, *more, **how)

    monkeypatch.setattr(checking, "check_all", check_all)
    rows = {}
    for how, limit in (("small", checking.CHECKING_BYTES), ("middle", files.ONLY_FOR_THE_TWIN + 50_000_000)):
        (tmp_path / how).mkdir()
        monkeypatch.setattr(checking, "CHECKING_BYTES", limit)
        rows[how] = pruned(files.network(), tmp_path / how, "16x1").manifest.variants[1].host_parity
    assert asked[:-1] == [None] * (len(asked) - 1)
    assert (asked[-1].weights, asked[-1].alone) == ("floats", False)
    assert rows["middle"] == rows["small"]


def test_int8_weights_get_zeros_and_stay_dense(tmp_path: Path) -> None:
    before = read_model(files.int8_network())
    bundle = pruned(files.int8_network(), tmp_path, "16x4", 0.75)
    assert passes_everywhere(bundle)
    variant = bundle.manifest.variants[1]
    assert (variant.precision, variant.file.bytes) == ("int8", len(files.int8_network()))
    for op, old, new, layer in zip(
        kernel_operators(before), kernels(before), kernels(sparse_file(bundle)), variant.layers, strict=True
    ):
        if layer.pattern != "dense":
            scale = np.asarray(before.tensors[op.inputs[1]].scale, np.float32)
            assert len(scale) == len(old)
            assert np.array_equal(new, old * mask(old, parse_pattern("16x4"), 0.75, scale))
            assert layer.encoding == "dense"
            assert "int8 weights stay dense" in layer.reason
    assert sum(layer.pattern != "dense" for layer in variant.layers) == 2


def test_metadata_signatures_and_attached_files_are_kept(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.description = "a description"
        files.add_metadata(model, "who_trained_it", b"somebody")
        files.add_signature(model)

    data = files.attach(files.network(change=change), **{"labels.txt": "cat\ndog\n"})
    bundle = pruned(data, tmp_path, "16x1")
    for file in bundle.manifest.variants[1].files[:2]:
        if not file.path.endswith(".tflite"):
            continue
        model = schema().ModelT.InitFromPackedBuf(bundle.file(file).read_bytes(), 0)
        assert model.description == b"a description"
        (entry,) = model.metadata
        assert entry.name == b"who_trained_it"
        assert bytes(model.buffers[entry.buffer].data) == b"somebody"
        with zipfile.ZipFile(bundle.file(file)) as attached:
            assert attached.read("labels.txt") == b"cat\ndog\n"
    runtime, _ = backends.load_runtime("ai-edge-litert")
    path = str(bundle.file(bundle.manifest.variants[1].file))
    runner = runtime.Interpreter(model_path=path).get_signature_runner("serving_default")
    scores = runner(image=np.ones((1, 11, 12, 3), np.float32))["scores"]
    assert scores.shape == (1, 10)


@pytest.mark.parametrize("pattern", ["unstructured", "16x1"])
def test_weights_of_two_operators_are_pruned_once_for_both(pattern: str, tmp_path: Path) -> None:
    maker, graph = Maker("dense", False, twin=False), Graph(1, 8, 8, 32)
    weights, bias = maker.weights(32, 3, 3, 32, density=1), maker.bias(32)
    tensor = graph.weights(weights)
    x = graph.conv(graph.input, weights, bias, shared=tensor, activation="RELU")
    x = graph.conv(x, weights, bias, shared=tensor, activation="RELU")
    # A third one reads a tensor of its own that has the same buffer.
    x = graph.conv(x, weights, bias)
    model = graph.graph
    other = model.operators[-1].inputs[1]
    model.tensors[other].buffer = model.tensors[tensor].buffer
    bundle = pruned(graph.finish(x), tmp_path, pattern, first_layer=True)
    assert passes_everywhere(bundle)
    expected = weights * mask(weights, parse_pattern(pattern), 0.8)
    found = kernels(sparse_file(bundle))
    assert len(found) == 3
    assert all(np.array_equal(each, expected) for each in found)
    assert sum(op.name == "DENSIFY" for op in sparse_file(bundle).operators) == 2


def test_weights_that_something_else_reads_too_are_left(tmp_path: Path) -> None:
    maker, graph = Maker("dense", False, twin=False), Graph(1, 32)
    weights = maker.weights(32, 32, density=1)
    x = graph.fully_connected(graph.input, weights)
    x = graph.fully_connected(graph.add(x, x), maker.weights(16, 32, density=1))
    table = graph.add(graph.graph.operators[0].inputs[1], graph.graph.operators[0].inputs[1])
    bundle = pruned(graph.finish(x, table), tmp_path)
    first, second = bundle.manifest.variants[1].layers
    assert (first.pattern, first.reason, first.density) == ("dense", "it is also read by ADD", 1.0)
    assert second.pattern == "unstructured"
    assert passes_everywhere(bundle)


def test_graphs_beside_the_main_one_share_the_zeros(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))

    bundle = pruned(files.network(change=change), tmp_path)
    assert passes_everywhere(bundle)
    data = bundle.file(bundle.manifest.variants[1].file).read_bytes()
    from edgesparse.convert.flatbuffer import unpack

    main, other = unpack("it", data)[1]
    for one, two in zip(kernels(main), kernels(other), strict=True):
        assert np.array_equal(one, two)
    runtime, _ = backends.load_runtime("ai-edge-litert")
    interpreter = runtime.Interpreter(model_content=data)
    interpreter.allocate_tensors()


def test_weights_of_another_signature_are_pruned_told_and_checked(tmp_path: Path) -> None:
    """They are of a graph of its own, beside the main one."""

    def change(model: Any) -> None:
        maker, graph = Maker("dense", False, twin=False), Graph(1, 48)
        data = graph.finish(graph.fully_connected(graph.input, maker.weights(64, 48, density=1)))
        other = schema().ModelT.InitFromPackedBuf(data, 0)
        for tensor in other.subgraphs[0].tensors:
            held = other.buffers[tensor.buffer]
            tensor.buffer = 0 if held.data is None else len(model.buffers)
            model.buffers += [] if held.data is None else [held]
        kind = schema().BuiltinOperator.FULLY_CONNECTED
        code = next(n for n, each in enumerate(model.operatorCodes) if each.builtinCode == kind)
        for op in other.subgraphs[0].operators:
            op.opcodeIndex = code
        model.subgraphs.append(other.subgraphs[0])

    bundle = pruned(files.network(change=change), tmp_path, "16x1", 0.8)
    assert passes_everywhere(bundle)
    *_, own = bundle.manifest.variants[1].layers
    assert (own.shape, own.pattern, own.encoding) == ((64, 48), "block 16x1", "block 16x1")
    assert len(bundle.manifest.variants[1].layers) == 7
    checked = check(bundle.file(bundle.manifest.variants[1].file), "16x1").layers
    assert checked[-1].zeros == pytest.approx(1 - own.density) and own.density < 0.25


def test_that_only_one_signature_is_compared_is_said(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        files.add_signature(model)
        other = copy.copy(model.signatureDefs[0])
        other.signatureKey = "other"
        model.signatureDefs.append(other)

    said: list[str] = []
    recipe, model = make_recipe("16x1", 0.8), write(files.network(change=change), tmp_path)
    sparsify(model, recipe, tmp_path / "out", progress=said.append)
    assert "the file has 2 signatures: all are pruned, the first one is run and compared" in said


@pytest.mark.parametrize("layout", ["csr", "block 4x1", "inputs first"])
def test_a_sparse_file_is_pruned_further(layout: str, tmp_path: Path) -> None:
    bundle = pruned(files.network(layout=layout), tmp_path, "unstructured", 0.9)
    assert passes_everywhere(bundle)
    model = sparse_file(bundle)
    before = kernels(read_model(files.network(layout=layout)))
    for old, new, layer in zip(before, kernels(model), bundle.manifest.variants[1].layers, strict=True):
        assert new.shape == old.shape
        if layer.pattern != "dense":
            assert np.array_equal(new, old * mask(old, parse_pattern("unstructured"), 0.9))
    dense = read_model(bundle.file(bundle.variant("dense").file))
    assert not any(tensor.sparsity for tensor in dense.tensors)
    assert not any(op.name == "DENSIFY" for op in dense.operators)
    assert sum(op.name == "DENSIFY" for op in model.operators) == 4


def test_blocks_that_an_operator_reads_directly_are_pruned_further(tmp_path: Path) -> None:
    """Twice through: the second time it finds what it made the first time."""
    once = pruned(files.network(), tmp_path, "1x4", 0.5)
    data = once.file(once.manifest.variants[1].file).read_bytes()
    (tmp_path / "again").mkdir()
    bundle = pruned(data, tmp_path / "again", "1x4", 0.8)
    assert passes_everywhere(bundle)
    assert all(conforms(each, parse_pattern("1x4")) for each in kernels(sparse_file(bundle))[-2:-1])
    dense = read_model(bundle.file(bundle.variant("dense").file))
    assert [op.version for op in dense.operators if op.name == "FULLY_CONNECTED"] == [1, 1]


def test_no_operator_is_put_into_a_file_that_names_them_by_number(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        files.add_metadata(model, "model_control_dependencies", bytes(8))

    bundle = pruned(files.network(change=change), tmp_path)
    assert not any(op.name == "DENSIFY" for op in sparse_file(bundle).operators)
    assert any("control dependencies" in layer.reason for layer in bundle.manifest.variants[1].layers)
    assert bundle.manifest.variants[1].density < 0.4


def test_the_same_again_is_reused_and_another_recipe_is_not(tmp_path: Path) -> None:
    first = pruned(files.network(), tmp_path)
    assert pruned(files.network(), tmp_path).reused
    assert pruned(files.network(), tmp_path, "16x1").id != first.id


def test_it_runs_inside_a_running_loop(tmp_path: Path) -> None:
    """As a notebook's cell does."""

    async def cell() -> Bundle:
        return pruned(files.network(), tmp_path)

    assert all(row.ok for row in asyncio.run(cell()).manifest.variants[1].host_parity)


def test_without_tensorflow_and_as_one_json_document(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom edgesparse.cli import main\n"
        "try:\n    main()\nfinally:\n    assert 'tensorflow' not in sys.modules and 'tf_keras' not in sys.modules"
    )
    model, out = write(files.network(), tmp_path), tmp_path / "out"
    command = [sys.executable, "-c", code, "sparsify", str(model), "--pattern", "16x1", "--sparsity", "0.8"]
    done = subprocess.run([*command, "--out", str(out), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["id"] == read_bundle(out).id
    assert found["warnings"] == []
    assert [each["name"] for each in found["manifest"]["variants"]] == ["dense", "block-16x1-80"]


def write_fully_connected(layers: int, width: int, directory: Path, *, half: bool = False) -> Path:
    maker, graph = Maker("dense", half, twin=False), Graph(1, width)
    x = graph.input
    for _ in range(layers):
        x = graph.fully_connected(x, maker.weights(width, width, density=1), activation="RELU", half=half)
    path = write(graph.finish(x), directory)
    assert path.stat().st_size > 100_000_000
    return path


def write_int8(directory: Path) -> Path:
    graph = QuantizedGraph(1, 4, 4, 2048, density=1.0, seed=5)
    x = graph.input
    for _ in range(24):
        x = graph.conv(x, 2048, 1, activation="RELU")
    path = write(graph.finish(x), directory)
    assert path.stat().st_size > 100_000_000
    return path


@pytest.fixture(scope="module")
def hundred_megabytes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fully_connected(6, 2048, tmp_path_factory.mktemp("large"))


def test_a_hundred_megabytes_are_pruned_in_a_few_seconds(hundred_megabytes: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\nfrom edgesparse.sparsify import make_recipe\n"
        "from edgesparse.sparsify.writing import write_original, write_pruned\n"
        "model, out = Path(sys.argv[1]), Path(sys.argv[2])\nout.mkdir()\n"
        "write_pruned(model, write_original(model, out), make_recipe('unstructured', 0.8), out)\n"
        "print(time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(hundred_megabytes), str(tmp_path / "out")],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert float(done.stdout) < 5  # of a processor: others on this machine do not count


@pytest.mark.parametrize(
    ("pattern", "write_model", "times"),
    [
        (["16x1", "--sparsity", "0.8"], partial(write_fully_connected, 6, 2048), 3),
        (["2:4"], partial(write_fully_connected, 6, 2048), 3),
        (["unstructured", "--sparsity", "0.3"], partial(write_fully_connected, 6, 2048), 3),
        (["unstructured", "--sparsity", "0.6"], partial(write_fully_connected, 1, 5050), 3.2),
        (["16x4", "--sparsity", "0.8"], write_int8, 3),
        (["16x1", "--sparsity", "0.8"], partial(write_fully_connected, 6, 2920, half=True), 3.1),
    ],
    ids=["16x1", "2:4", "few zeros", "one tensor", "int8", "float16"],
)
def test_a_hundred_megabytes_take_three_times_that_in_memory(
    pattern: list[str], write_model: Callable[[Path], Path], times: float, tmp_path: Path
) -> None:
    """Each process, and all together; somewhat more with a single tensor, or float16 weights."""
    model = write_model(tmp_path)
    # From a small process: until it starts a program, a child counts as large as this one.
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'edgesparse.cli', 'sparsify', *sys.argv[1:]], check=True, stdout=2)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    options = [str(model), "--pattern", *pattern, "--out", str(tmp_path / "out")]
    pipe = subprocess.PIPE
    process = psutil.Popen([sys.executable, "-c", code, *options], stdout=pipe, stderr=pipe, text=True)
    together = 0
    while process.poll() is None:
        together = max(together, sum(shared_memory(each) for each in process.children(recursive=True)))
        time.sleep(0.02)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    most_bytes = int(said) * 1024  # of it, or of a process that it started
    assert 120_000_000 < most_bytes < 3 * model.stat().st_size
    assert most_bytes < together < times * model.stat().st_size


def shared_memory(process: psutil.Process) -> int:
    """Bytes, of what several processes share the part of one."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:  # it has ended
        return 0


def test_a_file_that_is_much_for_xnnpack_is_checked_by_its_twin_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small").mkdir()
    assert forewarnings(pruned(files.network(), tmp_path / "small", "16x1")) == []
    monkeypatch.setattr(checking, "CHECKING_BYTES", files.ONLY_FOR_THE_TWIN)
    bundle = pruned(files.network(), tmp_path, "16x1")
    variant = bundle.manifest.variants[1]
    assert variant.twin is not None and passes_everywhere(bundle)
    ran = {(row.file, row.backend) for row in variant.host_parity}
    assert ran == {(variant.file.path, "builtin"), (variant.file.path, "csr"), (variant.twin.path, "xnnpack")}
    (warning,) = forewarnings(bundle)
    assert warning.startswith("block-16x1-80 was checked under XNNPACK by its twin")


@pytest.mark.parametrize("sparsity", [0.8, 0.3])  # stored sparse, and dense
def test_a_file_whose_twin_is_too_much_for_xnnpack_is_not_run_there_and_that_is_said(
    sparsity: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "CHECKING_BYTES", 0)
    bundle = pruned(files.network(half=True), tmp_path, "unstructured", sparsity)
    variant = bundle.manifest.variants[1]
    assert variant.twin is not None and (variant.twin.path != variant.file.path) is (sparsity == 0.8)
    assert all(row.ok for row in variant.host_parity)
    assert {(row.file, row.backend) for row in variant.host_parity} == {
        (variant.file.path, "builtin"), (variant.file.path, "csr")
    }  # fmt: skip
    (warning,) = forewarnings(bundle)
    assert "was not run under XNNPACK here" in warning
    count = len(variant.host_parity)
    assert f"{count} of {count} runtimes and backends, XNNPACK left out" in printed(bundle)
