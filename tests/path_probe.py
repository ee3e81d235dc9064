"""Which path a runtime takes for each graph of a folder: run as a script, also under an emulator.

    python path_probe.py RUNTIME FOLDER NAME...

Prints JSON {name: {backend: "sparse" | "dense" | "wrong" | "fails"}}. The same weights as a sparse and as a dense file,
same inputs: outputs equal in every bit mean that the same dense kernels ran; outputs a rounding apart, that others did.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROUNDING = 1e-4


def probe(module: Any, folder: Path, name: str, backend: str) -> str:
    """The path that one backend takes for one graph."""
    try:
        dense = _outputs(module, folder / f"{name}.dense.tflite", backend)
        sparse = _outputs(module, folder / f"{name}.tflite", backend)
    except (RuntimeError, ValueError):
        return "fails"
    if [each.shape for each in dense] != [each.shape for each in sparse]:
        return "wrong"
    if all(np.array_equal(a, b) for a, b in zip(dense, sparse, strict=True)):
        return "dense"
    apart = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(dense, sparse, strict=True))
    return "sparse" if apart < ROUNDING else "wrong"


def _outputs(module: Any, file: Path, backend: str) -> list[Any]:
    options = {}
    if backend == "builtin":
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = module.Interpreter(model_path=str(file), num_threads=1, **options)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    generator = np.random.default_rng(1)
    found = []
    for _ in range(3):
        interpreter.set_tensor(entry["index"], generator.normal(size=entry["shape"]).astype(np.float32))
        interpreter.invoke()
        found += [interpreter.get_tensor(each["index"]).copy() for each in interpreter.get_output_details()]
    return found


if __name__ == "__main__":
    runtime, folder, *names = sys.argv[1:]
    module = importlib.import_module(f"{runtime.replace('-', '_')}.interpreter")
    print(json.dumps({n: {b: probe(module, Path(folder), n, b) for b in ("builtin", "xnnpack")} for n in names}))
