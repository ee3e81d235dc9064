"""Prints what was measured, a line per model, and a table of speed-ups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def line(row: Row) -> str:
    """One model in one line: the baseline's milliseconds, then each cell's speed-up, or what is wrong with it."""
    cells = dict(row["cells"])
    baseline = cells.pop(row["baseline"], None)
    parts = [f"{row['model']:<38}", _baseline(row["baseline"], baseline)]
    parts += [f"{name} {_cell(cell)}" for name, cell in cells.items()]
    return "  ".join(parts)


def row_lines(row: Row) -> list[str]:
    """A row of any mode."""
    if row.get("mode") == "memory":
        return launches(row["model"], row["cells"])
    own = [
        f"  {name}: {cell['scaling']:.2f}x of its one thread"
        for name, cell in row["cells"].items()
        if "scaling" in cell
    ]
    return [line(row), *own]


def speedups(rows: Iterable[Row], cell: str) -> list[str]:
    """Networks down, patterns across: how many times as fast as the baseline one cell is."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        network, _, zeros = row["model"].partition(".")
        value = row["cells"].get(cell, {})
        found.setdefault(network, {})[zeros] = _short(value)
    columns = list(dict.fromkeys(zeros for by_zeros in found.values() for zeros in by_zeros))
    width = max(16, *(len(zeros) for zeros in columns)) + 1 if columns else 17
    header = f"{cell:<24}" + "".join(f"{zeros:>{width}}" for zeros in columns)
    return [header] + [
        f"{network:<24}" + "".join(f"{by_zeros.get(zeros, '-'):>{width}}" for zeros in columns)
        for network, by_zeros in found.items()
    ]


def launches(model: str, found: dict[str, Row]) -> list[str]:
    """Memory and loading, a line per cell."""
    lines = [f"{model:<38}  {'peak MB':>9}  {'of model':>9}  {'load ms':>8}  {'first ms':>8}  {'packing ms':>10}"]
    for name, row in found.items():
        keys = ("peak_mb", "model_peak_mb", "load_ms", "first_ms", "packing_ms")
        texts = ["-" if row.get(key) is None else f"{row[key]:.1f}" for key in keys]
        widths = (9, 9, 8, 8, 10)
        values = "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        lines.append(f"  {name:<36}  {row.get('reason', values)}")
    return lines


def kernels(rows: Iterable[Row]) -> list[str]:
    """The microbenchmark: what a kernel does per second, and what a dense one would have to."""
    lines = [f"{'kernel':<44}{'shape':<26}{'density':>8}{'GFLOP/s':>10}{'of peak':>9}{'dense-eq.':>11}"]
    for row in rows:
        share = f"{row['real_gflops'] / row['peak_gflops']:.0%}" if row.get("peak_gflops") else "-"
        lines.append(
            f"{row['kernel']:<44}{_shape(row['shape']):<26}{row['density']:>8.2f}{row['real_gflops']:>10.1f}"
            f"{share:>9}{row['dense_equivalent_gflops']:>11.1f}"
        )
    return lines


def _short(cell: Row) -> str:
    return f"{cell['speedup']:.2f}x" if "speedup" in cell else str(cell.get("status", "-")).replace("ok", "-")


def _shape(shape: Any) -> str:
    if isinstance(shape, dict):
        return str(shape.get("name", shape))
    return "x".join(str(size) for size in shape) if isinstance(shape, list) else str(shape)


def _baseline(name: str, cell: Row | None) -> str:
    if cell is None or cell["status"] != "ok":
        return f"{name} {_bad(cell or {})}"
    return f"{name} {cell['median_ms']:.3f} ms"


def _cell(cell: Row) -> str:
    if cell["status"] != "ok":
        return _bad(cell)
    text = f"{cell['median_ms']:.3f} ms"
    if "speedup" in cell:
        best = f"best {cell['fastest_speedup']:.2f}x {cell['fastest_ms']:.2f} ms"
        text = f"{cell['speedup']:.2f}x{_interval(cell)} {text}, {best}"
    return f"{text}{_delegate(cell)}"


def _interval(cell: Row) -> str:
    interval = cell.get("speedup_interval")
    return "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"


def _delegate(cell: Row) -> str:
    found = cell.get("delegate")
    if not found:
        return ""
    parts = [f"{found['claimed']}/{found['considered']} ops"]
    if found.get("predicted_saving_ms") is not None and found.get("measured_saving_ms") is not None:
        parts.append(f"saves {found['measured_saving_ms']:.2f}, foretold {found['predicted_saving_ms']:.2f} ms")
    if found.get("packing_ms") is not None:
        parts.append(f"packs {found['packing_ms']:.1f} ms")
    return f" ({', '.join(parts)})"


def _bad(cell: Row) -> str:
    return {"parity": f"PARITY {cell.get('max_relative_error', 0):.1e}", "refused": f"REFUSED: {cell.get('reason')}",
            "crashed": f"CRASHED: {cell.get('reason')}"}.get(cell.get("status", ""), "-")  # fmt: skip
