"""What to conclude, in sentences made of the measured numbers: another board or sparsity gives others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgesparse.lab.result import Conclusion, Lab, Measured, PatternResult
from edgesparse.report.tables import percent
from edgesparse.stats import MIN_LAUNCHES

# As many outputs at once as AVX-512 computes.
WIDEST = "16x1"
# Six patterns whose order is drawn reach this rank correlation in one case of twenty.
SHOWS_ORDER = -0.75


def conclude(lab: Lab) -> list[Conclusion]:
    """One conclusion for each question of the lab."""
    return [
        Conclusion(question="Which pattern is the smallest?", answers=list(_storage(lab))),
        Conclusion(question="What does regularity buy?", answers=list(_regularity(lab))),
        Conclusion(question="What does it cost in accuracy?", answers=list(_accuracy(lab))),
        Conclusion(question="Which pattern is faster here?", answers=list(_latency(lab))),
        Conclusion(question="Which one would you take for this board?", answers=list(_choice(lab))),
    ]


def _storage(lab: Lab) -> Iterator[str]:
    ranked = sorted(lab.pruned, key=lambda each: each.own.total_bytes or 0)
    best, worst = ranked[0], ranked[-1]
    yield (
        f"With {percent(lab.sparsity, 0)} zeros no form can be more than {1 / (1 - lab.sparsity):.2f} times smaller "
        f"than plain: so much the values take that are left. Closest comes {best.pattern} ({_form(best)}), "
        f"{_times(best.own.ratio)}; farthest stays {worst.pattern} ({_form(worst)}), {_times(worst.own.ratio)}, which "
        f"spends {worst.index_bits:.1f} bits on indices and row pointers for each value."
    )
    foreign = [
        (pattern, form)
        for pattern in lab.pruned
        for form in pattern.forms
        if form.form not in ("plain", pattern.own_form) and form.ratio is not None
    ]
    larger = [(pattern, form) for pattern, form in foreign if (form.ratio or 0) < 1]
    if larger:
        pattern, form = min(larger, key=lambda each: each[1].ratio or 0)
        yield (
            f"A form has to fit the zeros: {len(larger)} of {len(foreign)} combinations of a pattern with another form "
            f"than its own take more than plain, most of all {pattern.pattern} in {form.form}, {_times(form.ratio)}."
        )
    else:
        yield "No form takes more than plain here, not even one made for another pattern."
    encodings = {each.encoding for each in lab.pruned}
    sizes = {each.file_bytes for each in lab.pruned}
    if len(encodings) == 1 and len(sizes) == 1:
        yield (
            f"In the .tflite files this does not show: TFLite's converter stored every pattern as {encodings.pop()}, "
            f"so all of them are {percent(sizes.pop() / lab.dense.file_bytes, 0)} of the dense file's size."
        )


def _regularity(lab: Lab) -> Iterator[str]:
    ranked = sorted(lab.pruned, key=lambda each: each.regularity or 0)
    listed = ", ".join(f"{each.pattern} {each.regularity or 0:.2f} ({each.index_bits:.2g} bits)" for each in ranked)
    bits = [each.index_bits for each in ranked]
    if all(after <= before for before, after in pairwise(bits)):
        order = "in the same order the bits of index for each stored value fall"
    elif bits[-1] < bits[0]:
        order = (
            "the bits of index for each stored value fall too, though not in quite the same order: a form sees one "
            "kind of regularity, and its indices are whole bytes"
        )
    else:
        order = "the bits of index for each stored value do not fall with it here"
    yield f"From the least regular to the most: {listed}; {order}."
    most = max(lab.pruned, key=lambda each: each.skippable[WIDEST])
    least = min(lab.pruned, key=lambda each: each.skippable[WIDEST])
    yield (
        f"A kernel that computes 16 outputs at once can skip {percent(most.skippable[WIDEST])} of the zeros of "
        f"{most.pattern}, and {percent(least.skippable[WIDEST])} of those of {least.pattern}."
    )


def _accuracy(lab: Lab) -> Iterator[str]:
    known = [each for each in lab.pruned if each.accuracy_pruned is not None]
    if known:
        best = max(known, key=lambda each: each.accuracy_pruned or 0)
        worst = min(known, key=lambda each: each.accuracy_pruned or 0)
        rank = _rank_correlation([(each.regularity or 0, each.accuracy_pruned or 0) for each in known])
        moral = f": the more regular the zeros, the more is lost, on the whole (rank correlation {rank:.2f})"
        moral = moral if rank < SHOWS_ORDER else ""
        yield (
            f"Before fine-tuning, of dense's {percent(lab.dense.accuracy)}, {best.pattern} keeps most "
            f"({percent(best.accuracy_pruned)}) and {worst.pattern} least ({percent(worst.accuracy_pruned)}){moral}."
        )
    lower = _shown_lower(lab)
    low, high = (percent(end([each.accuracy for each in lab.pruned])) for end in (min, max))
    if lower:
        verb = "is" if len(lower) == 1 else "are"
        said = f"{_list([each.pattern for each in lower])} {verb} shown to be less accurate than dense"
    else:
        ends = " to ".join(percent(end) for end in lab.dense.accuracy_interval)
        said = f"none is shown to be less accurate than dense: {lab.samples} samples leave dense an interval of {ends}"
    epochs = f"{lab.epochs} epoch{'s' * (lab.epochs > 1)}"
    yield f"After {epochs} of the same fine-tuning they reach {low} to {high}, and {said}."


def _latency(lab: Lab) -> Iterator[str]:
    if lab.quantity != "latency":
        yield (
            "This board is emulated, so it has no latency: what its clock counts is in the table, and a speed-up has "
            "to be shown on a real board."
        )
        return
    for backend in dict.fromkeys(row.backend for row in lab.dense.backends):
        rows = [(each, row) for each in lab.pruned for row in each.backends if row.backend == backend]
        faster = [(each, row) for each, row in rows if row.verdict == "faster"]
        if faster:
            best, row = max(faster, key=lambda found: found[1].ratio or 0)
            verb = "is" if len(faster) == 1 else "are"
            yield (
                f"{backend}: {len(faster)} of {len(rows)} patterns {verb} shown to be faster than dense, most of all "
                f"{best.pattern}, {_ratio(row)}: {row.why}."
            )
        elif all(row.verdict == "too few launches" for _, row in rows):
            yield f"{backend}: measured in fewer than {MIN_LAUNCHES} rounds, too few to tell."
        else:
            yield f"{backend}: no pattern is shown to be faster than dense. {_why_not(rows)}"
        slower = [f"{each.pattern} ({_ratio(row)})" for each, row in rows if row.verdict == "slower"]
        if slower:
            yield f"{backend}: shown to be slower than dense: {', '.join(slower)}."


def _why_not(rows: Sequence[tuple[PatternResult, Measured]]) -> str:
    by_reason: dict[str, list[str]] = {}
    for each, row in rows:
        by_reason.setdefault(row.why, []).append(each.pattern)
    parts = []
    for why, patterns in sorted(by_reason.items(), key=lambda found: -len(found[1])):
        who = "All of them" if len(patterns) == len(rows) else _list(patterns)
        parts.append(f"{who[:1].upper()}{who[1:]}: {why}.")
    return " ".join(parts)


def _choice(lab: Lab) -> Iterator[str]:
    lower = [each.name for each in _shown_lower(lab)]
    kept = [each for each in lab.patterns if each.name not in lower]
    timed = [(row.median_ms, each, row) for each in kept for row in each.backends if row.median_ms is not None]
    if timed:
        fastest_ms, best, row = min(timed, key=lambda found: found[0])
        dense_ms = min((row.median_ms for row in lab.dense.backends if row.median_ms is not None), default=None)
        doubt = ", but too few launches were measured to be sure" if row.interval_ms is None else ""
        beside = ""
        if best.name != lab.dense.name and dense_ms is not None:
            beside = f"; dense under its best backend takes {dense_ms / fastest_ms:.2f} times as long"
        yield (
            f"Of those that are not shown to be less accurate than dense, {best.pattern} under {row.backend} has the "
            f"lowest median latency: {row.shown} ms{beside}{doubt}."
        )
    least = min(each.file_bytes for each in kept)
    small = [each.pattern for each in kept if each.file_bytes == least]
    verb = "has the smallest file" if len(small) == 1 else "have equally small files"
    yield f"{_list(small)} {verb}: {least:,} bytes, {percent(least / lab.dense.file_bytes, 0)} of dense's."
    verdicts = {row.verdict for each in lab.pruned for row in each.backends}
    if lab.quantity == "latency" and "faster" not in verdicts and verdicts & {"no difference", "slower"}:
        yield (
            "No pattern was shown to save time on this board at this sparsity: here pruning is for bytes. For time, "
            "prune more, or take a backend that skips these zeros."
        )


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's, from -1 to 1; 0 where one side does not vary."""
    from scipy.stats import spearmanr

    if any(len(set(side)) < 2 for side in zip(*pairs, strict=True)):
        return 0.0
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _shown_lower(lab: Lab) -> list[PatternResult]:
    """Patterns whose interval lies below dense's: a cautious test, which asks for more than 95 %."""
    return [each for each in lab.pruned if each.accuracy_interval[1] < lab.dense.accuracy_interval[0]]


def _form(pattern: PatternResult) -> str:
    return "whole filters" if pattern.own_form == "filters" else pattern.own_form


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def _ratio(row: Measured) -> str:
    interval = f" [{row.ratio_interval[0]:.2f}, {row.ratio_interval[1]:.2f}]" if row.ratio_interval else ""
    return f"{_times(row.ratio)}{interval}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
