"""A comparison for machines and for pull requests: JSON, CSV, Markdown."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from edgesparse import stats
from edgesparse.convert.bundle import DENSE, FLOAT
from edgesparse.errors import MeasurementError
from edgesparse.quantity import NO_LATENCY, Quantity, millions
from edgesparse.report.summary import Comparison, Row, VariantSummary
from edgesparse.report.tables import kilobytes, percent

# A variant that loses more of the dense model's accuracy is no candidate.
ACCURACY_POINTS = 1.5
# Above this share outliers are told of in words; in JSON they always are.
MANY_OUTLIERS = 0.02
ROWS_TOLD_APART = 3
# What is said of each row, by what the board's clock counts.
VALUE_HEADS: dict[Quantity, tuple[str, ...]] = {
    "latency": ("median ms [95 %]", "p90 ms", "p99 ms", "x dense [95 %]", "mJ [95 %]"),
    "instructions": ("instructions (millions)", "of dense"),
    "nothing": ("latency",),
}


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON types; the structs of `summary` are its schema."""
    return dict(msgspec.to_builtins(comparison))


def to_csv(comparison: Comparison) -> str:
    """One line per variant, backend and thread count, after a line of names; empty where there is no number."""
    lines = [_flat(comparison, variant, row) for variant in comparison.variants for row in variant.backends]
    out = io.StringIO()
    writer = csv.DictWriter(out, lines[0] if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _flat(comparison: Comparison, variant: VariantSummary, row: Row) -> dict[str, Any]:
    ratio, parity = row.ratio_to_dense, row.parity or {}
    low_ms, high_ms = row.interval_ms or (None, None)
    ratio_low, ratio_high = (ratio and ratio.interval) or (None, None)
    return {
        "run": comparison.run,
        "board": comparison.board["name"],
        "variant": variant.name,
        "precision": variant.precision,
        "pattern": variant.pattern,
        "sparsity": variant.sparsity,
        "density": variant.density,
        "bytes": variant.bytes,
        "dense_bytes": variant.dense_bytes,
        "accuracy": variant.accuracy,
        "backend": row.backend,
        "threads": row.threads,
        "status": row.status,
        "kind": row.kind,
        "reason": row.reason,
        "launches": row.launches,
        "count": row.count,
        "median_ms": row.median_ms,
        "low_ms": low_ms,
        "high_ms": high_ms,
        "p90_ms": row.p90_ms,
        "p99_ms": row.p99_ms,
        "ratio_to_dense": ratio.value if ratio else None,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
        "p_value": ratio.p_value if ratio else None,
        "p_adjusted": ratio.p_adjusted if ratio else None,
        "verdict": ratio.verdict if ratio else None,
        "path_requested": row.path["requested"],
        "path_taken": row.path["taken"],
        "parity_ok": parity.get("ok"),
        "max_abs_error": parity.get("max_abs_error"),
        "init_ms": row.init_ms,
        "first_inference_ms": row.first_inference_ms,
        "emulated": bool(comparison.board.get("emulated")),
        "measured": comparison.measured,
        "energy_status": row.energy.status,
        "energy_mj": row.energy.mj,
        "energy_low_mj": row.energy.interval_mj[0] if row.energy.interval_mj else None,
        "energy_high_mj": row.energy.interval_mj[1] if row.energy.interval_mj else None,
        "energy_scope": row.energy.scope or None,
        "energy_simulated": row.energy.simulated,
        "instructions": row.instructions.per_inference if row.instructions else None,
        "instructions_of_dense": row.instructions.of_dense if row.instructions else None,
    }


def to_markdown(comparison: Comparison) -> str:
    """A GitHub table, with the conditions and warnings below it."""
    facts = ("variant", "type", "backend", "threads", "size", "density", "accuracy")
    heads = (*facts, *VALUE_HEADS[comparison.measured], "path", "parity")
    lines = [f"**{title(comparison)}**", "", _markdown_row(heads), "|" + " --- |" * len(heads)]
    for variant in comparison.variants:
        for row in variant.backends:
            cells = (
                variant.name, variant.precision, row.backend, str(row.threads), kilobytes(variant.bytes),
                percent(variant.density), percent(variant.accuracy), *values(comparison, row), path(row), parity(row),
            )  # fmt: skip
            lines.append(_markdown_row(cells))
    notes = [
        *([aa_verdict(comparison)] if comparison.aa else []),
        *failures(comparison),
        *sustained(comparison),
        *ranking(comparison),
        *footnotes(comparison),
        *(f"**Warning:** {text}" for text in comparison.warnings),
    ]
    return "\n".join([*lines, "", *(f"- {_escaped(note)}" for note in notes)]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """Nothing of it ends a cell, or is taken for strike-through."""
    return " ".join(text.split()).replace("|", "\\|").replace("~", "\\~")


# -- the words that the terminal and Markdown share --------------------------------------------------------------------


def title(comparison: Comparison) -> str:
    """What was compared where."""
    board = comparison.board
    emulated = "emulated " * bool(board.get("emulated"))
    what = f"{emulated}{board.get('cpu') or board['type']}"
    return f"{comparison.bundle['name']} on {board['name']}, {what}, run {comparison.run}"


def values(comparison: Comparison, row: Row) -> tuple[str, ...]:
    """What stands under VALUE_HEADS."""
    if comparison.measured == "latency":
        return latency(row), milliseconds(row.p90_ms), milliseconds(row.p99_ms), ratio(row), energy(row)
    return (instructions(row), of_dense(row)) if comparison.measured == "instructions" else (NO_LATENCY,)


def instructions(row: Row) -> str:
    """Millions of instructions for an inference; the launches' extremes where they differ in the digits shown."""
    found = row.instructions
    if found is None or found.per_inference is None:
        return "-"
    shown, lowest, highest = millions(found.per_inference), millions(found.lowest), millions(found.highest)
    return shown if lowest == highest else f"{shown} [{lowest}, {highest}]"


def of_dense(row: Row) -> str:
    """Instructions over those of dense."""
    found = row.instructions
    return "-" if found is None or found.of_dense is None else f"{found.of_dense:.3f}"


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


def energy(row: Row) -> str:
    """Millijoules above idle for an inference, or why there are none in two words."""
    found = row.energy
    if found.mj is None:
        return found.status if row.kind is None else "-"
    interval = f" [{found.interval_mj[0]:.3g}, {found.interval_mj[1]:.3g}]" if found.interval_mj else ""
    return f"{found.mj:.3g}{interval}{' simulated' * found.simulated}"


def energy_notes(comparison: Comparison) -> list[str]:
    """Where energy was read, against which baseline, and why it was not where it could have been."""
    found = [row.energy for variant in comparison.variants for row in variant.backends if row.kind is None]
    lines = []
    measured = next((each for each in found if each.mj is not None), None)
    if measured:
        made_up = "SIMULATED, not measured: " * measured.simulated
        hertz = measured.readings_hz or measured.update_hz
        lines.append(
            f"mJ: {made_up}energy of an inference above idle, {measured.scope} ({measured.source}: "
            f"{' + '.join(measured.channels)}), {hertz:.3g} readings a second; idle "
            f"{measured.idle_w:.3g} W, {measured.idle_drift_w:.2g} W apart before and after."
        )
    left_out = sum(each.left_out for each in found)
    if left_out:
        lines.append(f"mJ: without {left_out} launches that the sensor's readings do not cover.")
    lines += [f"No energy: {reason}." for reason in dict.fromkeys(each.reason for each in found if each.reason)]
    return lines


def path(row: Row) -> str:
    """The path taken, and the one requested where it is another; a dash where it is not known."""
    requested, taken = row.path["requested"], row.path["taken"]
    return "-" if taken == "unknown" else taken if requested == taken else f"{requested} → {taken}"


def parity(row: Row) -> str:
    """Whether the outputs were the golden ones; for a cell that failed otherwise, how."""
    if row.kind not in (None, "parity", "not measured"):
        return str(row.kind)
    return "-" if row.parity is None else "ok" if row.parity["ok"] else "failed"


def ranking(comparison: Comparison) -> list[str]:
    """A sentence for the fastest row of each kind of variant, dense and pruned, float and int8, fastest first; empty
    where there is but one type of weights.

    Rows count whose accuracy is within ACCURACY_POINTS of the dense float model's, or unknown.
    """
    dense = comparison.variants[0].accuracy if comparison.variants else None
    best: dict[tuple[str, bool], tuple[VariantSummary, Row]] = {}
    for variant in comparison.variants:
        if dense is not None and variant.accuracy is not None and variant.accuracy < dense - ACCURACY_POINTS / 100:
            continue
        for row in variant.backends:
            kind = (variant.precision, variant.pattern != DENSE)
            if row.median_ms is not None and (kind not in best or row.median_ms < (best[kind][1].median_ms or 0)):
                best[kind] = (variant, row)
    if len({precision for precision, _ in best}) < 2:
        return []
    within = f", within {ACCURACY_POINTS} points of dense's accuracy" if dense is not None else ""
    lines, baseline = [f"Fastest of each kind{within}:"], best.get((FLOAT, False))
    ranked = sorted(best.items(), key=lambda each: each[1][1].median_ms or 0)
    for place, ((precision, pruned), (variant, row)) in enumerate(ranked):
        facts = [f"{latency(row)} ms", kilobytes(variant.bytes), f"{percent(variant.accuracy)} accurate"]
        if baseline and (precision, pruned) != (FLOAT, False):
            facts.append(f"{(baseline[1].median_ms or 0) / (row.median_ms or 1):.2f}x as fast as float32 dense")
        if place and _alike(ranked[0][1][1], row):
            facts.append("no difference to the first could be shown")
        kind_of = f"{precision} {'sparse' if pruned else 'dense'}"
        lines.append(f"{kind_of}: {variant.name} under {row.backend}, {', '.join(facts)}.")
    return lines


def _alike(one: Row, other: Row) -> bool:
    """Whether the launches, paired by round, show no difference."""
    first, second = (dict(enumerate(row.launch_medians_ms)) for row in (one, other))
    return stats.compare(first, second).verdict == "no difference"


def aa_verdict(comparison: Comparison) -> str:
    """What a run of variants against themselves found; "" for other runs."""
    if not comparison.aa:
        return ""
    ratios = [row.ratio_to_dense for variant in comparison.variants for row in variant.backends if row.ratio_to_dense]
    different = [ratio for ratio in ratios if ratio.verdict in ("faster", "slower")]
    if comparison.noise_floor is None:
        return "A/A: too little was measured to tell."
    most = f"the same file differed from itself by at most {comparison.noise_floor.share:.1%}"
    if different:
        return f"A/A: a difference in {len(different)} of {len(ratios)} comparisons; {most}. Quieten the board first."
    return f"A/A: no difference; {most} in {len(ratios)} comparisons."


def require_no_difference(comparison: Comparison) -> None:
    """Raise where a file was told from itself.

    Raises:
        MeasurementError: it was.
    """
    rows = [row for variant in comparison.variants for row in variant.backends if row.ratio_to_dense]
    if any(row.ratio_to_dense.verdict in ("faster", "slower") for row in rows if row.ratio_to_dense):
        raise MeasurementError(
            f"{comparison.board['name']} tells a file from itself, so no comparison on it can be believed now.",
            hint=f"What disturbs it: edgesparse doctor --board {comparison.board['name']}",
        )


def sustained(comparison: Comparison) -> list[str]:
    """A sentence for each row of a sustained run: its first minute, and what it came to."""
    return [
        f"{variant.name} under {row.backend}, {_threads(row)}: {row.sustained.sentence()}"
        for variant in comparison.variants
        for row in variant.backends
        if row.sustained
    ]


def failures(comparison: Comparison) -> list[str]:
    """A sentence for each cell that failed."""
    rows = [(variant.name, row) for variant in comparison.variants for row in variant.backends if row.kind is not None]
    return [f"{name} under {row.backend}, {_threads(row)}: {row.kind}, {row.reason}." for name, row in rows]


def _threads(row: Row) -> str:
    return "1 thread" if row.threads == 1 else f"{row.threads} threads"


def footnotes(comparison: Comparison) -> list[str]:
    """Runtime, conditions, and what the marks mean, a sentence each."""
    rows = [row for variant in comparison.variants for row in variant.backends]
    lines = []
    runtimes = list(dict.fromkeys(f"{row.runtime['name']} {row.runtime['version']}" for row in rows if row.runtime))
    if runtimes:
        lines.append(f"Runtime {', '.join(runtimes)}; agent {comparison.agent.get('version', 'unknown')}.")
    for when, state in comparison.conditions.items():
        lines.append(f"{when.capitalize()}: {_conditions(state)}.")
    if comparison.stopped:
        lines.append(f"Stopped: {comparison.stopped['reason']}; {comparison.stopped['detail']}".rstrip("; ") + ".")
    lines += energy_notes(comparison)
    lines += outlier_notes(comparison)
    lines += kernels_taken(comparison)
    lines += _rounding(comparison)
    verdicts = {row.ratio_to_dense.verdict for row in rows if row.ratio_to_dense}
    if verdicts:
        lines.append(
            "x dense: the dense variant's latency over this one's, round by round; above 1 this one is faster."
        )
    if comparison.measured == "instructions":
        lines.append(
            "Instructions: millions that the emulated CPU executes for one inference; of dense: these over dense's."
        )
    if "no difference" in verdicts:
        lines.append("~: no difference to dense that these launches could show.")
    if "too few launches" in verdicts:
        lines.append("?: too few rounds have both to tell, among so many ratios.")
    if comparison.noise_floor and not comparison.aa:
        floor = comparison.noise_floor
        lines.append(
            f"This board differs from itself by up to {floor.share:.1%} (run {floor.run}); less is no difference."
        )
    return lines


def outlier_notes(comparison: Comparison) -> list[str]:
    """A sentence for each row with many samples far above the others; one for all of them where most rows have."""
    rows = [(variant.name, row) for variant in comparison.variants for row in variant.backends if row.count]
    many = [(name, row) for name, row in rows if row.outliers.share > MANY_OUTLIERS]
    if len(many) <= ROWS_TOLD_APART:
        return [f"{name} under {row.backend}, {_threads(row)}: {row.outliers.sentence()}." for name, row in many]
    shares = [row.outliers.share for _, row in many]
    reasons: Counter[str] = Counter()
    for _, row in many:
        reasons.update(row.outliers.reasons)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return [
        f"{len(many)} of {len(rows)} rows have samples far above the others, {min(shares):.1%} to {max(shares):.1%} of "
        f"theirs: {told}; none is left out."
    ]


def _rounding(comparison: Comparison) -> list[str]:
    """Which rows passed the gate though they round int8 otherwise than the golden outputs, and by how much."""
    return [
        f"{variant.name} under {row.backend}, {_threads(row)}, {row.parity['note']}."
        for variant in comparison.variants
        for row in variant.backends
        if row.parity and row.parity.get("note")
    ]


def kernels_taken(comparison: Comparison) -> list[str]:
    """A sentence for each variant of which the csr backend ran operators sparse: how many, with which kernels."""
    found = [
        f"csr on {variant.name}: {row.path['evidence']}."
        for variant in comparison.variants
        for row in variant.backends
        if row.delegate and any(node["claimed"] for node in row.delegate["nodes"])
    ]
    return list(dict.fromkeys(found))


def _conditions(state: dict[str, Any]) -> str:
    temperatures = state.get("temperature_c") or {}
    hottest = max(temperatures, key=lambda zone: float(temperatures[zone]), default=None)
    parts = [
        f"load {state['load_1m']:.2f}",
        f"{state['other_cpu_percent']:.0f} % CPU by others",
        f"{state['memory_available_bytes'] / 1e9:.1f} GB free",
        f"governor {state['governor']}" if state.get("governor") else "governor unknown",
        f"power mode {state['power_mode']}" if state.get("power_mode") else "",
        f"{max(state['frequency_mhz']):.0f} MHz" if state.get("frequency_mhz") else "",
        f"{temperatures[hottest]:.0f} °C ({hottest})" if hottest else "no temperature sensor",
    ]
    return ", ".join(part for part in parts if part)
