"""The sentence that answers the question of a run: does sparse run faster here, by how much, and at what cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from edgesparse import stats
from edgesparse.convert.bundle import DENSE
from edgesparse.quantity import millions
from edgesparse.report.export import ACCURACY_POINTS, aa_verdict, milliseconds
from edgesparse.report.summary import Comparison, Row, VariantSummary

Cell = tuple[VariantSummary, Row]
Kind = Literal["faster", "not faster", "instructions", "sustained", "noise", "nothing"]
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Fact:
    """One number of the answer: what it is of, the number, and what to know of it."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """The answer of a run.

    Attributes:
        kind: which question could be answered.
        text: the sentence.
        more: what to hold it against, another sentence; "" where there is none.
        facts: the numbers in it, each by itself.
        cell: the variant and the row that it is about; None where it is about no single one.
    """

    kind: Kind
    text: str
    facts: list[Fact] = field(default_factory=list)
    more: str = ""
    cell: Cell | None = None


def answer(comparison: Comparison) -> Answer:
    """What a run says."""
    if comparison.aa:
        return Answer("noise", aa_verdict(comparison))
    if comparison.measured == "nothing":
        return _outputs_alone(comparison)
    if comparison.measured == "instructions":
        return _instructions(comparison)
    if any(row.sustained for _, row in _cells(comparison)):
        return _sustained(comparison)
    faster = [each for each in _pruned(comparison) if _verdict(each[1]) == "faster"]
    worth = [each for each in faster if (_points(comparison, each[0]) or 0.0) >= -ACCURACY_POINTS]
    if not worth:
        return Answer("not faster", _why_not(comparison, faster), more=_ran_dense(comparison))
    return _faster(comparison, *min(worth, key=_median_ms))


def _faster(comparison: Comparison, variant: VariantSummary, row: Row) -> Answer:
    assert row.ratio_to_dense is not None and row.ratio_to_dense.value is not None
    low, high = row.ratio_to_dense.interval or (0.0, 0.0)
    times, interval = f"{row.ratio_to_dense.value:.2f}x", f"[{low:.2f}, {high:.2f}]"
    size = variant.bytes / comparison.variants[0].bytes - 1
    dense = comparison.variants[0].precision
    than = "dense" if variant.precision == dense else f"{dense} dense"
    detail, and_than = f"{interval}, as {than} under {row.backend}", ""
    alike = _dense_alike(comparison, variant, row)
    if alike and (ratio := _ratio(alike[1], row)):
        # What the precision does is not sparsity's doing.
        and_than = f" and {ratio} as fast as {variant.precision} dense"
        detail += f"; {ratio} as {variant.precision} dense"
    facts = [Fact("Speed", f"{times} as fast", detail)]
    told = [f"{variant.name} runs {times} {interval} as fast as {than}{and_than} on {_where(comparison, row)}"]
    points = _points(comparison, variant)
    if points is None:
        facts.append(Fact("Accuracy", "unknown", "the bundle was made without data"))
    else:
        told.append(f"{_signed(points, '.1f')} points accuracy")
        facts.append(
            Fact("Accuracy", f"{_signed(points, '.1f')} points", f"{variant.accuracy or 0:.1%} of samples right")
        )
    energy, simulated = row.energy, " (simulated, not measured)" * row.energy.simulated
    if energy.of_dense is None:
        reason = energy.reason or {"no sensor": "the board has no power sensor", "off": "it was not asked for"}.get(
            energy.status, "not known of both"
        )
        facts.append(Fact("Energy", "not measured", reason))
    else:
        told.append(f"{_signed(100 * (energy.of_dense - 1), '.0f')} % energy{simulated}")
        scope = f"above idle, {energy.scope}{simulated}"
        facts.append(Fact("Energy", f"{_signed(100 * (energy.of_dense - 1), '.0f')} %", scope))
    facts.append(Fact("File", f"{_signed(100 * size, '.0f')} %", f"{variant.bytes / 1e3:,.0f} kB"))
    more = _against_the_fastest(comparison, variant.name, row, alike if and_than else None)
    return Answer("faster", ", ".join(told) + ".", facts, more, (variant, row))


def _dense_alike(comparison: Comparison, variant: VariantSummary, row: Row) -> Cell | None:
    """Dense of the same precision, backend and threads; None where the first variant, which ratios are against, is of
    that precision, or where there is none."""
    if variant.precision == comparison.variants[0].precision:
        return None
    alike = [each for each in _dense(comparison, row.threads) if each[0].precision == variant.precision]
    return min((each for each in alike if each[1].backend == row.backend), key=_median_ms, default=None)


def _ratio(dense: Row, row: Row) -> str:
    """How many times as fast, round by round, with its interval; "" where there are too few rounds for one."""
    ratio = stats.compare(dict(enumerate(dense.launch_medians_ms)), dict(enumerate(row.launch_medians_ms)))
    if ratio.value is None or ratio.interval is None:
        return ""
    return f"{ratio.value:.2f}x [{ratio.interval[0]:.2f}, {ratio.interval[1]:.2f}]"


def _against_the_fastest(comparison: Comparison, variant: str, row: Row, told: Cell | None) -> str:
    """A second sentence where another dense row is faster than the one that the ratio is against; `told` is one
    that the first sentence has named."""
    best = min(_dense(comparison, row.threads), key=_median_ms, default=None)
    own = best and best[0] is comparison.variants[0] and best[1].backend == row.backend
    if best is None or own or (told and best[1] is told[1]) or not best[1].median_ms or not row.median_ms:
        return ""
    times = best[1].median_ms / row.median_ms
    several = sum(each.pattern == DENSE for each in comparison.variants) > 1
    found = f"Dense is fastest{f' as {best[0].name}' * several} under {best[1].backend}, "
    found += f"{milliseconds(best[1].median_ms)} ms"
    if times <= 1:
        return f"{found}, and that is faster still."
    return f"{found}; {variant} runs {times:.2f}x as fast as that, by the medians."


def _dense(comparison: Comparison, threads: int) -> list[Cell]:
    """Every dense row with a latency."""
    cells = [each for each in _cells(comparison) if each[0].pattern == DENSE and each[1].threads == threads]
    return [each for each in cells if each[1].median_ms is not None]


def _median_ms(cell: Cell) -> float:
    return cell[1].median_ms or 0.0


def _why_not(comparison: Comparison, faster: list[Cell]) -> str:
    pruned, board = _pruned(comparison), comparison.board["name"]
    if not pruned:
        return f"There is no sparse variant in this run on {board}, so there is nothing to answer."
    counts: Counter[str] = Counter()
    for _, row in pruned:
        counts[f"failed ({row.kind})" if row.kind else _verdict(row)] += 1
    words = {"no difference": "no difference", "slower": "slower", "too few launches": "too few launches to tell"}
    told = [f"{count} {words.get(what, what)}" for what, count in counts.items() if what != "faster"]
    text = f"No sparse variant is shown to run faster than dense on {board}"
    if faster:
        variant, row = min(faster, key=_median_ms)
        assert row.ratio_to_dense is not None
        lost = _signed(_points(comparison, variant) or 0.0, ".1f")
        text += f" within {ACCURACY_POINTS} points of its accuracy"
        told.append(f"{len(faster)} faster but less accurate ({variant.name} under {row.backend}: "
                    f"{row.ratio_to_dense.value or 0:.2f}x as fast, {lost} points)")  # fmt: skip
    text += f": of {len(pruned)} measurements, {', '.join(told)}."
    return text


def _ran_dense(comparison: Comparison) -> str:
    """Where the zeros of sparse variants were not skipped."""
    dense = Counter(row.backend for _, row in _pruned(comparison) if row.kind is None and row.path["taken"] == "dense")
    if not dense:
        return ""
    ran = ", ".join(f"{count} under {backend}" for backend, count in dense.items())
    return f"Run dense by their backend, so that no zero was skipped: {ran}."


def _instructions(comparison: Comparison) -> Answer:
    board = comparison.board["name"]
    known = [
        (found.of_dense, variant, row)
        for variant, row in _pruned(comparison)
        if (found := row.instructions) is not None and found.of_dense is not None
    ]
    note = f"{board} is emulated: it has no latency, and fewer instructions are no proof of a shorter one."
    if not known:
        return Answer("nothing", f"Nothing was counted of a sparse variant on {board}.", more=note)
    of_dense, variant, row = min(known, key=lambda each: each[0])
    assert row.instructions is not None
    if of_dense >= 1:
        return Answer(
            "instructions", f"No sparse variant executes fewer instructions than dense on {board}.", more=note
        )
    count = f"{millions(row.instructions.per_inference)} million"
    text = (
        f"{variant.name} executes {100 * (1 - of_dense):.0f} % fewer instructions than dense on "
        f"{_where(comparison, row)}, {count} for an inference."
    )
    facts = [
        Fact("Instructions", f"{of_dense:.3f} of dense", f"{count} for an inference"),
        Fact("Latency", "none", "emulated"),
    ]
    return Answer("instructions", text, facts, note, (variant, row))


def _sustained(comparison: Comparison) -> Answer:
    """Once for each backend: where the fastest sparse variant and dense came to."""
    told = []
    for backend in dict.fromkeys(row.backend for _, row in _cells(comparison)):
        rows = [(variant, row) for variant, row in _cells(comparison) if row.backend == backend and row.sustained]
        dense = [each for each in rows if each[0].pattern == DENSE]
        pruned = [each for each in rows if each[0].pattern != DENSE]
        best = min(pruned or dense, key=lambda each: _level_ms(each[1]), default=None)
        if best is None:
            continue
        text = f"{best[0].name} {_settled(best[1])}"
        told.append(text + (f", dense {_settled(dense[0][1])}" if dense and pruned else "") + f" under {backend}")
    board = comparison.board["name"]
    return Answer(
        "sustained", f"Under load for minutes on {board}: {'; '.join(told)}.", more="One launch each, so no interval."
    )


def _level_ms(row: Row) -> float:
    assert row.sustained is not None
    return row.sustained.steady_ms or row.sustained.moments[-1].median_ms


def _settled(row: Row) -> str:
    assert row.sustained is not None
    first = f"after {milliseconds(row.sustained.first_ms)} ms at first"
    if row.sustained.steady_ms is None:
        return f"found no steady state, {milliseconds(_level_ms(row))} ms at the end {first}"
    return f"settles at {milliseconds(row.sustained.steady_ms)} ms {first}"


def _outputs_alone(comparison: Comparison) -> Answer:
    rows = [row for _, row in _cells(comparison)]
    right = sum(bool(row.parity and row.parity["ok"]) for row in rows)
    board = comparison.board["name"]
    return Answer(
        "nothing",
        f"{right} of {len(rows)} measurements gave the right outputs on {board}. It is emulated: it has no latency.",
    )


def _where(comparison: Comparison, row: Row) -> str:
    several = len({each.threads for _, each in _cells(comparison)}) > 1
    threads = f" on {row.threads} thread{'s' * (row.threads > 1)}" if several else ""
    return f"{comparison.board['name']} with the {row.backend} backend{threads}"


def _points(comparison: Comparison, variant: VariantSummary) -> float | None:
    """Points of accuracy more than dense; None where one of them is not known."""
    dense = comparison.variants[0]
    if dense.pattern != DENSE or dense.accuracy is None or variant.accuracy is None:
        return None
    return 100 * (variant.accuracy - dense.accuracy)


def _cells(comparison: Comparison) -> list[Cell]:
    return [(variant, row) for variant in comparison.variants for row in variant.backends]


def _pruned(comparison: Comparison) -> list[Cell]:
    return [(variant, row) for variant, row in _cells(comparison) if variant.pattern != DENSE]


def _verdict(row: Row) -> str:
    return row.ratio_to_dense.verdict if row.ratio_to_dense and row.kind is None else "not held against dense"


def _signed(value: float, digits: str) -> str:
    """With a real minus, and no sign before what rounds to 0."""
    told = f"{value:+{digits}}"
    return told.replace("-", _MINUS) if float(told) else told.lstrip("+-")
