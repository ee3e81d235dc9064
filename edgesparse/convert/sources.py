"""What `convert` is given: the dense baseline and pruned models, as paths, `module:function` or objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesparse.convert.bundle import DENSE, FLOAT, Trained, is_name
from edgesparse.convert.layers import Wish
from edgesparse.errors import ModelError, UsageError
from edgesparse.files import sha256_of

if TYPE_CHECKING:
    from edgesparse.prune.report import PruningReport
    from edgesparse.recipe import Recipe


@dataclass
class Source:
    """One model to convert, loaded when it is first needed.

    Attributes:
        name: its variant's name.
        origin: a path, `module:function` or a tf_keras model.
        recipe: what it was pruned with; None for a dense baseline.
        wishes: what pruning did to each layer.
        trained: accuracies of the Keras model on the way, where they were measured.
        quantised_by: the recipe by whose `quantize` its weights become int8; None where they stay float.
    """

    name: str
    origin: Any
    recipe: Recipe | None
    wishes: dict[str, Wish]
    quantised_by: Recipe | None = None
    trained: Trained | None = None
    _model: Any = None
    _aware: Any = None

    @property
    def model(self) -> Any:
        """The Keras model.

        Raises:
            ModelError: it is missing, or no Keras 2 model.
        """
        if self._model is None:
            from edgesparse.prune.models import check_keras2, load_model

            known = isinstance(self.origin, str | Path)
            self._model = load_model(self.origin) if known else check_keras2(self.origin, "the model given")
        return self._model

    @property
    def precision(self) -> str:
        """As in the manifest."""
        return FLOAT if self.quantised_by is None else self.quantised_by.quantize.kind

    def aware(self, data: Any) -> Any:
        """The model after quantisation-aware training: as pruning left it, or trained now, as a dense baseline is.

        Args:
            data: to train on.

        Raises:
            ModelError: it cannot be trained so.
        """
        if self._aware is None:
            from edgesparse.prune.quantising import WEIGHTS_FILE, load_aware, train_aware

            assert self.quantised_by is not None
            if self.recipe is not None:
                self._aware = load_aware(self.model, Path(self.origin) / WEIGHTS_FILE)
            else:
                self._aware = train_aware(self.model, data, self.quantised_by)
        return self._aware

    def digest(self) -> str:
        """A hash of the model: of its files where it has any, else of its architecture and weights."""
        path = Path(self.origin) if isinstance(self.origin, str | Path) else None
        if path is not None and path.is_file():
            return sha256_of(path)
        digest = hashlib.sha256()
        if path is not None and path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    digest.update(f"{file.relative_to(path)}\0{sha256_of(file)}\0".encode())
            return digest.hexdigest()
        if self.recipe is not None:
            digest.update(self.recipe.digest().encode())
        digest.update(self.model.to_json().encode())
        aware = [] if self._aware is None else self._aware.get_weights()
        for weights in (*self.model.get_weights(), *aware):
            digest.update(np.ascontiguousarray(weights).tobytes())
        return digest.hexdigest()


def read_sources(models: Sequence[Any]) -> list[Source]:
    """The models to convert, the dense baseline first if there is one.

    Args:
        models: paths, `module:function`, tf_keras models or what `prune` returned, each also as (name, model). A
            directory with a recipe and a pruning report is a pruned model; all but that and what `prune` returned is
            the dense baseline, of which there can be one.

    Returns:
        The dense baseline, the same quantised as the pruned models are, and these.

    Raises:
        UsageError: none, two baselines, or names that are taken or cannot be file names.
        ModelError: a path that does not exist.
    """
    sources = [_read(*model) if isinstance(model, tuple) else _read(None, model) for model in models]
    baselines = [source for source in sources if source.recipe is None]
    if not sources or len(baselines) > 1:
        raise UsageError(
            f"Expected pruned models and at most one dense one, found {len(sources)} models, {len(baselines)} dense.",
            hint="Prune the others first: `edgesparse prune MODEL --recipe RECIPE --out DIRECTORY`.",
        )
    _check_names(sources)
    pruned = [source for source in sources if source.recipe is not None]
    every = [*baselines, *(each for dense in baselines for each in _quantised_baselines(dense, pruned)), *pruned]
    if len({source.name for source in every}) < len(every):
        raise UsageError(
            "The dense model in int8 is called dense-int8, dense-int8-aware or dense-dynamic, which is taken.",
            hint="Give the pruned model of this name another.",
        )
    return every


def _quantised_baselines(dense: Source, pruned: Sequence[Source]) -> list[Source]:
    """The dense model once more for each way in which pruned ones are quantised, by the first that is so."""
    found: dict[str, Source] = {}
    for rules in (source.quantised_by for source in pruned if source.quantised_by is not None):
        name = f"{DENSE}-{rules.quantize.kind}" + "-aware" * rules.quantize.aware
        found.setdefault(name, Source(name, dense.origin, None, {}, rules, _model=dense._model))
    return list(found.values())


def _check_names(sources: Iterable[Source]) -> None:
    seen = set()
    for source in sources:
        if not is_name(source.name) or source.name in seen or (source.name == DENSE) != (source.recipe is None):
            raise UsageError(
                f"A variant cannot be called {source.name!r}: expected a name of letters, digits, dots, dashes and "
                f"underscores that no other variant has; {DENSE!r} is the baseline's.",
                hint="Give another name in the recipe.",
            )
        seen.add(source.name)


def _read(name: str | None, origin: Any) -> Source:
    if not isinstance(origin, str | Path):
        from edgesparse.prune.pruning import Pruned

        if isinstance(origin, Pruned):
            recipe = origin.recipe
            return Source(
                name or recipe.name, origin.model, recipe, _wishes(origin.report), _quantising(recipe),
                _trained(origin.report), _aware=origin.aware,
            )  # fmt: skip
        return Source(DENSE, origin, None, {})
    from edgesparse.prune.pruning import RECIPE_FILE
    from edgesparse.prune.report import REPORT_FILE, read_report

    path = Path(origin)
    if not (path / RECIPE_FILE).is_file() or not (path / REPORT_FILE).is_file():
        if path.suffix == ".tflite":
            raise ModelError(f"Expected a Keras model, found {path}.", hint="Give the Keras model that it came from.")
        if not path.exists() and ":" not in str(origin):
            raise ModelError(f"Expected a model, found nothing at {path}.", hint="Check the path.")
        return Source(DENSE, origin, None, {})
    from edgesparse.recipe import load_recipe

    recipe = load_recipe(str(path / RECIPE_FILE))
    report = read_report(path)
    return Source(name or recipe.name, origin, recipe, _wishes(report), _quantising(recipe), _trained(report))


def _quantising(recipe: Recipe) -> Recipe | None:
    return recipe if recipe.quantize.kind != "none" else None


def _trained(report: PruningReport) -> Trained:
    return Trained(
        before=report.accuracy_before,
        pruned=report.accuracy_pruned,
        tuned=report.accuracy_after,
        samples=report.accuracy_samples,
    )


def _wishes(report: PruningReport) -> dict[str, Wish]:
    return {layer.name: Wish(layer.pattern if layer.pruned else DENSE, layer.reason) for layer in report.layers}
