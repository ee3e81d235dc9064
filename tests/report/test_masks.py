"""Masks beside a run: of the right layers, in the right place, and no reason to lose a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesparse.convert import flatbuffer, layers
from edgesparse.convert.bundle import Layer, Variant
from edgesparse.errors import UsageError
from edgesparse.patterns import Array
from edgesparse.report import masks
from edgesparse.report.masks import CORNER, MASKS, corner_of, masks_of, read_masks, write_masks
from tests.report.runs import make_bundle


class Model:
    """Kernels in place of a file: operator number -> weights."""

    def __init__(self, kernels: list[Array]) -> None:
        self.kernels = kernels

    def weights(self, number: int) -> Array:
        return self.kernels[number]


class Kernel:
    def __init__(self, number: int) -> None:
        self.inputs = (0, number)


def test_the_layers_that_lost_the_most_are_shown_by_their_corner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    kernels = [
        rng.random((outputs, 1, 1, 96)) * (rng.random((outputs, 1, 1, 96)) > 0.8) for outputs in (8, 128, 64, 32)
    ]
    described = [
        Layer(name=f"conv_{number}", op="CONV_2D", shape=each.shape, pattern="unstructured", density=0.2,
              weights=each.size, bytes=each.nbytes, encoding="csr", reason="")
        for number, each in enumerate(kernels)
    ]  # fmt: skip
    bundle = make_bundle(tmp_path / "bundle")
    described_as = {"unstructured-80": described}
    monkeypatch.setattr(flatbuffer, "read_model", lambda path: Model(kernels))
    monkeypatch.setattr(layers, "kernel_operators", lambda found: [Kernel(number) for number in range(4)])
    variants = [_with_layers(each, described_as.get(each.name, [])) for each in bundle.manifest.variants]
    bundle.manifest.variants[:] = variants
    write_masks(tmp_path, bundle)
    found = read_masks(tmp_path)
    assert [each.layer for each in found.masks] == ["conv_1", "conv_2", "conv_3"], "conv_0 lost the least"
    first = found.masks[0]
    assert (len(first.corner), len(first.corner[0])) == (CORNER, CORNER)
    expected = kernels[1].reshape(128, 96)[:CORNER, :CORNER] != 0
    assert [[value == "1" for value in row] for row in first.corner] == expected.tolist()
    assert first.part() == "first 64 of 128 outputs, 64 of 96 inputs"
    assert first.density == pytest.approx(np.count_nonzero(kernels[1]) / kernels[1].size)


def _with_layers(variant: Variant, found: list[Layer]) -> Variant:
    import msgspec

    return msgspec.structs.replace(variant, layers=found)


def test_a_file_that_cannot_be_read_costs_its_picture_alone(tmp_path: Path) -> None:
    found = masks_of(make_bundle(tmp_path / "bundle"))
    assert found.masks == []
    assert set(found.unread) == {"unstructured-80", "block-4x1-80", "two-four"}
    assert "TFL3" in found.unread["two-four"]


def test_a_run_without_masks_has_none(tmp_path: Path) -> None:
    assert read_masks(tmp_path).masks == []


@pytest.mark.parametrize("content", ['{"version": 2}', "no JSON"])
def test_masks_that_cannot_be_read_are_refused_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / MASKS).write_text(content)
    with pytest.raises(UsageError, match=MASKS):
        read_masks(tmp_path)


def test_a_small_layer_is_shown_whole() -> None:
    kernel = np.eye(3)
    corner = corner_of(kernel)
    assert corner == ["100", "010", "001"]
    mask = masks.Mask(variant="v", layer="l", op="FULLY_CONNECTED", pattern="unstructured", density=1 / 3, outputs=3,
                      inputs=3, corner=corner)  # fmt: skip
    assert mask.part() == "all 3 outputs x 3 inputs"
