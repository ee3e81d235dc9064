"""What the csr backend's kernels did with every operator of a run: the kernel chosen, or why it was left to XNNPACK."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgesparse.report.summary import Comparison, Row
from edgesparse.report.tables import kilobytes, new_table, percent


def render(comparison: Comparison) -> RenderableType:
    """A table for each variant that was checked under csr; other numbers of threads only where the kernels differ."""
    parts: list[RenderableType] = []
    seen: list[tuple[str, list[Any]]] = []
    for variant in comparison.variants:
        for row in variant.backends:
            if row.delegate is None:
                continue
            what = (variant.name, [(node["claimed"], node["kernel"]) for node in row.delegate["nodes"]])
            if what not in seen:
                seen.append(what)
                parts += [Text(), _table(variant.name, row, row.delegate), _packed(row.delegate)]
    if not parts:
        return Text("No operators are listed: nothing was checked under csr in this run.", "dim")
    return Group(*parts)


def _table(variant: str, row: Row, report: dict[str, Any]) -> Table:
    numbers = ["#", "non-zeros", "sparse us", "dense us"]
    title = f"{variant} under csr ({report['isa']}, {row.threads} thread{'s' * (row.threads > 1)})"
    columns = ("#", "operator", "output", "non-zeros", "kernel", "sparse us", "dense us", "why")
    table = new_table(title, *columns, right=numbers)
    for node in report["nodes"]:
        plain = (
            str(node["node"]), node["op"], _short(node["output"] or ""), percent(node["density"]),
            node["kernel"] if node["claimed"] else "left to XNNPACK",
            _microseconds(node["sparse_us"]), _microseconds(node["dense_us"]), node["reason"],
        )  # fmt: skip
        table.add_row(*map(Text, plain), style=None if node["claimed"] else "dim")
    return table


def _packed(report: dict[str, Any]) -> Text:
    claimed = sum(bool(node["claimed"]) for node in report["nodes"])
    said = f"{claimed} of {len(report['nodes'])} operators"
    if claimed:
        said += f", {kilobytes(report['packed_bytes'])} of weights packed in {report['packing_ms']:.1f} ms"
    return Text(f"  {said}; times are predicted by the kernels' cost model", "dim")


def _short(name: str) -> str:
    """A converter's tensor name lists every layer that was fused into it, the last one first."""
    first = name.split(";")[0]
    return "/".join(first.split("/")[-2:])


def _microseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
