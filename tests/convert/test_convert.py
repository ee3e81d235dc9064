"""From Keras models and pruned model directories to a bundle, with real files and runtimes throughout."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from edgesparse.convert import convert, golden
from edgesparse.convert.bundle import Bundle, read_bundle
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import kernel_operators
from edgesparse.convert.sources import read_sources
from edgesparse.errors import EdgesparseError, ModelError, ParityError, UsageError
from edgesparse.prune.data import Data
from edgesparse.prune.report import LayerReport, PruningReport
from edgesparse.recipe import Recipe, dumps, load_recipe
from tests.convert.models import Export, build


def pruned_directory(path: Path, model: Any, name: str, pattern: str, layers: tuple[str, ...]) -> Path:
    """What `prune` leaves behind."""
    path.mkdir()
    model.save(path / "model.keras", save_format="keras")
    (path / "recipe.toml").write_text(dumps(Recipe(name=name, pattern=pattern, sparsity=0.8)))
    reports = [
        LayerReport(
            name=layer, kind="Dense", shape=(1,), pattern=pattern if layer in layers else "dense", density=1.0,
            pruned=layer in layers, reason="" if layer in layers else f"{layer} is not wanted", engine="",
        )
        for layer in ("stem", "pw", "c3", "fc1", "fc2")
    ]  # fmt: skip
    report = PruningReport(
        key="k", recipe=name, accuracy_before=1, accuracy_after=1, accuracy_samples=1, sparsity=0.8,
        layers=tuple(reports), toolchain={},
    )  # fmt: skip
    (path / "pruning.json").write_bytes(msgspec.json.encode(report))
    return path


@pytest.fixture(scope="module")
def data() -> Data:
    generator = np.random.default_rng(5)
    x, y = generator.random((40, 12, 12, 1), np.float32), generator.integers(0, 10, 40)
    return Data(x, y, x, y)


@pytest.fixture(scope="module")
def sources(unstructured: Export, blocks: Export, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("sources")
    dense = root / "dense.keras"
    build(lambda name, shape: np.ones(shape), seed=7).save(dense, save_format="keras")
    return [
        pruned_directory(root / "u", unstructured.model, "scattered-80", "unstructured", ("pw", "c3", "fc1", "fc2")),
        dense,
        pruned_directory(root / "b", blocks.model, "row-blocks-80", "block 1x4", ("pw", "fc1")),
    ]


@pytest.fixture(scope="module")
def bundle(sources: list[Path], data: Data, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return convert([str(source) for source in sources], tmp_path_factory.mktemp("out") / "tiny", data=data)


def test_the_bundle_is_whole_and_dense_comes_first(bundle: Bundle) -> None:
    assert read_bundle(bundle.path).id == bundle.id
    assert not bundle.reused
    assert bundle.manifest.name == "tiny"
    assert [variant.name for variant in bundle.manifest.variants] == ["dense", "scattered-80", "row-blocks-80"]
    assert {"python", "tensorflow", "ai-edge-litert"} <= set(bundle.manifest.toolchain)
    on_disk = {str(path.relative_to(bundle.path)) for path in bundle.path.rglob("*") if path.is_file()}
    assert on_disk == {file.path for file in bundle.files} | {"manifest.json"}


def test_variants_tell_what_they_are(bundle: Bundle) -> None:
    dense, scattered, rows = bundle.manifest.variants
    assert (dense.pattern, dense.twin, dense.recipe, dense.sparsity, dense.density) == ("dense", None, None, None, 1.0)
    assert (scattered.pattern, scattered.sparsity) == ("unstructured", 0.8)
    assert 0.19 < scattered.density < 0.22
    assert scattered.twin is not None
    assert scattered.file.bytes < scattered.twin.bytes / 2
    assert rows.recipe is not None
    assert load_recipe(str(bundle.file(rows.recipe))).pattern == "block 1x4"


def test_layers_tell_pattern_encoding_and_reason(bundle: Bundle) -> None:
    layers = {layer.name: layer for layer in bundle.variant("row-blocks-80").layers}
    assert list(layers) == ["stem", "dw", "pw", "c3", "fc1", "fc2"]
    assert (layers["fc1"].pattern, layers["fc1"].encoding, layers["fc1"].reason) == ("block 1x4", "block 1x4", "")
    assert (layers["c3"].pattern, layers["c3"].reason) == ("dense", "c3 is not wanted")
    assert layers["pw"].encoding == "dense"
    assert "under 30%" in layers["pw"].reason
    assert layers["fc1"].bytes < layers["fc1"].weights * 4


def test_every_file_passed_every_runtime(bundle: Bundle) -> None:
    for variant in bundle.manifest.variants:
        files = {variant.file.path} | ({variant.twin.path} if variant.twin else set())
        assert {row.file for row in variant.host_parity} == files
        assert all(row.ok for row in variant.host_parity)
        assert {"tf-keras", "ai-edge-litert", "tensorflow"} <= {row.runtime for row in variant.host_parity}


def test_twin_and_file_hold_the_same_weights(bundle: Bundle) -> None:
    for variant in bundle.manifest.variants[1:]:
        assert variant.twin is not None
        twin, file = read_model(bundle.file(variant.twin)), read_model(bundle.file(variant.file))
        for one, other in zip(kernel_operators(twin), kernel_operators(file), strict=True):
            assert np.array_equal(twin.weights(one.inputs[1]), file.weights(other.inputs[1]))


def test_golden_inputs_are_real_samples_and_outputs_those_of_keras(bundle: Bundle, data: Data, blocks: Export) -> None:
    with np.load(bundle.file(bundle.manifest.inputs)) as archive:
        inputs = archive["0"]
    assert inputs.shape == (golden.SAMPLES, 1, 12, 12, 1)
    assert all(any(np.array_equal(each[0], sample) for sample in data.x_test) for each in inputs)
    with np.load(bundle.file(bundle.variant("row-blocks-80").golden)) as archive:
        outputs = archive["0"]
    expected = blocks.model.predict(inputs[:, 0], verbose=0)
    assert np.abs(outputs[:, 0] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_accuracy_is_that_of_the_files(bundle: Bundle, data: Data, unstructured: Export) -> None:
    variant = bundle.variant("scattered-80")
    predicted = unstructured.model.predict(data.x_test, verbose=0).argmax(axis=1)
    assert variant.accuracy == pytest.approx(np.mean(predicted == data.y_test))
    assert variant.accuracy_samples == 40


def test_converting_again_reuses_what_is_there(bundle: Bundle, sources: list[Path], data: Data) -> None:
    said: list[str] = []
    again = convert(sources, bundle.path, data=data, progress=said.append)
    assert again.reused
    assert again.id == bundle.id
    assert said == []


def test_the_key_follows_models_data_name_and_versions(bundle: Bundle, sources: list[Path], data: Data) -> None:
    def key(*, among: list[Path] = sources, given: Any = data, name: str = "tiny", **versions: str) -> str:
        toolchain = {**bundle.manifest.toolchain, **versions}
        return str(import_module("edgesparse.convert")._key(read_sources(among), given, name, toolchain))

    other = Data(data.x_train, data.y_train, data.x_test, data.y_test + 1)
    different = [key(among=sources[:2]), key(given=other), key(given=None), key(name="other"), key(tensorflow="9")]
    assert key() == bundle.manifest.key
    assert len({*different, key()}) == 6


def test_a_changed_model_is_another_key(sources: list[Path], unstructured: Export, blocks: Export) -> None:
    one, other = (read_sources([export.model])[0].digest() for export in (unstructured, blocks))
    assert one != other
    assert one == read_sources([unstructured.model])[0].digest()


def test_a_damaged_bundle_is_made_again(blocks: Export, tmp_path: Path) -> None:
    first = convert([blocks.model], tmp_path / "out")
    first.file("dense.tflite").write_bytes(b"")
    again = convert([blocks.model], tmp_path / "out")
    assert not again.reused
    assert again.manifest.key == first.manifest.key
    assert read_bundle(tmp_path / "out").manifest.variants[0].accuracy is None


def test_without_a_baseline_the_first_twin_is_dense(unstructured: Export, tmp_path: Path) -> None:
    from edgesparse.prune.pruning import Pruned

    told = {"accuracy_before": 1.0, "accuracy_pruned": 0.5, "accuracy_after": 0.9, "accuracy_samples": 10}
    report = SimpleNamespace(layers=(), **told)
    pruned = Pruned(unstructured.model, Recipe(name="u", pattern="unstructured", sparsity=0.8), report, None, False)  # type: ignore[arg-type]
    made = convert([pruned], tmp_path / "out")
    dense, variant = made.manifest.variants
    assert (dense.name, variant.name) == ("dense", "u")
    assert dense.trained is None
    assert variant.trained is not None
    assert (variant.trained.before, variant.trained.pruned, variant.trained.tuned) == (1.0, 0.5, 0.9)
    assert variant.twin is not None
    assert dense.file.sha256 == variant.twin.sha256
    assert {row.file for row in dense.host_parity} == {"dense.tflite"}
    assert dense.twin is None


def test_a_failed_gate_leaves_nothing_unless_told_to_go_on(
    blocks: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = golden.golden_outputs
    monkeypatch.setattr(golden, "golden_outputs", lambda *given: [each * 1.01 for each in right(*given)])
    with pytest.raises(ParityError, match="Variant dense"):
        convert([blocks.model], tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []
    kept = convert([blocks.model], tmp_path / "out", keep_going=True)
    assert not any(row.ok for row in kept.manifest.variants[0].host_parity)
    with pytest.raises(ParityError):
        convert([blocks.model], tmp_path / "out")
    assert convert([blocks.model], tmp_path / "out", keep_going=True).reused


@pytest.mark.parametrize(
    ("pick", "error", "says"),
    [
        (lambda s: [], UsageError, "0 models"),
        (lambda s: [s[1], s[1]], UsageError, "2 dense"),
        (lambda s: [s[0], s[0]], UsageError, "'scattered-80'"),
        (lambda s: [("../x", s[0])], UsageError, "'../x'"),
        (lambda s: [("dense", s[0])], UsageError, "'dense'"),
        (lambda s: [s[1].parent / "none.keras"], ModelError, "found nothing"),
        (lambda s: [s[1].parent / "x.tflite"], ModelError, "Expected a Keras model"),
        (lambda s: [object()], ModelError, "Expected a Keras model"),
    ],
)
def test_refuses_what_cannot_be_converted(
    pick: Any, error: type[EdgesparseError], says: str, sources: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(error, match=says) as caught:
        convert(pick(sources), tmp_path / "out")
    assert caught.value.hint
    assert list(tmp_path.glob("*out*")) == []


def test_data_of_another_shape_is_refused(blocks: Export, tmp_path: Path) -> None:
    x, y = np.zeros((9, 8, 8, 1), np.float32), np.zeros(9, np.int64)
    with pytest.raises(ModelError, match=r"shape \[12, 12, 1\], the data has samples of shape \[8, 8, 1\]"):
        convert([blocks.model], tmp_path / "out", data=((x, y), (x, y)))


def test_labels_that_are_no_classes_have_no_accuracy(blocks: Export, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(blocks.dense)
    x = np.random.default_rng(0).random((6, 12, 12, 1), np.float32)
    scores = blocks.model.predict(x, verbose=0)
    best = scores.argmax(axis=1)
    assert golden.accuracy(tmp_path / "m.tflite", x, best) == 1.0
    assert golden.accuracy(tmp_path / "m.tflite", x, best[:, None]) == 1.0
    assert golden.accuracy(tmp_path / "m.tflite", x, np.eye(10)[best]) == 1.0
    assert golden.accuracy(tmp_path / "m.tflite", x, (best + 1) % 10) == 0.0
    assert golden.accuracy(tmp_path / "m.tflite", x, best.astype(np.float32)) is None
