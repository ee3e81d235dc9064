"""What the board measured of a variant, and why it is faster or is not: from the path that it took there, from what the
kernels said of each operator, and from the rules of `explain`."""

from __future__ import annotations

from collections import Counter

from edgesparse.boards.types import BoardType
from edgesparse.convert.bundle import Bundle, Variant
from edgesparse.explain import Explanation, explain
from edgesparse.lab.result import Measured
from edgesparse.report import export
from edgesparse.report.summary import Comparison, Row

DENSE = "dense"


def measured_rows(bundle: Bundle, variant: Variant, board: BoardType, comparison: Comparison) -> list[Measured]:
    """Every row of a variant in a run, each with its reason."""
    rows = next((each.backends for each in comparison.variants if each.name == variant.name), [])
    pruned = variant.pattern != DENSE
    backends = list(dict.fromkeys(row.backend for row in rows))
    explained = explain(bundle.file(variant.file), board, backends=backends) if pruned and rows else None
    return [_measured(comparison, row, _why(row, explained) if pruned else "") for row in rows]


def _measured(comparison: Comparison, row: Row, why: str) -> Measured:
    ratio = row.ratio_to_dense
    return Measured(
        backend=row.backend,
        threads=row.threads,
        status=row.status,
        shown=export.values(comparison, row)[0],
        median_ms=row.median_ms,
        interval_ms=row.interval_ms,
        ratio=ratio.value if ratio else None,
        ratio_interval=ratio.interval if ratio else None,
        verdict=ratio.verdict if ratio else "",
        path=export.path(row),
        parity=export.parity(row),
        why=why,
    )


def _why(row: Row, explained: Explanation | None) -> str:
    if row.kind is not None:
        return f"{row.kind}: {row.reason}"
    if row.path["taken"] == "sparse":
        return _ran_sparse(row)
    forecast = "" if explained is None else _forecast(explained, row.backend)
    return f"ran dense: {forecast or row.path['evidence'] or 'the board did not say why'}"


def _ran_sparse(row: Row) -> str:
    """How many operators skip zeros, how many do not and why; what the kernels expect of the zeros that they skip."""
    text = f"zeros are skipped in {row.path['evidence']}"
    nodes = [] if row.delegate is None else row.delegate["nodes"]
    sparse = [node for node in nodes if node["claimed"] and node["sparse_us"] and node["dense_us"]]
    if sparse:
        expected = sum(node["dense_us"] for node in sparse) / sum(node["sparse_us"] for node in sparse)
        text += f", which together are expected to run {expected:.2f} times as fast as dense"
    left = Counter(node["reason"] for node in nodes if not node["claimed"] and 0 < (node["density"] or 1) < 1)
    if left:
        reason, count = left.most_common(1)[0]
        text += f"; {count} with zeros {'is' if count == 1 else 'are'} left to XNNPACK ({reason})"
    return text


def _forecast(explained: Explanation, backend: str) -> str:
    """Why most of the work that has zeros is foretold to run dense; "" where it is foretold to run sparse."""
    reasons: Counter[str] = Counter()
    for each in explained.operators:
        if each.weights and each.zeros > 0.1 and backend in each.paths and each.paths[backend].path == DENSE:
            reasons[each.paths[backend].reason] += each.macs
    return reasons.most_common(1)[0][0] if reasons else ""
