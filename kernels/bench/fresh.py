"""What a model costs in a process of its own: peak memory, time to load, time to pack.

python -m kernels.bench.fresh JSON runs one model and prints one JSON document; `launch` does that several times.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgesparse.agent import backends
from edgesparse.errors import EdgesparseError
from kernels.bench.cells import Recipe, TfliteCell

ROOT = Path(__file__).resolve().parents[2]
INVOKES = 5
DEADLINE_S = 300.0
_TALLIED = ("peak_mb", "model_peak_mb", "load_ms", "first_ms", "packing_ms")


def compare_launches(recipes: Mapping[str, Recipe], launches: int = 3) -> dict[str, dict[str, Any]]:
    """Medians over fresh processes, in turns.

    Returns:
        By name: `peak_mb` of the process, `model_peak_mb` over what the runtime itself takes, `load_ms` until tensors
        are allocated, `first_ms` of the first inference, `packing_ms` as the delegate says; or `reason` where it
        failed.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in recipes}
    failed: dict[str, str] = {}
    for _ in range(launches):
        for name, recipe in recipes.items():
            if name in failed:
                continue
            done = launch(recipe)
            if "reason" in done:
                failed[name] = done["reason"]
            else:
                found[name].append(done)
    return {name: {"reason": failed[name]} if name in failed else _medians(found[name]) for name in recipes}


def launch(recipe: Recipe) -> dict[str, Any]:
    """One fresh process; `{"reason": …}` where it crashed, hung or was refused."""
    command = [sys.executable, "-m", "kernels.bench.fresh", _to_json(recipe)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": f"no answer within {DEADLINE_S:g} s"}
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [""]
        return {"reason": f"exit code {done.returncode}: {said[-1]}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argument: str) -> None:
    """The fresh process itself."""
    recipe = _from_json(argument)
    backends.load_runtime(recipe.runtime)
    _forget_peak()
    before_mb = peak_mb()
    try:
        cell = TfliteCell(recipe)
    except EdgesparseError as error:
        sys.exit(str(error))
    sample = np.random.default_rng(0).standard_normal(cell.input_shape, np.float32)
    started = time.perf_counter()
    cell.run(sample)
    first_ms = (time.perf_counter() - started) * 1e3
    for _ in range(INVOKES):
        cell.invoke()
    peak = peak_mb()
    packing_ms = (cell.report or {}).get("packing_ms")
    document = {"peak_mb": peak, "model_peak_mb": peak - before_mb, "load_ms": cell.load_ms, "first_ms": first_ms,
                "packing_ms": packing_ms}  # fmt: skip
    print(json.dumps(document))


def peak_mb() -> float:
    """The process's peak resident memory, in units of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM")


def _forget_peak() -> None:
    """Let the peak start again from here: what imports took for a moment is no cost of the model."""
    Path("/proc/self/clear_refs").write_text("5")


def _medians(launches: list[dict[str, Any]]) -> dict[str, Any]:
    values = {key: [each[key] for each in launches if each[key] is not None] for key in _TALLIED}
    return {"launches": len(launches), **{key: median(each) if each else None for key, each in values.items()}}


def _to_json(recipe: Recipe) -> str:
    fields = {"file": str(recipe.file), "backend": recipe.backend, "threads": recipe.threads,
              "delegate": str(recipe.delegate) if recipe.delegate else None,
              "options": dict(recipe.options or {}), "runtime": recipe.runtime}  # fmt: skip
    return json.dumps(fields)


def _from_json(text: str) -> Recipe:
    fields = json.loads(text)
    delegate = fields.pop("delegate")
    return Recipe(**{**fields, "file": Path(fields["file"]), "delegate": Path(delegate) if delegate else None})


if __name__ == "__main__":
    main(sys.argv[1])
