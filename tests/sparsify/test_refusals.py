"""What sparsify refuses: one sentence, the right exit code, nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesparse import sparsify
from edgesparse.convert.flatbuffer import schema
from edgesparse.errors import EdgesparseError
from edgesparse.recipe import Quantize, Recipe
from edgesparse.sparsify import make_recipe
from edgesparse.sparsify.writing import write_original, write_pruned
from tests.kernels.graphs import Graph
from tests.kernels.models import Maker
from tests.sparsify import files


def not_finite() -> bytes:
    graph, weights = Graph(1, 16), Maker("dense", False, twin=False).weights(32, 16, density=1)
    weights[3, 5] = np.nan
    return graph.finish(graph.fully_connected(graph.input, weights))


def only_depthwise() -> bytes:
    graph, maker = Graph(1, 8, 8, 16), Maker("dense", False, twin=False)
    return graph.finish(graph.depthwise(graph.input, maker.weights(1, 3, 3, 16, density=1), maker.bias(16)))


def zero_point(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        if tensor.quantization is not None and len(tensor.shape) == 4 and tensor.buffer:
            tensor.quantization.zeroPoint = [3] * len(tensor.quantization.scale)


REFUSED: dict[str, tuple[Callable[[], bytes], Recipe, str]] = {
    "no model": (lambda: b"not a model at all", make_recipe("16x1", 0.8), "is no TFLite model"),
    "truncated": (lambda: files.network()[:3000], make_recipe("16x1", 0.8), "damaged or truncated"),
    "empty": (lambda: b"", make_recipe("16x1", 0.8), "found an empty file"),
    "weights that are not finite": (not_finite, make_recipe("unstructured", 0.8), "Expected finite weights"),
    "nothing to prune": (only_depthwise, make_recipe("16x1", 0.8), "prunes no layer .*DEPTHWISE_CONV_2D is left dense"),
    "no layer fits": (files.network, make_recipe("block 128x1", 0.8), "prunes no layer .*needs 128 outputs"),
    "nothing included": (files.network, make_recipe("16x1", 0.8, include=("none",)), "'none' matches no layer"),
    "a recipe that quantises": (
        files.network,
        Recipe(name="r", pattern="unstructured", sparsity=0.8, quantize=Quantize(kind="int8")),
        "quantises, which sparsify does not",
    ),
    "one threshold over the model": (
        files.network,
        Recipe(name="r", pattern="unstructured", sparsity=0.8, scope="global"),
        'scope = "global", which sparsify does not do',
    ),
    "permuted channels": (
        files.network,
        msgspec.structs.replace(make_recipe("2:4"), permute=True),
        "permute, which sparsify does not do",
    ),
    "a pattern left to a board": (files.network, Recipe(name="r", sparsity=0.8), "leaves the block to the board"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_by_name_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    make, recipe, says = REFUSED[case]
    (tmp_path / "model.tflite").write_bytes(make())
    with pytest.raises(EdgesparseError, match=f"(?s){says}") as caught:
        sparsify(tmp_path / "model.tflite", recipe, tmp_path / "out")
    assert caught.value.exit_code == 3
    assert caught.value.hint
    assert [each.name for each in tmp_path.iterdir()] == ["model.tflite"]


def test_int8_weights_with_a_zero_point_are_left_by_name(tmp_path: Path) -> None:
    import flatbuffers

    from edgesparse.convert.flatbuffer import FILE_IDENTIFIER

    model = schema().ModelT.InitFromPackedBuf(files.int8_network(), 0)
    zero_point(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    (tmp_path / "model.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(EdgesparseError, match="the zero point of its int8 weights is 3: no stored value is 0"):
        sparsify(tmp_path / "model.tflite", make_recipe("16x4", 0.8), tmp_path / "out")


def test_inputs_of_no_fixed_size_are_named(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        entry = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        entry.shapeSignature, entry.shape, entry.name = [1, -1, 12, 3], [1, 1, 12, 4], b"image"

    (tmp_path / "model.tflite").write_bytes(files.network(change=change))
    with pytest.raises(EdgesparseError, match="does not run the model") as caught:
        sparsify(tmp_path / "model.tflite", make_recipe("16x1", 0.8), tmp_path / "out")
    assert caught.value.exit_code == 3
    assert "inputs of a fixed size; open are image (1x?x12x3)" in str(caught.value.hint)


def test_an_input_that_is_no_number_is_named(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema().TensorType.STRING

    (tmp_path / "model.tflite").write_bytes(files.network(change=change))
    with pytest.raises(EdgesparseError, match=f"^{tmp_path}/model.tflite takes STRING"):
        sparsify(tmp_path / "model.tflite", make_recipe("16x1", 0.8), tmp_path / "out")


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(EdgesparseError, match="is no bundle, so it is not replaced"):
        sparsify(tmp_path / "model.tflite", make_recipe("16x1", 0.8), tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    pattern=st.sampled_from(["unstructured", "16x1", "1x4", "2x2"]),
)
def test_damage_never_escapes_as_another_error(
    places: list[tuple[float, int]], pattern: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, directory = bytearray(files.network()), tmp_path_factory.mktemp("damaged")
    for where, value in places:
        data[8 + int(where * (len(data) - 8))] = value
    model = directory / "model.tflite"
    model.write_bytes(data)
    try:
        write_pruned(model, write_original(model, directory), make_recipe(pattern, 0.8), directory)
    except EdgesparseError as error:
        assert error.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["model.tflite", "-o", "out"], 2, "Expected --pattern or --recipe, found none"),
        (["model.tflite", "-o", "out", "-p", "16x1", "-r", "two-four"], 2, "found both"),
        (["model.tflite", "-o", "out", "-r", "two-four", "-s", "0.5"], 2, "Expected --recipe alone"),
        (["model.tflite", "-o", "out", "-p", "16y1", "-s", "0.5"], 3, "There is no pattern '16y1'"),
        (["model.tflite", "-o", "out", "-p", "16x1"], 3, "sparsity"),
        (["model.tflite", "-o", "out", "-p", "16x1", "-s", "1.5"], 3, "sparsity"),
        (["nothing.tflite", "-o", "out", "-p", "16x1", "-s", "0.5"], 3, "found nothing at"),
        ([".", "-o", "out", "-p", "16x1", "-s", "0.5"], 3, "found a directory at"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], code: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files.network())
    command = [sys.executable, "-m", "edgesparse.cli", "sparsify", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
