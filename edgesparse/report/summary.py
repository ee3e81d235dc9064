"""What the samples of a run say: every variant under every backend, computed from the raw records."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from statistics import median
from typing import Any

import msgspec

from edgesparse import energy, stats
from edgesparse.convert.bundle import DENSE, FLOAT, Variant
from edgesparse.quantity import Quantity, quantity_of, without_times
from edgesparse.report.outliers import Outliers, find_outliers
from edgesparse.report.power import Energy, PowerOfRun, SensorReadings
from edgesparse.report.sustained import Sustained, joined, sustained
from edgesparse.store import AGAIN, NoiseFloor, Record, RunRecord
from edgesparse.wire import CSR

WIDE_INTERVAL = 0.05
# Of one core.
BUSY_PERCENT = 25.0
SLOWER_CLOCK = 0.95


class Instructions(msgspec.Struct, frozen=True, kw_only=True):
    """What an emulated board in counting mode executes for one inference: numbers of instructions.

    They are counted on its one CPU, whoever executes them: the inference, which takes the same number every time, and
    now and then the kernel or another process. So `launches` has the fewest of each launch; `per_inference` is the
    median of these, `lowest` and `highest` are the extremes. `of_dense` is this variant's over dense's, under the same
    backend and threads: below 1 this one needs fewer.
    """

    samples: list[int]
    warmup: list[int]
    launches: list[int]
    per_inference: float | None
    lowest: int | None
    highest: int | None
    of_dense: float | None
    init: float | None
    first_inference: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one backend with one number of threads. Without samples the numbers are None; those in ms are
    of a board's own clock, and an emulated board has none: it has `instructions` in counting mode, else nothing.

    `median_ms` is the median of the launches' medians, `interval_ms` its 95 % interval; `p90_ms`, `p99_ms` are of all
    samples. `ratio_to_dense` is dense over this variant, under the same backend and threads: above 1 this one is
    faster. A cell that broke off keeps the samples of the launches before, with status "failed", the kind ("parity",
    "crash", "hang", "error", "unsupported", "not measured") and the reason. `delegate` is what the kernels of the csr
    backend report: under `nodes`, for each operator, the kernel chosen or why it was left to XNNPACK.
    """

    backend: str
    threads: int
    status: str
    kind: str | None
    reason: str
    samples_ms: list[float]
    warmup_ms: list[float]
    launches: int
    count: int
    launch_medians_ms: list[float]
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    p90_ms: float | None
    p99_ms: float | None
    ratio_to_dense: stats.Ratio | None
    init_ms: float | None
    first_inference_ms: float | None
    path: dict[str, str]
    parity: dict[str, Any] | None
    runtime: dict[str, str] | None
    delegate: dict[str, Any] | None
    instructions: Instructions | None
    energy: Energy
    sustained: Sustained | None
    outliers: Outliers


class VariantSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of the bundle and its rows. `dense_bytes` is what the same weights take stored dense; `precision` is
    as in the bundle's manifest."""

    name: str
    precision: str
    pattern: str
    sparsity: float | None
    density: float
    bytes: int
    dense_bytes: int
    accuracy: float | None
    accuracy_samples: int
    backends: list[Row]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its reader wants it. `version` is that of this JSON document; `measured` is what the board's clock
    counts: latency, instructions (an emulated board in counting mode) or nothing (an emulated board). With `aa` every
    variant is held against itself, and `noise_floor` is what this run found; else what was known before."""

    version: int = 1
    run: str
    created: str
    status: str
    reason: str
    board: dict[str, Any]
    measured: Quantity
    bundle: dict[str, Any]
    agent: dict[str, Any]
    conditions: dict[str, Record]
    conditions_during: list[Record]
    sensors: list[SensorReadings]
    stopped: dict[str, str] | None
    aa: bool
    noise_floor: NoiseFloor | None
    warnings: list[str]
    variants: list[VariantSummary]


class _Cell:
    """The records of one cell."""

    def __init__(self) -> None:
        self.check: Record | None = None
        self.failed: Record | None = None
        self.launches: list[Record] = []
        self.samples: dict[int, Record] = {}
        self.slices: list[Record] = []

    def windows(self) -> list[tuple[energy.Window, int]]:
        """When each launch was busy, and with how many inferences."""
        return [
            ((record["window_ns"][0], record["window_ns"][1]), record["inferences"])
            for record in self.samples.values()
            if "window_ns" in record
        ]

    @cached_property
    def medians_ms(self) -> dict[int, float]:
        """The median latency of each round's launch."""
        return {number: median(record["latency_ns"]) / 1e6 for number, record in self.samples.items()}


