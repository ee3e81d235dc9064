"""A bundle made by the real path, once: a small CNN, pruned twice, converted."""

from __future__ import annotations

import pytest

from edgesparse.convert import Bundle, convert
from edgesparse.recipe import FineTune, Recipe
from tests.e2e import example
from tests.sshd import make_sshd, sshd

__all__ = ["make_sshd", "sshd"]

TUNING = FineTune(epochs=1, batch_size=32, learning_rate=1e-3)
RECIPES = (
    Recipe(name="unstructured", pattern="unstructured", sparsity=0.8, fine_tune=TUNING),
    Recipe(name="block-4x1", pattern="block 4x1", sparsity=0.75, fine_tune=TUNING),
)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """dense, unstructured and block-4x1 of one small CNN."""
    from edgesparse.prune import load_data, prune

    model, samples, root = example.model(), load_data("tests.e2e.example:data"), tmp_path_factory.mktemp("e2e")
    pruned = [prune(model, recipe, samples, out=root / recipe.name).path for recipe in RECIPES]
    return convert([model, *pruned], root / "bundle", data=samples, name="small")
