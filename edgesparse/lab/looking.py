"""What one kernel of a bundle's file looks like: its bytes in every form, its regularity, a corner of its mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgesparse.convert.bundle import Bundle, Layer, Variant
from edgesparse.convert.flatbuffer import read_model
from edgesparse.convert.layers import kernel_operators, layer_name
from edgesparse.errors import BundleError, EdgesparseError
from edgesparse.lab.result import Form, Measured, PatternResult
from edgesparse.patterns import NM, Array, Block, Filter, density, parse_pattern
from edgesparse.regularity import regularity, skippable
from edgesparse.report.masks import corner_of
from edgesparse.storage_forms import VALUES, Stored, bsr, csr, decode, filters, n_of_m, plain

BLOCKS = ((2, 2), (4, 1), (16, 1))
# Outputs that one vector instruction computes at once: 4 floats on NEON, 8 on AVX2, 16 on AVX-512.
VECTORS = (4, 8, 16)
DENSE = "dense"


def look(
    bundle: Bundle,
    variant: Variant,
    layer: str,
    n_m: NM,
    accuracy_pruned: float | None,
    backends: Sequence[Measured],
) -> PatternResult:
    """Everything about one variant of the bundle.

    Args:
        bundle, variant: the file whose kernel is looked at, as it is deployed.
        layer: the kernel's layer.
        n_m: the N:M form that is tried beside the others.
        accuracy_pruned: before fine-tuning; None for dense.
        backends: what was measured of it.

    Raises:
        BundleError: the file has no such layer, or the variant has no accuracy.
    """
    kernel, described = _kernel(bundle, variant, layer)
    if variant.accuracy is None:
        raise BundleError(f"Variant {variant.name} has no accuracy.", hint="Convert it again, with data.")
    own, forms = own_form(variant.pattern), store(kernel, n_m)
    stored = forms[own]
    if stored is None:
        raise BundleError(f"The zeros of {variant.name} are not {variant.pattern}.", hint="Prune it again.")
    return PatternResult(
        name=variant.name,
        pattern=variant.pattern,
        shape=kernel.shape,
        zeros=1 - density(kernel),
        regularity=None if variant.pattern == DENSE else regularity(kernel),
        skippable={f"{size}x1": skippable(kernel, size, 1) for size in VECTORS},
        own_form=own,
        forms=[form_of(name, each, kernel) for name, each in forms.items()],
        index_bits=8 * (stored.total_bytes - stored.bytes[VALUES]) / max(stored.arrays[VALUES].size, 1),
        file_bytes=variant.file.bytes,
        layer_file_bytes=described.bytes,
        encoding=described.encoding,
        accuracy_pruned=accuracy_pruned,
        accuracy=variant.accuracy,
        accuracy_interval=interval_of(variant.accuracy, variant.accuracy_samples),
        corner=corner_of(kernel),
        backends=list(backends),
    )


def own_form(pattern: str) -> str:
    """The form of storage that is made for a pattern."""
    if pattern == DENSE:
        return "plain"
    match parse_pattern(pattern):
        case Block(rows=rows, cols=cols):
            return f"BSR {rows}x{cols}"
        case NM(n=n, m=m):
            return f"{n}:{m}"
        case Filter():
            return "filters"
        case _:
            return "CSR"


def store(kernel: Array, n_m: NM) -> dict[str, Stored | None]:
    """The kernel in every form, by name; None where a form cannot hold it. Each is decoded and compared.

    Raises:
        EdgesparseError: a form does not give the kernel back.
    """
    forms: dict[str, Stored | None] = {"plain": plain(kernel), "CSR": csr(kernel)}
    forms |= {f"BSR {rows}x{cols}": bsr(kernel, rows, cols) for rows, cols in BLOCKS}
    forms |= {str(n_m): n_of_m(kernel, n_m.n, n_m.m), "filters": filters(kernel)}
    for name, stored in forms.items():
        if stored is not None and not np.array_equal(decode(stored), kernel):
            raise EdgesparseError(
                f"Stored as {name}, the kernel does not come back as it was.",
                hint="This is a defect of edgesparse; please report it.",
            )
    return forms


def form_of(name: str, stored: Stored | None, kernel: Array) -> Form:
    """What the kernel takes in a form."""
    if stored is None:
        return Form(form=name, bytes=None, total_bytes=None, wide_bytes=None, ratio=None)
    total = stored.total_bytes
    ratio = kernel.nbytes / total if total else None
    return Form(form=name, bytes=stored.bytes, total_bytes=total, wide_bytes=stored.wide_bytes, ratio=ratio)


def _kernel(bundle: Bundle, variant: Variant, layer: str) -> tuple[Array, Layer]:
    """The layer's kernel, expanded, and what the manifest says of it."""
    found = read_model(bundle.file(variant.file))
    for op, described in zip(kernel_operators(found), variant.layers, strict=False):  # weights of others come last
        if layer_name(found, op) == layer:
            return found.weights(op.inputs[1]), described
    raise BundleError(f"{variant.file.path} has no layer {layer}.", hint="Convert it again.")


def interval_of(accuracy: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share that was counted; Wilson, 1927."""
    from scipy.stats import binomtest

    found = binomtest(round(accuracy * samples), samples).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