def summarise(record: RunRecord) -> Comparison:
    """The comparison of a run, finished or not."""
    records = record.records()
    cells, measured = _by_cell(records), quantity_of(record.board)
    spec = record.spec
    variants = []
    power = PowerOfRun(records)
    during = [each for record in records if record["type"] == "conditions_during" for each in record["readings"]]
    for variant, baseline in _variants(record):
        rows = [
            _row(
                cells[cell["id"]],
                cells[f"{baseline}/{cell['backend']}/{cell['threads']}"],
                cell,
                measured,
                power,
                during,
            )
            for cell in spec["cells"]
            if cell["variant"] == variant.name
        ]
        if rows:
            variants.append(_variant(variant, rows))
    variants = _judged(variants, record.noise_floor)
    floor = _own_noise_floor(record, variants) if record.aa else record.noise_floor
    last = records[-1] if records else {}
    done = last if last.get("type") == "finished" else {"status": "unfinished", "reason": "the run has not ended yet"}
    started = next((each for each in records if each["type"] == "run"), {})
    conditions = {each["when"]: _plain(each) for each in records if each["type"] == "conditions"}
    stopped = next((_plain(each) for each in records if each["type"] == "stopped"), None)
    board = {**started.get("board", {}), **record.board}
    return Comparison(
        run=record.id, created=record.about["created"], status=done["status"], reason=done["reason"], board=board,
        measured=measured, bundle=record.about["bundle"], agent=started.get("agent", {}), conditions=conditions,
        conditions_during=during,
        sensors=power.sensors, stopped=stopped, aa=record.aa, noise_floor=floor,
        warnings=[
            *_warnings(record.id, board, conditions, during, stopped, done, variants),
            *_about_the_governor(records),
            *_about_the_meter(records),
        ],
        variants=variants,
    )  # fmt: skip


def _variants(record: RunRecord) -> Iterator[tuple[Variant, str]]:
    """Every variant that may have been measured, and the name of what it is held against."""
    for variant in record.manifest.variants:
        yield variant, DENSE if not record.aa else variant.name
        again = (
            [name for name in record.spec["files"] if name.startswith(f"{variant.name}{AGAIN}")] if record.aa else []
        )
        for name in again:
            yield msgspec.structs.replace(variant, name=name), variant.name


def _own_noise_floor(record: RunRecord, variants: list[VariantSummary]) -> NoiseFloor | None:
    """The most by which a file differed from itself; None where too little was measured."""
    ratios = [row.ratio_to_dense for variant in variants for row in variant.backends if row.ratio_to_dense]
    off = [abs(math.log(ratio.value)) for ratio in ratios if ratio.value is not None and ratio.interval is not None]
    return NoiseFloor(math.expm1(max(off)), record.id) if off else None


def _judged(variants: list[VariantSummary], noise_floor: NoiseFloor | None) -> list[VariantSummary]:
    """The same, with verdicts that stand among all ratios of the run."""
    ratios = [row.ratio_to_dense for variant in variants for row in variant.backends if row.ratio_to_dense]
    judged = iter(stats.decide(ratios, noise_floor.share if noise_floor else 0.0))

    def rejudged(row: Row) -> Row:
        return msgspec.structs.replace(row, ratio_to_dense=next(judged)) if row.ratio_to_dense else row

    return [
        msgspec.structs.replace(variant, backends=[rejudged(row) for row in variant.backends]) for variant in variants
    ]


