"""A comparison for machines and for pull requests: JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from edgesparse.report.summary import Comparison, Row, VariantSummary
from edgesparse.report.tables import kilobytes, percent

COLUMNS = (
    "run", "board", "variant", "pattern", "density", "bytes", "accuracy", "backend", "threads", "status", "reason", "launches",
    "count", "median_ms", "low_ms", "high_ms", "p90_ms", "p99_ms", "ratio_to_dense", "ratio_low", "ratio_high", "verdict",
    "path_requested", "path_taken", "parity_ok", "max_abs_error", "init_ms", "first_inference_ms",
)  # fmt: skip


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON types; the structs of `summary` are its schema."""
    return dict(msgspec.to_builtins(comparison))


def to_csv(comparison: Comparison) -> str:
    """One line per variant, backend and thread count, after a line of names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for variant in comparison.variants:
        for row in variant.backends:
            low, high = row.interval_ms or (None, None)
            ratio = row.ratio_to_dense
            ratio_low, ratio_high = (ratio.interval or (None, None)) if ratio else (None, None)
            values = (
                comparison.run, comparison.board["name"], variant.name, variant.pattern, variant.density, variant.bytes,
                variant.accuracy, row.backend, row.threads, row.status, row.reason, row.launches, row.count, row.median_ms,
                low, high, row.p90_ms, row.p99_ms, ratio.value if ratio else None, ratio_low, ratio_high,
                ratio.verdict if ratio else None, row.path["requested"], row.path["taken"],
                row.parity["ok"] if row.parity else None, row.parity["max_abs_error"] if row.parity else None,
                row.init_ms, row.first_inference_ms,
            )  # fmt: skip
            writer.writerow(dict(zip(COLUMNS, values, strict=True)))
    return out.getvalue()


def to_markdown(comparison: Comparison) -> str:
    """A GitHub table, with the conditions and warnings below it."""
    heads = ("variant", "backend", "threads", "size", "density", "accuracy", "median ms [95 %]", "p90", "p99", "x dense", "path",
             "parity")  # fmt: skip
    lines = [f"**{title(comparison)}**", "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for variant in comparison.variants:
        for row in variant.backends:
            cells = (
                variant.name, row.backend, str(row.threads), kilobytes(variant.bytes), percent(variant.density),
                percent(variant.accuracy), latency(row), milliseconds(row.p90_ms), milliseconds(row.p99_ms), ratio(row),
                path(row), parity(row),
            )  # fmt: skip
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *(f"- {text}" for text in [*notes(comparison, failures(comparison)), *comparison.warnings])]
    return "\n".join(lines) + "\n"


# -- the words that the terminal and Markdown share ------------------------------------------------------------------------


def title(comparison: Comparison) -> str:
    """What was compared where."""
    board = comparison.board
    return f"{comparison.bundle['name']} on {board['name']} ({board.get('cpu') or board['type']}), run {comparison.run}"


def milliseconds(value: float | None) -> str:
    """Three decimals up to 10 ms, then fewer."""
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def latency(row: Row) -> str:
    """Median and interval."""
    if row.median_ms is None:
        return "-"
    interval = f" [{milliseconds(row.interval_ms[0])}, {milliseconds(row.interval_ms[1])}]" if row.interval_ms else ""
    return milliseconds(row.median_ms) + interval


def ratio(row: Row) -> str:
    """How many times as fast as dense; ~ where no difference can be claimed."""
    found = row.ratio_to_dense
    if found is None or found.value is None:
        return "-"
    interval = f" [{found.interval[0]:.2f}, {found.interval[1]:.2f}]" if found.interval else ""
    mark = {"no difference": " ~", "too few launches": " ?"}.get(found.verdict, "")
    return f"{found.value:.2f}x{interval}{mark}"


def path(row: Row) -> str:
    """The path taken, and the one requested where it is another."""
    requested, taken = row.path["requested"], row.path["taken"]
    return taken if requested == taken else f"{requested} -> {taken}"


def parity(row: Row) -> str:
    """Whether the outputs were the golden ones."""
    return "-" if row.parity is None else "ok" if row.parity["ok"] else "failed"


def failures(comparison: Comparison) -> list[tuple[VariantSummary, Row]]:
    """The rows that failed."""
    return [(variant, row) for variant in comparison.variants for row in variant.backends if row.status != "ok"]


def notes(comparison: Comparison, failed: list[tuple[VariantSummary, Row]]) -> list[str]:
    """Failures, conditions and what the marks mean, a sentence each."""
    lines = [f"{variant.name} under {row.backend}, {row.threads} threads failed: {row.reason}." for variant, row in failed]
    runtime = next((row.runtime for variant in comparison.variants for row in variant.backends if row.runtime), None)
    if runtime:
        lines.append(f"Runtime {runtime['name']} {runtime['version']}; agent {comparison.agent.get('version', 'unknown')}.")
    for when, state in comparison.conditions.items():
        lines.append(f"{when.capitalize()}: {_conditions(state)}.")
    if comparison.stopped:
        lines.append(f"Stopped: {comparison.stopped['reason']}; {comparison.stopped['detail']}".rstrip("; ") + ".")
    verdicts = {row.ratio_to_dense.verdict for variant in comparison.variants for row in variant.backends if row.ratio_to_dense}
    if "no difference" in verdicts:
        lines.append("~ no difference to dense that these launches could show.")
    if "too few launches" in verdicts:
        lines.append("? fewer than 6 launches: no interval.")
    return lines


def _conditions(state: dict[str, Any]) -> str:
    temperatures = state.get("temperature_c") or {}
    hottest = max(temperatures, key=lambda zone: float(temperatures[zone]), default=None)
    parts = [
        f"load {state['load_1m']:.2f}",
        f"{state['other_cpu_percent']:.0f} % CPU by others",
        f"{state['memory_available_bytes'] / 1e9:.1f} GB free",
        f"governor {state['governor']}" if state.get("governor") else "governor unknown",
        f"{max(state['frequency_mhz']):.0f} MHz" if state.get("frequency_mhz") else "",
        f"{temperatures[hottest]:.0f} °C ({hottest})" if hottest else "no temperature sensor",
    ]
    return ", ".join(part for part in parts if part)
