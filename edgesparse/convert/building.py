"""Fills a bundle's directory: files of every source, golden outputs, the parity gate, and the manifest of it all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse import __version__
from edgesparse.agent.lean import kept_out_of_memory
from edgesparse.agent.parity import compare
from edgesparse.convert import golden
from edgesparse.convert.bundle import (
    DENSE,
    VERSION,
    File,
    HostParity,
    Layer,
    Manifest,
    Variant,
    describe,
    write_manifest,
)
from edgesparse.convert.flatbuffer import read_model, unpack
from edgesparse.convert.keras import Exporter
from edgesparse.convert.layers import describe_layers, overall_density
from edgesparse.convert.parity import Check, check_all, find_kernels, refuse_failed
from edgesparse.convert.quantised import QuantisedExporter
from edgesparse.convert.sources import Source
from edgesparse.errors import UsageError
from edgesparse.files import mapped
from edgesparse.recipe import dumps

INPUTS = "golden/inputs.npz"

# How the rows of the conversion itself are called: the file under the reference kernels against the Keras model.
KERAS = "tf-keras"


@dataclass(frozen=True)
class Contents:
    """What a variant's files hold: their sizes and hashes, each layer, and the density of all weights."""

    file: File
    twin: File | None
    layers: list[Layer]
    density: float


@dataclass
class Exported:
    """One variant's files, relative to the bundle, and what was learnt while making them."""

    source: Source
    file: str
    twin: str | None
    golden: str
    recipe: str | None
    keras_outputs: Any | None
    layer_names: dict[int, str]
    precision: str
    parity: list[HostParity] = field(default_factory=list)
    contents: Contents | None = None

    @property
    def reference(self) -> str:
        """The file whose outputs are golden: the twin, or a dense variant itself."""
        return self.twin or self.file

    def checks(self) -> list[Check]:
        """What the parity gate has to hold against this variant's golden outputs."""
        files = dict.fromkeys([self.file] if self.twin is None else [self.file, self.twin])
        return [Check(self.source.name, file, self.golden) for file in files]


def build(
    directory: Path,
    sources: list[Source],
    data: Any,
    *,
    name: str,
    key: str,
    toolchain: Mapping[str, str],
    keep_going: bool,
    say: Callable[[str], None],
) -> None:
    """Write all files of a bundle into an empty directory, the manifest last.

    Raises:
        ModelError: a model that cannot be converted. ParityError: see `refuse_failed`.
    """
    for folder in ("golden", "recipes"):
        (directory / folder).mkdir()
    samples: list[Any] = []
    variants = []
    if sources[0].recipe is not None and sources[0].quantised_by is not None:
        # There is no dense model: the first pruned one in float is what the others are compared with.
        sources = [Source(DENSE, sources[0].origin, None, {}, _model=sources[0].model), *sources]
    for source in sources:
        say(f"converting {source.name}")
        exporter = _exporter(source, data, say)
        file, twin = _export(directory, source, exporter)
        if not samples:
            samples = golden.sample_inputs(
                read_model(directory / (twin or file)), None if data is None else data.x_test
            )
            np.savez(directory / INPUTS, **_numbered(samples))
        variants.append(_variant(directory, source, exporter, file, twin, samples))
    if variants[0].source.name != DENSE:
        variants.insert(0, _baseline_from(directory, variants[0]))

    checks = [check for variant in variants for check in variant.checks()]
    rows = [_against_keras(directory, variant, toolchain) for variant in variants if variant.keras_outputs is not None]
    rows += check_all(directory, INPUTS, checks, say)
    if not keep_going:
        refuse_failed(rows, checks)
    complete(directory, variants, rows, data, name=name, key=key, toolchain=toolchain, say=say)


def complete(
    directory: Path,
    variants: list[Exported],
    rows: list[HostParity],
    data: Any,
    *,
    name: str,
    key: str,
    toolchain: Mapping[str, str],
    say: Callable[[str], None],
) -> Manifest:
    """Measure the accuracy of a bundle's files, where there is data, and write the manifest: its last file.

    Args:
        directory: holds everything else.
        variants: dense first.
        rows: what the parity gate found.
        data: held-out, or None.
        name, key, toolchain: of the manifest.
        say: told what is being done.
    """
    for variant in variants:
        variant.parity = [row for row in rows if row.file in (variant.file, variant.twin)]

    described = []
    for variant in variants:
        if data is not None:
            say(f"measuring the accuracy of {variant.source.name} on {len(data.x_test)} samples")
        described.append(_describe(directory, variant, data))
    manifest = Manifest(
        version=VERSION,
        name=name,
        edgesparse=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        key=key,
        toolchain=dict(toolchain),
        inputs=describe(directory, INPUTS),
        variants=described,
    )
    write_manifest(directory, manifest)
    return manifest