def _plain(record: Record) -> Record:
    return {key: value for key, value in record.items() if key not in ("seq", "t_ns", "type", "when")}


def _by_cell(records: list[Record]) -> dict[str, _Cell]:
    cells: dict[str, _Cell] = defaultdict(_Cell)
    for record in records:
        kind = record["type"]
        if kind == "check":
            cells[record["cell"]].check = record
        elif kind == "cell_failed":
            cells[record["cell"]].failed = record
        elif kind == "launch":
            cells[record["cell"]].launches.append(record)
        elif kind == "samples":
            cells[record["cell"]].samples[record["round"]] = record
        elif kind == "slice":
            cells[record["cell"]].slices.append(record)
    for cell in cells.values():
        if cell.slices:
            cell.samples[0] = joined(cell.slices)
    return cells


def _row(cell: _Cell, dense: _Cell, asked: Record, measured: Quantity, power: PowerOfRun, during: list[Record]) -> Row:
    """A cell that failed keeps its samples, but nothing is claimed from them."""
    check = cell.check or {}
    by_round, baseline = cell.medians_ms, dense.medians_ms
    last = cell.launches[-1] if cell.launches else {}
    kind, reason = _why_failed(cell)
    valid = bool(by_round) and kind is None
    timed = measured == "latency"
    samples_ms = [ns / 1e6 for record in cell.samples.values() for ns in record["latency_ns"]] if timed else []
    believed, comparable = valid and timed, valid and cell is not dense and baseline.keys() & by_round.keys()
    return Row(
        backend=asked["backend"], threads=asked["threads"], status="failed" if kind else "ok", kind=kind,
        reason=reason, samples_ms=samples_ms,
        warmup_ms=[ns / 1e6 for record in cell.samples.values() for ns in record["warmup_ns"]] if timed else [],
        launches=len(by_round), count=sum(len(record["latency_ns"]) for record in cell.samples.values()),
        launch_medians_ms=list(by_round.values()) if timed else [],
        median_ms=median(by_round.values()) if believed else None,
        interval_ms=stats.median_interval(list(by_round.values())) if believed else None,
        p90_ms=stats.p90(samples_ms) if believed else None, p99_ms=stats.p99(samples_ms) if believed else None,
        ratio_to_dense=stats.compare(baseline, by_round) if comparable and timed else None,
        init_ms=_median_of_launches(cell, "init_ms") if timed else None,
        first_inference_ms=_median_of_launches(cell, "first_inference_ms") if timed else None,
        path=check.get("path") or {"requested": "unknown", "taken": "unknown", "evidence": ""},
        parity=check.get("parity"), runtime=last.get("runtime") or check.get("runtime"),
        delegate=check.get("delegate") if timed else without_times(check.get("delegate")),
        instructions=_instructions(cell, dense, valid) if measured == "instructions" else None,
        energy=_energy(cell, dense, power) if valid else Energy(status="refused", reason="nothing was measured"),
        outliers=find_outliers(cell.slices or cell.samples.values(), during),
        sustained=sustained(cell.slices, power, during) if cell.slices and timed else None,
    )  # fmt: skip


def _energy(cell: _Cell, dense: _Cell, power: PowerOfRun) -> Energy:
    """Above idle, and as a share of dense's."""
    own, baseline = power.of(cell.windows()), power.of(dense.windows()) if cell is not dense else None
    if own.mj is not None and baseline and baseline.mj and baseline.mj > 0:
        return msgspec.structs.replace(own, of_dense=own.mj / baseline.mj)
    return own


def _instructions(cell: _Cell, dense: _Cell, valid: bool) -> Instructions:
    """In counting mode every nanosecond of the board's clock is an instruction."""
    launches, baseline = _fewest(cell), _fewest(dense)
    comparable = valid and cell is not dense and baseline and dense.failed is None
    init, first = _median_of_launches(cell, "init_ms"), _median_of_launches(cell, "first_inference_ms")
    return Instructions(
        samples=[ns for record in cell.samples.values() for ns in record["latency_ns"]],
        warmup=[ns for record in cell.samples.values() for ns in record["warmup_ns"]],
        launches=launches,
        per_inference=median(launches) if valid else None,
        lowest=min(launches) if valid else None,
        highest=max(launches) if valid else None,
        of_dense=median(launches) / median(baseline) if comparable else None,
        init=None if init is None else init * 1e6,
        first_inference=None if first is None else first * 1e6,
    )


