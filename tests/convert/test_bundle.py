"""Bundles on disk: what is read back, and what is refused. No TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgesparse.convert.bundle import (
    Layer,
    Manifest,
    Variant,
    describe,
    is_name,
    read_bundle,
    staged,
    write_manifest,
)
from edgesparse.errors import BundleError, UsageError
from edgesparse.files import sha256_of


def fill(directory: Path, *, name: str = "tiny") -> None:
    (directory / "golden").mkdir()
    for path in ("golden/inputs.npz", "golden/dense.npz", "golden/b.npz", "dense.tflite", "b.tflite", "b.dense.tflite"):
        (directory / path).write_bytes(path.encode())
    layer = Layer(
        name="fc", op="FULLY_CONNECTED", shape=(4, 8), pattern="dense", density=1.0, weights=32, bytes=128,
        encoding="dense", reason="",
    )  # fmt: skip

    def variant(name: str, twin: str | None) -> Variant:
        return Variant(
            name=name, file=describe(directory, f"{name}.tflite"), twin=describe(directory, twin) if twin else None,
            golden=describe(directory, f"golden/{name}.npz"), recipe=None, pattern="dense", sparsity=None, density=1.0,
            accuracy=None, accuracy_samples=0, layers=[layer], host_parity=[],
        )  # fmt: skip

    manifest = Manifest(
        version=2, name=name, edgesparse="0.1.0", created="2026-01-01T00:00:00+00:00", key="k", toolchain={},
        inputs=describe(directory, "golden/inputs.npz"),
        variants=[variant("dense", None), variant("b", "b.dense.tflite")],
    )  # fmt: skip
    write_manifest(directory, manifest)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    with staged(tmp_path / "bundle") as directory:
        fill(directory)
    return tmp_path / "bundle"


def test_reads_what_was_written(bundle: Path) -> None:
    found = read_bundle(bundle)
    assert found.id == sha256_of(bundle / "manifest.json")
    assert [variant.name for variant in found.manifest.variants] == ["dense", "b"]
    assert found.variant("b").twin is not None
    assert found.file(found.variant("b").file) == bundle / "b.tflite"
    assert len(found.files) == 6
    assert not found.reused
    assert found.manifest.to_dict()["variants"][0]["layers"][0]["shape"] == (4, 8)


def test_a_manifest_of_version_1_is_read_as_float(bundle: Path) -> None:
    def older(manifest: dict[str, Any]) -> None:
        manifest["version"] = 1
        for variant in manifest["variants"]:
            del variant["precision"]

    edit(older)(bundle)
    assert [variant.precision for variant in read_bundle(bundle).manifest.variants] == ["float32", "float32"]


def test_an_unknown_variant_lists_those_that_exist(bundle: Path) -> None:
    with pytest.raises(UsageError, match="dense, b"):
        read_bundle(bundle).variant("c")


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(bundle: Path) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text())
        change(manifest)
        (bundle / "manifest.json").write_text(json.dumps(manifest))

    return apply


def link_out(bundle: Path) -> None:
    (bundle / "b.tflite").rename(bundle.parent / "outside")
    (bundle / "b.tflite").symlink_to(bundle.parent / "outside")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: (b / "manifest.json").unlink(), "found no manifest.json"),
        (lambda b: (b / "b.tflite").unlink(), "lacks its file b.tflite"),
        (lambda b: (b / "b.tflite").write_bytes(b"B.tflite"), "SHA-256"),
        (lambda b: (b / "golden/b.npz").write_bytes(b""), "has 0 bytes, the manifest says 12"),
        (lambda b: (b / "manifest.json").write_text("{"), "no valid manifest"),
        (lambda b: (b / "manifest.json").write_text("[]"), "version None"),
        (edit(lambda m: m.update(version=4)), "version 4; this edgesparse reads version 3"),
        (edit(lambda m: m.update(extra=1)), "unknown field `extra`"),
        (edit(lambda m: m["variants"][0].update(extra=1)), "unknown field `extra`"),
        (edit(lambda m: m["variants"][0]["file"].update(bytes="8")), "Expected `int`"),
        (edit(lambda m: m["variants"][0].update(name="other")), "'dense' first"),
        (edit(lambda m: m["variants"][1].update(name="dense")), "'dense' first"),
        (edit(lambda m: m["variants"][1].update(name="../b")), "'dense' first"),
        (edit(lambda m: m["variants"].clear()), "found none"),
        (edit(lambda m: m["inputs"].update(path="../manifest.json")), "outside"),
        (edit(lambda m: m["inputs"].update(path="golden/../../x")), "outside"),
        (edit(lambda m: m["inputs"].update(path="/etc/passwd")), "outside"),
        (edit(lambda m: m["inputs"].update(path="")), "outside"),
        (link_out, "outside"),
    ],
)
def test_refuses_damaged_bundles(bundle: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=says) as caught:
        read_bundle(bundle)
    assert caught.value.hint
    assert caught.value.exit_code == 3


def test_refuses_a_file_in_place_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="found no"):
        read_bundle(tmp_path / "file")


def test_a_bundle_replaces_the_one_before_it(bundle: Path) -> None:
    with staged(bundle) as directory:
        fill(directory, name="second")
    assert read_bundle(bundle).manifest.name == "second"
    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(bundle: Path, error: type[BaseException]) -> None:
    before = read_bundle(bundle).id
    with pytest.raises(error), staged(bundle) as directory:
        (directory / "half").write_text("written")
        raise error
    assert read_bundle(bundle).id == before
    assert list(bundle.parent.iterdir()) == [bundle]


def test_nothing_but_a_bundle_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    with pytest.raises(BundleError, match="not replaced"), staged(tmp_path / "thesis"):
        raise AssertionError("never entered")
    assert (tmp_path / "thesis" / "chapter").read_text() == "1"
    with staged(tmp_path / "empty" / "deep") as directory:
        fill(directory)
    assert read_bundle(tmp_path / "empty" / "deep")


def test_an_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="No bundle can be written"), staged(tmp_path / "file" / "bundle"):
        raise AssertionError("never entered")


@pytest.mark.parametrize(("name", "fine"), [("block-4x1-80", True), ("a.b_c", True), ("", False), (".a", False),
                                            ("a/b", False), ("a" * 101, False)])  # fmt: skip
def test_names(name: str, fine: bool) -> None:
    assert is_name(name) is fine


def test_reading_bundles_loads_no_tensorflow() -> None:
    code = "import sys, edgesparse.convert.bundle; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
