"""The traps of the toolchain, built for real: what stock conversion makes of them, and what edgesparse does."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgesparse import sparsify
from edgesparse.agent.process import WorkerFailed, WorkerProcess
from edgesparse.boards.types import load_type
from edgesparse.check import check
from edgesparse.convert import Bundle, convert
from edgesparse.convert.building import INPUTS
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.parity import installed_runtimes
from edgesparse.explain import explain
from edgesparse.explain.forewarning import forewarnings
from edgesparse.patterns import from_keras, mask, parse_pattern, to_keras
from edgesparse.prune.data import Data
from edgesparse.prune.pruning import Pruned
from edgesparse.recipe import Quantize, Recipe, Schedule
from edgesparse.sparsify import make_recipe
from tests.convert.models import build
from tests.explain_graphs import write_graphs

# Networks are trained or converted here, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

_RUN = """
import importlib, sys
import numpy as np
interpreter = importlib.import_module(sys.argv[3]).Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]
values = np.random.default_rng(0).normal(size=entry["shape"])
if entry["dtype"] == np.int8:
    values = np.clip(np.round(values * 40), -128, 127)
interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
interpreter.invoke()
np.save(sys.argv[2], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


def outputs(file: Path, runtime: str = "ai-edge-litert") -> Any:
    """What a runtime gives for a file, in a process of its own; None where it fails."""
    place = file.with_suffix(".npy")
    command = [sys.executable, "-c", _RUN, str(file), str(place), f"{runtime.replace('-', '_')}.interpreter"]
    done = subprocess.run(command, capture_output=True, check=False)
    return np.load(place) if done.returncode == 0 else None


def right(found: Any, expected: Any) -> bool:
    return found is not None and found.shape == expected.shape and bool(np.allclose(found, expected, atol=1e-3))


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the stock converter's dense and sparse file of a dense layer in blocks, with weights of a kind."""
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import keras, tf

    def make(kind: str, inputs: int, outputs: int, block: int) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(kind)
        model = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, name="fc")])
        generator = np.random.default_rng(4)
        mask = np.repeat(generator.random((inputs // block, outputs)) < 0.3, block, axis=0)
        model.layers[0].set_weights([generator.normal(size=(inputs, outputs)) * mask, generator.normal(size=outputs)])
        samples = generator.normal(size=(16, 1, inputs)).astype(np.float32)
        files = []
        for name, more in (("dense", []), ("sparse", [tf.lite.Optimize.EXPERIMENTAL_SPARSITY])):
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            converter.optimizations = [*([tf.lite.Optimize.DEFAULT] if kind != "float32" else []), *more]
            if kind == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if kind == "int8":
                converter.representative_dataset = lambda: ([each] for each in samples)
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = converter.inference_output_type = tf.int8
            with quiet_native_logs():
                (folder / f"{name}.tflite").write_bytes(converter.convert())
            files.append(folder / f"{name}.tflite")
        return files[0], files[1]

    return make


@pytest.mark.parametrize(
    ("kind", "block", "runtime"),
    [("float16", 4, "ai-edge-litert"), ("int8", 16, "tflite-runtime"), ("dynamic", 16, "ai-edge-litert")],
    ids=["float16", "int8", "dynamic range"],
)
def test_sparse_weights_that_are_not_float32(kind: str, block: int, runtime: str, trap: Any, tmp_path: Path) -> None:
    """float16 comes out as NaN; int8 with a scale for each output and dynamic range compute something else."""
    if find_spec(runtime.replace("-", "_")) is None:
        pytest.skip(f"{runtime} is not installed")
    dense, sparse = trap(kind, 64, 32, block)
    expected = outputs(dense)
    assert any(tensor.sparsity for tensor in read_model(sparse).tensors), "the converter wrote no trap"
    assert not right(outputs(sparse, runtime), expected), "the trap is gone: this runtime computes it rightly"
    forecast = explain(sparse, load_type("local"), backends=["xnnpack"], runtime=runtime).summaries["xnnpack"]
    assert forecast.path in ("wrong", "fails"), "explain does not know"

    # As an input it is taken apart and stored so that every runtime computes it, zeros in place.
    bundle = sparsify(sparse, make_recipe("unstructured", 0.5), tmp_path / "out")
    for variant in bundle.manifest.variants:
        assert right(outputs(bundle.file(variant.file)), expected), variant.name
        # tflite-runtime knows no FULLY_CONNECTED with a scale for each output at all, and says so.
        wrong = [row for row in variant.host_parity if not row.ok and "Didn't find op" not in row.reason]
        assert not wrong


@pytest.mark.parametrize(
    ("block", "runtime", "forecast"),
    [(1, "ai-edge-litert", "fails"), (16, "tflite-runtime", "wrong")],
    ids=["single zeros fail to allocate", "blocks give other outputs"],
)
def test_int8_convolutions_that_the_converter_stored_sparse(
    block: int, runtime: str, forecast: str, tmp_path: Path
) -> None:
    from edgesparse.native_logs import quiet_native_logs
    from edgesparse.prune.legacy_keras import keras, tf

    if find_spec(runtime.replace("-", "_")) is None:
        pytest.skip(f"{runtime} is not installed")
    layers, generator = keras.layers, np.random.default_rng(0)
    image = keras.Input((16, 16, 16))
    x = layers.Conv2D(64, 3, padding="same", name="b")(layers.Conv2D(64, 1, activation="relu", name="a")(image))
    x = layers.Dense(32, name="c")(layers.Flatten()(layers.GlobalAveragePooling2D()(x)))
    model = keras.Model(image, x)
    for layer in model.layers:
        if weights := layer.get_weights():
            *window, inputs, outs = weights[0].shape
            mask = np.repeat(generator.random((*window, inputs // block, outs)) < 0.25, block, axis=-2)
            layer.set_weights([weights[0] * mask, weights[1]])
    samples = generator.random((16, 1, 16, 16, 16)).astype(np.float32)
    files = []
    for name, more in (("dense", []), ("sparse", [tf.lite.Optimize.EXPERIMENTAL_SPARSITY])):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT, *more]
        converter.representative_dataset = lambda: ([each] for each in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        with quiet_native_logs():
            (tmp_path / f"{name}.tflite").write_bytes(converter.convert())
        files.append(tmp_path / f"{name}.tflite")
    dense, sparse = files
    expected = outputs(dense, runtime)
    assert not right(outputs(sparse, runtime), expected), "the trap is gone: this runtime computes it rightly"
    found = explain(sparse, load_type("local"), backends=["xnnpack"], runtime=runtime).summaries["xnnpack"]
    assert found.path == forecast, "explain does not know"
    bundle = sparsify(sparse, make_recipe("unstructured", 0.8), tmp_path / "out")
    assert right(outputs(bundle.file(bundle.manifest.variants[0].file), runtime), expected)
    assert all(row.ok for variant in bundle.manifest.variants for row in variant.host_parity)


def test_float16_in_blocks_of_four_inputs_stays_right(trap: Any, tmp_path: Path) -> None:
    dense, _ = trap("float16", 64, 32, 4)
    bundle = sparsify(dense, make_recipe("1x4", 0.7), tmp_path / "out")
    file = bundle.file(bundle.manifest.variants[1].file)
    assert any(tensor.sparsity for tensor in read_model(file).tensors)
    assert right(outputs(file), outputs(dense))


def test_two_of_four_on_three_channels_is_no_two_of_four(tmp_path: Path) -> None:
    """TF-MOT takes a first layer of 3 channels and leaves more non-zeros than 2:4 allows; here it is named."""
    from edgesparse.prune.legacy_keras import keras, tfmot_sparsity

    model = keras.Sequential([keras.layers.Conv2D(8, 3, input_shape=(8, 8, 3), name="first"), keras.layers.Flatten()])
    keras.utils.set_random_seed(0)
    wrapped = tfmot_sparsity.prune_low_magnitude(model, sparsity_m_by_n=(2, 4))
    wrapped.compile("sgd", "mse")
    x, y = np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, 288), np.float32)
    wrapped.fit(x, y, epochs=2, verbose=0, callbacks=[tfmot_sparsity.UpdatePruningStep()])
    stripped = tfmot_sparsity.strip_pruning(wrapped)
    zeros = float(np.mean(stripped.layers[0].kernel.numpy() == 0))
    assert zeros < 0.5
    stripped.save(tmp_path / "model.keras", save_format="keras")
    found = check(tmp_path / "model.keras", "2:4")
    assert not found.valid
    assert found.layers[0].verdict == "does not fit"
    assert "needs a multiple of 4 inputs, the layer has 3" in found.layers[0].reason


def board_gate(bundle: Bundle, *before: str) -> tuple[bool, str]:
    """What the agent's own worker says of the pruned file under XNNPACK, on the CPU that `before` emulates."""
    variant = bundle.manifest.variants[1]
    paths = {"model": variant.file.path, "inputs": INPUTS, "golden": variant.golden.path}
    message = {"type": "load", "twin": None, "backend": "xnnpack", "threads": 1, "runtime": "ai-edge-litert"}
    message |= {key: str((bundle.path / path).absolute()) for key, path in paths.items()}

    async def ask() -> tuple[bool, str]:
        async with WorkerProcess([*before, sys.executable, "-m", "edgesparse.agent", "worker"], 300.0) as worker:
            try:
                parity = (await worker.ask(message))["parity"]
            except WorkerFailed as failure:
                return False, failure.reason
            return parity["ok"], parity["reason"]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        ("fits", ""),
        ("same_padding", "computes wrong values"),
        ("concat", "computes wrong values"),
        ("pooled_conv", "does not start"),
    ],
)
def test_what_only_goes_wrong_where_xnnpack_runs_sparse(graph: str, says: str, tmp_path: Path) -> None:
    """Garbage behind the global pooling and in half-conforming clusters: on a CPU with AVX all of it passes, so it is
    foretold here, and refused by the gate there."""
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None or not load_type("local").x86 or find_spec("ai_edge_litert") is None:
        pytest.skip("no qemu-x86_64 here: apt-get install qemu-user")
    write_graphs(tmp_path, [graph])
    bundle = sparsify(tmp_path / f"{graph}.dense.tflite", make_recipe("unstructured", 0.8), tmp_path / "out")
    assert all(row.ok for row in bundle.manifest.variants[1].host_parity)
    ok, reason = board_gate(bundle, emulator, "-cpu", "Nehalem")
    assert ok == (not says), f"the trap is gone: {reason}"
    told = [warning for warning in forewarnings(bundle) if "ai-edge-litert" in warning]
    assert [says in warning for warning in told] == ([True] if says else [])


PATTERNS = {"unstructured": 0.8, "block 1x4": 0.75, "block 16x1": 0.75, "block 1x16": 0.75, "2:4": None, "filter": 0.5}
PRUNED = ("pw", "c3", "fc1")


def pruned_by(pattern: str, kind: Any) -> Pruned:
    """A network with a pattern's zeros, to be converted with weights of a kind."""
    share, asked = PATTERNS[pattern], parse_pattern(pattern)
    chosen = PRUNED[1:] if pattern == "block 1x16" else PRUNED  # pw reads 8 channels

    def zeros(name: str, shape: tuple[int, ...]) -> Any:
        if name not in chosen:
            return np.ones(shape)
        kernel = np.random.default_rng(len(name)).normal(size=shape)
        return to_keras(mask(from_keras(kernel), asked, share))

    name = f"{pattern.replace(' ', '-').replace(':', '-')}-{kind}"
    recipe = Recipe(
        name=name,
        pattern=pattern,
        sparsity=share,
        schedule=Schedule(kind="constant"),
        quantize=Quantize(kind=kind, samples=8),
    )
    layers = [SimpleNamespace(name=layer, pattern=pattern, pruned=True, reason="") for layer in chosen]
    report: Any = SimpleNamespace(
        layers=layers, accuracy_before=1.0, accuracy_pruned=1.0, accuracy_after=1.0, accuracy_samples=16
    )
    return Pruned(build(zeros), recipe, report, None, False, None)


@pytest.mark.parametrize("kind", ["none", "int8", "dynamic"])
def test_no_combination_of_pattern_and_precision_makes_a_wrong_file(kind: str, tmp_path: Path) -> None:
    """Every file of `convert` under every installed runtime and backend: right, or the runtime says that it is too old
    for it."""
    generator = np.random.default_rng(5)
    x, y = generator.random((16, 12, 12, 1), np.float32), np.arange(16) % 10
    bundle = convert([pruned_by(pattern, kind) for pattern in PATTERNS], tmp_path / "out", data=Data(x, y, x, y))
    named = {variant.pattern: variant for variant in bundle.manifest.variants if variant.recipe is not None}
    assert set(named) == set(PATTERNS)
    for variant in named.values():
        rows = [row for row in variant.host_parity if row.runtime != "tf-keras"]
        assert len(rows) >= 3 * len(installed_runtimes())
        assert all(row.ok for row in rows), [(row.file, row.runtime, row.backend, row.reason) for row in rows]
        sparse = any(tensor.sparsity for tensor in read_model(bundle.file(variant.file)).tensors)
        assert sparse == (kind == "none")
    assert forewarnings(bundle) == []