def _exporter(source: Source, data: Any, say: Callable[[str], None]) -> Exporter:
    if source.quantised_by is None:
        return Exporter(source.model)
    quantize, samples, model = source.quantised_by.quantize, None, source.model
    trains = quantize.aware and source.recipe is None
    if data is None and (trains or (quantize.kind == "int8" and not quantize.aware)):
        what = "train on" if trains else "take the ranges of activations from"
        raise UsageError(
            f"Variant {source.name} becomes int8, which needs samples to {what}, and there is no data.",
            hint="Give it with --data.",
        )
    if trains:
        say(f"training {source.name} aware of quantisation, {quantize.epochs} epochs")
    if quantize.aware:
        model = source.aware(data)
    elif quantize.kind == "int8":
        samples = data.x_train[np.linspace(0, len(data.x_train) - 1, quantize.samples).round().astype(int)]
    pruned = [name for name, wish in source.wishes.items() if wish.pattern != DENSE]
    return QuantisedExporter(model, quantize, samples, pruned)


def _export(directory: Path, source: Source, exporter: Exporter) -> tuple[str, str | None]:
    """The variant's file and its twin. Int8 weights are stored dense, so that they are their own."""
    dense = exporter.dense()
    if source.recipe is None or source.quantised_by is not None:
        (directory / f"{source.name}.tflite").write_bytes(dense)
        return f"{source.name}.tflite", None if source.recipe is None else f"{source.name}.tflite"
    file, twin = f"{source.name}.tflite", f"{source.name}.dense.tflite"
    (directory / twin).write_bytes(dense)
    (directory / file).write_bytes(exporter.sparse(dense))
    return file, twin


def _variant(
    directory: Path, source: Source, exporter: Exporter, file: str, twin: str | None, samples: list[Any]
) -> Exported:
    path, recipe = f"golden/{source.name}.npz", None
    backend = golden.REFERENCE_BACKEND if source.quantised_by is None else golden.QUANTISED_BACKEND
    np.savez(directory / path, **_numbered(golden.golden_outputs(directory / (twin or file), samples, backend)))
    if source.recipe is not None:
        recipe = f"recipes/{source.name}.toml"
        (directory / recipe).write_text(dumps(source.recipe))
    names = exporter.layer_names(read_model(directory / (twin or file)))
    # Rounding to int8 moves outputs by as much as the model's ranges make it: the accuracy says what that costs.
    keras_outputs = exporter.outputs(samples[0]) if source.quantised_by is None else None
    return Exported(source, file, twin, path, recipe, keras_outputs, names, source.precision)


def _baseline_from(directory: Path, variant: Exported) -> Exported:
    """Without a dense model, the first pruned one stored dense is what the others are compared with."""
    assert variant.twin is not None
    file, path = f"{DENSE}.tflite", f"golden/{DENSE}.npz"
    shutil.copyfile(directory / variant.twin, directory / file)
    shutil.copyfile(directory / variant.golden, directory / path)
    source = Source(DENSE, variant.source.origin, None, {})
    return Exported(source, file, None, path, None, variant.keras_outputs, variant.layer_names, source.precision)


def _against_keras(directory: Path, variant: Exported, toolchain: Mapping[str, str]) -> HostParity:
    """The conversion itself: the golden outputs against what the Keras model gives for the same inputs."""
    with np.load(directory / variant.golden, allow_pickle=False) as archive:
        outputs = [archive[str(number)] for number in range(len(archive.files))]
    verdict = compare(outputs, [variant.keras_outputs])
    return HostParity(
        file=variant.reference, runtime=KERAS, version=toolchain[KERAS], backend=golden.REFERENCE_BACKEND, **verdict
    )


def read_contents(directory: Path, variant: Exported) -> Contents:
    """Look into a variant's files."""
    path = directory / variant.file
    with mapped(path) as content:
        main, *others = unpack(str(path), content)[1]
        with kept_out_of_memory(str(path), find_kernels()):
            layers = describe_layers(main, variant.layer_names, variant.source.wishes, others)
            density = overall_density([main, *others])
    return Contents(
        file=describe(directory, variant.file),
        twin=None if variant.twin is None else describe(directory, variant.twin),
        layers=layers,
        density=density,
    )


def _describe(directory: Path, variant: Exported, data: Any) -> Variant:
    recipe, contents = variant.source.recipe, variant.contents or read_contents(directory, variant)
    measured = None if data is None else golden.accuracy(directory / variant.file, data.x_test, data.y_test)
    return Variant(
        name=variant.source.name,
        file=contents.file,
        twin=contents.twin,
        golden=describe(directory, variant.golden),
        recipe=None if variant.recipe is None else describe(directory, variant.recipe),
        pattern=DENSE if recipe is None else recipe.pattern,
        sparsity=None if recipe is None else recipe.sparsity,
        density=contents.density,
        accuracy=measured,
        accuracy_samples=0 if measured is None else len(data.x_test),
        layers=contents.layers,
        host_parity=variant.parity,
        precision=variant.precision,
        trained=variant.source.trained,
    )


def _numbered(arrays: list[Any]) -> dict[str, Any]:
    return {str(number): array for number, array in enumerate(arrays)}
