"""The example really learns, and the recipes that ship keep what it learned."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesparse.prune import EpochDone, Trained, prune, train_example


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_example(tmp_path_factory.mktemp("digits") / "dense")


def test_dense_accuracy_and_reuse(dense: Trained) -> None:
    epochs: list[EpochDone] = []
    assert dense.accuracy >= 0.975
    assert dense.accuracy_samples == 450
    again = train_example(dense.path, progress=epochs.append)
    assert (again.reused, again.accuracy, epochs) == (True, dense.accuracy, [])


@pytest.mark.parametrize(("recipe", "points"), [("unstructured-80", 1.5), ("block-16x1-80", 1.5), ("two-four", 1.0)])
def test_pruned_accuracy(dense: Trained, tmp_path: Path, recipe: str, points: float) -> None:
    report = prune(str(dense.path), recipe, "digits", out=tmp_path / recipe).report
    assert report.accuracy_before == dense.accuracy
    assert report.accuracy_after >= dense.accuracy - points / 100
    pruned = {layer.name for layer in report.layers if layer.pruned}
    assert {f"pointwise{number}" for number in range(1, 6)} <= pruned
    assert report.sparsity == pytest.approx(0.5 if recipe == "two-four" else 0.8, abs=1e-3)
