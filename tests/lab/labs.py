"""A lab whose kernels are drawn and whose measurements are given, so that a test needs neither training nor a board."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgesparse.lab import make_recipes
from edgesparse.lab.looking import form_of, interval_of, own_form, store
from edgesparse.lab.result import Lab, Measured, PatternResult
from edgesparse.patterns import NM, Array, density, mask, parse_pattern
from edgesparse.regularity import regularity, skippable
from edgesparse.report.masks import corner_of
from edgesparse.storage_forms import VALUES

SAMPLES = 450
RATIOS = {"faster": (1.5, (1.4, 1.6)), "slower": (0.8, (0.7, 0.9)), "no difference": (1.01, (0.9, 1.1))}


def kernel(pattern: str, sparsity: float | None = 0.5) -> Array:
    """Drawn weights under a mask of the pattern; all of them for "dense"."""
    drawn = np.random.default_rng(0).normal(size=(64, 1, 1, 64)).astype(np.float32)
    kept = True if pattern == "dense" else mask(drawn, parse_pattern(pattern), sparsity)
    return np.where(kept, drawn, np.float32(0))


def row(backend: str, verdict: str, why: str = "because") -> Measured:
    """One measurement with a verdict."""
    ratio, interval = RATIOS.get(verdict, (None, None))
    median_ms = 0.2 / (ratio or 1)
    return Measured(
        backend=backend, threads=1, status="ok", shown=f"{median_ms:.3f} [0.100, 0.300]", median_ms=median_ms,
        interval_ms=(0.1, 0.3), ratio=ratio, ratio_interval=interval, verdict=verdict, path="sparse",
        parity="ok", why=why,
    )  # fmt: skip


def result(
    pattern: str,
    *,
    accuracy_pruned: float = 0.5,
    accuracy: float = 0.99,
    verdict: str = "no difference",
    size: int = 1000,
) -> PatternResult:
    """One pattern's results under two backends; under xnnpack there is never a difference."""
    weights, own = kernel(pattern), own_form(pattern)
    forms = store(weights, NM(2, 4))
    stored = forms[own]
    assert stored is not None
    dense = pattern == "dense"
    return PatternResult(
        name=pattern.replace(" ", "-"),
        pattern=pattern,
        shape=weights.shape,
        zeros=1 - density(weights),
        regularity=None if dense else regularity(weights),
        skippable={f"{count}x1": skippable(weights, count, 1) for count in (4, 8, 16)},
        own_form=own,
        forms=[form_of(name, each, weights) for name, each in forms.items()],
        index_bits=8 * (stored.total_bytes - stored.bytes[VALUES]) / stored.arrays[VALUES].size,
        file_bytes=size,
        layer_file_bytes=size // 2,
        encoding="dense" if dense else "csr",
        accuracy_pruned=None if dense else accuracy_pruned,
        accuracy=accuracy,
        accuracy_interval=interval_of(accuracy, SAMPLES),
        corner=corner_of(weights),
        backends=[row("xnnpack", "" if dense else "no difference"), row("csr", "" if dense else verdict)],
    )


def make_lab(changes: dict[str, dict[str, Any]] | None = None, **fields: Any) -> Lab:
    """A lab; `changes` by pattern are given to `result`, `fields` replace those of the lab."""
    patterns = ["dense", *(recipe.pattern for recipe in make_recipes(0.5))]
    sizes = {"dense": {"size": 2000}}
    results = [result(name, **{**sizes.get(name, {}), **(changes or {}).get(name, {})}) for name in patterns]
    values: dict[str, Any] = {
        "created": "2026-11-23T15:00:00Z", "edgesparse": "0.1.0", "run": "r-1",
        "board": {"name": "local", "type": "local"}, "quantity": "latency", "runtime": "ai-edge-litert 2.3.0",
        "sparsity": 0.5, "epochs": 2,
        "pruned_layers": ["pointwise3"], "layer": "pointwise3", "shape": (64, 1, 1, 64), "samples": SAMPLES,
        "patterns": results, "conclusions": [], "warnings": [], "toolchain": {"tensorflow": "2.21.0"}, "seconds": 100.0,
    }  # fmt: skip
    return Lab(**{**values, **fields})