def _fewest(cell: _Cell) -> list[int]:
    return [min(record["latency_ns"]) for record in cell.samples.values()]


def _why_failed(cell: _Cell) -> tuple[str | None, str]:
    """Kind and reason of there being no samples, or none of the last rounds; None where nothing failed."""
    if cell.failed is not None:
        return cell.failed["kind"], f"in round {cell.failed['round'] + 1}: {cell.failed['reason']}"
    if cell.check is None:
        return "not measured", "the run ended before its check"
    if cell.check["status"] == "failed":
        return cell.check["kind"], cell.check["reason"]
    return (None, "") if cell.samples else ("not measured", "the run ended before its first launch")


def _median_of_launches(cell: _Cell, key: str) -> float | None:
    return median(launch[key] for launch in cell.launches) if cell.launches else None


def _variant(variant: Variant, rows: list[Row]) -> VariantSummary:
    return VariantSummary(
        name=variant.name, precision=variant.precision, pattern=variant.pattern, sparsity=variant.sparsity,
        density=variant.density, bytes=variant.file.bytes, dense_bytes=(variant.twin or variant.file).bytes,
        accuracy=variant.accuracy, accuracy_samples=variant.accuracy_samples, backends=rows,
    )  # fmt: skip


def _warnings(
    run: str,
    board: Record,
    conditions: dict[str, Record],
    during: list[Record],
    stopped: Record | None,
    done: Record,
    variants: list[VariantSummary],
) -> list[str]:
    """What a reader must know before believing the numbers: a sentence each, with what to do about it."""
    rows = [(variant.name, row) for variant in variants for row in variant.backends]
    return [
        *_about_the_end(run, done, stopped),
        *_about_the_board(board, conditions),
        *(() if board.get("emulated") else _about_the_seconds_between(during)),
        *(() if board.get("emulated") else _about_the_intervals(rows)),
        *_about_the_paths(rows, board, {variant.name for variant in variants if variant.precision == FLOAT}),
    ]


def _about_the_end(run: str, done: Record, stopped: Record | None) -> Iterator[str]:
    if done["status"] == "cancelled":
        yield "The run was cancelled: it holds the rounds until then; measure again for all of them."
    elif done["status"] == "unfinished":
        yield f"The run has not ended, or the link was lost: `edgesparse bench --attach {run}` collects the rest."
    elif done["status"] != "finished":
        yield f"The run failed: {done['reason']}; `edgesparse agent logs` may say more."
    if stopped and stopped["reason"] == "time limit":
        yield f"The time limit ended the run ({stopped['detail']}): --time-limit gives it more."


def _about_the_board(board: Record, conditions: dict[str, Record]) -> Iterator[str]:
    if board.get("emulated"):
        counts = "; fewer instructions are no proof of a shorter latency" * (quantity_of(board) == "instructions")
        yield f"The board is emulated: it has no latency{counts}; measure on a real one."
        return  # neither its load nor its clock matters
    if board.get("virtual"):
        yield f"The board is a virtual machine ({board['virtual']}): unseen neighbours may disturb it; repeat the run."
    before, after = conditions.get("before", {}), conditions.get("after", {})
    loads = {when: state.get("other_cpu_percent") or 0.0 for when, state in conditions.items()}
    busy = [f"{load:.0f} % {when}" for when, load in loads.items() if load > BUSY_PERCENT]
    if busy:
        yield f"Other processes kept the CPU busy ({' and '.join(busy)} the run): end them and measure again."
    during = [text for text in after.get("throttled", []) if text not in before.get("throttled", [])]
    if during:
        yield f"The board throttled during the run ({_some(during)}): cool it or power it better, and measure again."
    elif before.get("throttled"):
        yield f"The board throttled before the run ({_some(before['throttled'])}): check its cooling and power supply."
    governor = before.get("governor")
    if governor and governor != "performance":
        yield f"The CPU governor is {governor}: `sudo cpupower frequency-set -g performance` there steadies the clock."


