"""A trained CIFAR-10 network, pruned and fine-tuned: half an hour on two cores, so only when it is asked for.

EDGESPARSE_TEST_MODEL=ic_resnet8.h5 EDGESPARSE_TEST_DATA=npz:cifar10.npz pytest tests/prune/test_cifar.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgesparse.prune import prune
from edgesparse.recipe import FineTune, Recipe, Schedule

POINTS = 0.015


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("pattern", ["unstructured", "block 4x1"])
def test_at_70_percent_no_more_than_a_point_and_a_half_is_lost(pattern: str, tmp_path: Path) -> None:
    model, data = os.environ.get("EDGESPARSE_TEST_MODEL"), os.environ.get("EDGESPARSE_TEST_DATA")
    if not model or not data:
        pytest.skip("EDGESPARSE_TEST_MODEL and EDGESPARSE_TEST_DATA name no trained network and data")
    tuning = FineTune(epochs=10, batch_size=128, learning_rate=5e-4)
    recipe = Recipe(name="cifar", pattern=pattern, sparsity=0.7, schedule=Schedule(end=0.5), fine_tune=tuning)
    report = prune(model, recipe, data, out=tmp_path / "out").report
    assert report.sparsity == pytest.approx(0.7, abs=0.01)
    assert report.accuracy_after >= report.accuracy_before - POINTS
