"""A bundle of benchmark models, so that they reach a board as any other model does: deployed, gated by parity."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edgesparse import __version__
from edgesparse.convert import golden
from edgesparse.convert.bundle import DENSE, VERSION, Bundle, Manifest, Variant, describe, read_bundle, write_manifest
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import describe_layers, overall_density
from edgesparse.networks import Spec, Zeros, parse_network, parse_variant
from kernels.bench.files import find_model, say

# Every inference is slow in an emulator, and two different inputs tell as much as more of them.
INPUTS = 2


def make_bundle(
    directory: Path, network: str, variants: Sequence[str], seed: int = 0, weights: str = "float32"
) -> Bundle:
    """Write the dense network and its variants into an empty directory.

    Args:
        network: mobilenetv2-224, …
        variants: unstructured-80, block-16x1-80, …; dense is always among them.
        seed: of the weights.
        weights: their type; with int8 the activations are int8 too.

    Raises:
        UsageError: no such network or variant. ModelError: it cannot be built.
    """
    zeros = {DENSE: Zeros(), **{str(each): each for each in map(parse_variant, variants)}}
    specs = {name: Spec(parse_network(network), each, seed, weights) for name, each in zeros.items()}
    samples: list[golden.Array] = []
    described = []
    for name, spec in specs.items():
        files = find_model(spec, None)
        shutil.copyfile(files.smallest, directory / f"{name}.tflite")
        if files.sparse is not None:
            shutil.copyfile(files.zeros, directory / f"{name}.dense.tflite")
        samples = samples or [array[:INPUTS] for array in golden.sample_inputs(read_model(files.zeros), None)]
        say(f"golden outputs of {spec}")
        _save(directory / f"{name}.npz", golden.golden_outputs(files.zeros, samples))
        described.append(_described(directory, name, spec, has_twin=files.sparse is not None))
    _save(directory / "inputs.npz", samples)
    manifest = Manifest(
        version=VERSION,
        name=network,
        edgesparse=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        key=" ".join(map(str, specs.values())),
        toolchain={},
        inputs=describe(directory, "inputs.npz"),
        variants=described,
    )
    write_manifest(directory, manifest)
    return read_bundle(directory)


def _described(directory: Path, name: str, spec: Spec, *, has_twin: bool) -> Variant:
    model = read_model(directory / f"{name}.tflite")
    return Variant(
        name=name,
        file=describe(directory, f"{name}.tflite"),
        twin=describe(directory, f"{name}.dense.tflite") if has_twin else None,
        golden=describe(directory, f"{name}.npz"),
        recipe=None,
        pattern=str(spec.zeros.pattern or DENSE),
        sparsity=spec.zeros.sparsity,
        density=overall_density([model]),
        accuracy=None,
        accuracy_samples=0,
        layers=describe_layers(model, {}, {}),
        host_parity=[],
    )


def _save(path: Path, arrays: Sequence[golden.Array]) -> None:
    np.savez(path, **{str(number): array for number, array in enumerate(arrays)})