def _about_the_meter(records: list[Record]) -> Iterator[str]:
    for found in (each for each in records if each["type"] == "sensors_found"):
        if found["sources"] and found["reason"]:
            yield f"Energy is told of the board's own sensors alone: {found['reason']}."


def _about_the_governor(records: list[Record]) -> Iterator[str]:
    for reason in (each["reason"] for each in records if each["type"] == "untuned" and each.get("reason")):
        yield f"The governor that --tune had set could not be put back: {reason}; the agent's next start tries again."


def _about_the_seconds_between(during: list[Record]) -> Iterator[str]:
    flags = dict.fromkeys(flag for look in during for flag in look["throttled"] if flag.endswith(" now"))
    if flags:
        seconds = sum(any(flag.endswith(" now") for flag in look["throttled"]) for look in during)
        yield f"In {seconds} of {len(during)} s the board reported: {_some(list(flags))}; cool it or power it better."
    clocks = [max(look["frequency_mhz"]) for look in during if look["frequency_mhz"]]
    if clocks and min(clocks) < SLOWER_CLOCK * max(clocks):
        yield f"The clock went from {max(clocks):.0f} to {min(clocks):.0f} MHz in the run: `--tune` may hold it."


def _about_the_intervals(rows: list[tuple[str, Row]]) -> Iterator[str]:
    wide = [f"{name} under {row.backend}" for name, row in rows if _is_wide(row)]
    if wide:
        yield f"Medians known no better than to 5 %: {_some(wide)}; more --rounds or a quieter board helps."
    few = [
        f"{name} under {row.backend}"
        for name, row in rows
        if row.kind is None
        and row.sustained is None
        and (row.interval_ms is None or (row.ratio_to_dense and row.ratio_to_dense.verdict == "too few launches"))
    ]
    if few:
        yield f"Too few launches for a verdict among so many ratios: {_some(few)}; measure longer."


def _about_the_paths(rows: list[tuple[str, Row]], board: Record, floats: set[str]) -> Iterator[str]:
    dense = [(name, row) for name, row in rows if row.path["requested"] == "sparse" and row.path["taken"] == "dense"]
    stock = [(name, row) for name, row in dense if row.backend != CSR and name in floats]
    if stock:
        names = list(dict.fromkeys(name for name, _ in stock))
        backends_of: dict[str, list[str]] = {}  # the variants' names -> the backends that ran these dense
        for backend in dict.fromkeys(row.backend for _, row in stock):
            some = _some(list(dict.fromkeys(name for name, row in stock if row.backend == backend)))
            backends_of.setdefault(some, []).append(backend)
        which = "; ".join(f"under {' and '.join(backends)}: {some}" for some, backends in backends_of.items())
        why = f"`edgesparse explain {names[0]}.tflite --board {board['name']}` says why"
        if board.get("machine") == "x86_64" and any(row.backend == "xnnpack" for _, row in stock):
            why = f"XNNPACK's sparse inference is switched off on x86 with AVX; {why}"
        yield f"Stored sparse but run dense {which}; {why}."
    integers = list(dict.fromkeys(name for name, row in dense if row.backend != CSR and name not in floats))
    if integers:
        backends = " and ".join(
            dict.fromkeys(row.backend for name, row in dense if name in integers and row.backend != CSR)
        )
        yield f"Pruned but run dense under {backends}: {_some(integers)}; no stock runtime skips zeros of int8 weights."
    left = list(dict.fromkeys(name for name, row in dense if row.backend == CSR))
    if left:
        yield f"Pruned but left to XNNPACK by csr: {_some(left)}; `edgesparse report --operators` says why."


def _is_wide(row: Row) -> bool:
    if row.interval_ms is None or not row.median_ms:
        return False
    return stats.half_width_share(row.median_ms, row.interval_ms) > WIDE_INTERVAL


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
