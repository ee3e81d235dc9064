"""What the samples of a run say: every variant under every backend, computed from the raw records."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

import msgspec

from edgesparse import stats
from edgesparse.convert.bundle import Variant
from edgesparse.store import Record, RunRecord

WIDE_INTERVAL = 0.05
BUSY_PERCENT = 10.0


class RatioToDense(msgspec.Struct, frozen=True, kw_only=True):
    """Dense over this variant, under the same backend and threads: above 1 this variant is faster."""

    value: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    verdict: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One variant under one backend with one number of threads. Without samples the numbers are None."""

    backend: str
    threads: int
    status: str
    reason: str
    samples_ms: list[float]
    warmup_ms: list[float]
    launches: int
    count: int
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    p90_ms: float | None
    p99_ms: float | None
    ratio_to_dense: RatioToDense | None
    init_ms: float | None
    first_inference_ms: float | None
    path: dict[str, str]
    parity: dict[str, Any] | None
    runtime: dict[str, str] | None


class VariantSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of the bundle and its rows. `dense_bytes` is what the same weights take stored dense."""

    name: str
    pattern: str
    sparsity: float | None
    density: float
    bytes: int
    dense_bytes: int
    accuracy: float | None
    accuracy_samples: int
    backends: list[Row]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its reader wants it. `version` is that of this JSON document."""

    version: int = 1
    run: str
    created: str
    status: str
    reason: str
    board: dict[str, Any]
    bundle: dict[str, Any]
    agent: dict[str, Any]
    conditions: dict[str, Record]
    stopped: dict[str, str] | None
    warnings: list[str]
    variants: list[VariantSummary]


class _Cell:
    """The records of one cell."""

    def __init__(self) -> None:
        self.check: Record | None = None
        self.failed: Record | None = None
        self.launches: list[Record] = []
        self.samples: dict[int, Record] = {}

    def medians_ms(self) -> dict[int, float]:
        """The median latency of each round's launch."""
        return {number: median(record["latency_ns"]) / 1e6 for number, record in self.samples.items()}


def summarise(record: RunRecord) -> Comparison:
    """The comparison of a run, finished or not."""
    records = record.records()
    cells = _by_cell(records)
    spec, manifest = record.spec, record.manifest
    variants = []
    for variant in manifest.variants:
        rows = [
            _row(cells[cell["id"]], cells[f"dense/{cell['backend']}/{cell['threads']}"], cell)
            for cell in spec["cells"]
            if cell["variant"] == variant.name
        ]
        if rows:
            variants.append(_variant(variant, rows))
    last = records[-1] if records else {}
    done = last if last.get("type") == "finished" else {"status": "unfinished", "reason": "the run has not ended yet"}
    started = next((each for each in records if each["type"] == "run"), {})
    conditions = {each["when"]: _plain(each) for each in records if each["type"] == "conditions"}
    stopped = next((_plain(each) for each in records if each["type"] == "stopped"), None)
    board = {**started.get("board", {}), **record.board}
    return Comparison(
        run=record.id, created=record.about["created"], status=done["status"], reason=done["reason"], board=board,
        bundle=record.about["bundle"], agent=started.get("agent", {}), conditions=conditions, stopped=stopped,
        warnings=_warnings(board, conditions, stopped, done, variants), variants=variants,
    )  # fmt: skip


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
    return cells


def _row(cell: _Cell, dense: _Cell, asked: Record) -> Row:
    check = cell.check or {}
    reason = str(check.get("reason") or "")
    if cell.failed is not None:
        reason = f"{cell.failed['kind']} in round {cell.failed['round'] + 1}: {cell.failed['reason']}"
    elif check.get("status") == "failed":
        reason = f"{check['kind']}: {reason}"
    elif not cell.samples:
        reason = "not measured"
    by_round = cell.medians_ms()
    samples_ms = [ns / 1e6 for record in cell.samples.values() for ns in record["latency_ns"]]
    median_ms = median(samples_ms) if samples_ms else None
    interval_ms = stats.median_interval(list(by_round.values()))
    if median_ms is not None and interval_ms is not None:  # of launches; the median of all samples may lie just outside
        interval_ms = (min(interval_ms[0], median_ms), max(interval_ms[1], median_ms))
    ratio = None
    baseline = dense.medians_ms()
    if cell is not dense and set(baseline) & set(by_round):
        found = stats.compare(baseline, by_round)
        ratio = RatioToDense(
            value=found.value, interval=found.interval, p_value=found.p_value, verdict=found.verdict
        )
    first = cell.launches[0] if cell.launches else {}
    return Row(
        backend=asked["backend"], threads=asked["threads"], status="failed" if reason else "ok", reason=reason,
        samples_ms=samples_ms,
        warmup_ms=[ns / 1e6 for record in cell.samples.values() for ns in record["warmup_ns"]],
        launches=len(by_round), count=len(samples_ms), median_ms=median_ms, interval_ms=interval_ms,
        p90_ms=stats.p90(samples_ms), p99_ms=stats.p99(samples_ms), ratio_to_dense=ratio,
        init_ms=_median_of_launches(cell, "init_ms"),
        first_inference_ms=_median_of_launches(cell, "first_inference_ms"),
        path=check.get("path") or {"requested": "unknown", "taken": "unknown", "evidence": ""},
        parity=check.get("parity"), runtime=first.get("runtime") or check.get("runtime"),
    )  # fmt: skip


def _median_of_launches(cell: _Cell, key: str) -> float | None:
    return median(launch[key] for launch in cell.launches) if cell.launches else None


def _variant(variant: Variant, rows: list[Row]) -> VariantSummary:
    return VariantSummary(
        name=variant.name, pattern=variant.pattern, sparsity=variant.sparsity, density=variant.density,
        bytes=variant.file.bytes, dense_bytes=(variant.twin or variant.file).bytes, accuracy=variant.accuracy,
        accuracy_samples=variant.accuracy_samples, backends=rows,
    )  # fmt: skip


def _warnings(
    board: Record, conditions: dict[str, Record], stopped: Record | None, done: Record, variants: list[VariantSummary]
) -> list[str]:
    rows = [(variant.name, row) for variant in variants for row in variant.backends]
    found = []
    if done["status"] != "finished":
        found.append(f"The run is {done['status']}: {done['reason'] or 'no reason was given'}.")
    if board.get("emulated"):
        found.append("The board is emulated: its times are no latencies.")
    if board.get("virtual"):
        found.append(f"The board is a virtual machine ({board['virtual']}): its neighbours may disturb it.")
    for when, state in conditions.items():
        if (state.get("other_cpu_percent") or 0) > BUSY_PERCENT:
            found.append(
                f"Other processes took {state['other_cpu_percent']:.0f} % of the CPU {when} the run: end them and run again."
            )
        if state.get("throttled"):
            found.append(f"Throttled {when} the run ({', '.join(state['throttled'])}): cool the board and run again.")
    governor = conditions.get("before", {}).get("governor")
    if governor and governor != "performance":
        found.append(
            f"The CPU governor is {governor}: sudo cpupower frequency-set -g performance makes times steadier."
        )
    if stopped and stopped["reason"] == "time limit":
        found.append(f"Stopped by the time limit ({stopped['detail']}): --time-limit gives it more.")
    wide = [f"{name} under {row.backend}" for name, row in rows if _is_wide(row)]
    if wide:
        found.append(f"Wider than 5 %: the interval of {_some(wide)}; more --rounds or a quieter board narrow it.")
    dense = [name for name, row in rows if row.path["requested"] == "sparse" and row.path["taken"] == "dense"]
    if dense:
        found.append(
            f"Stored sparse but run dense: {_some(sorted(set(dense)))}. edgesparse explain FILE --board {board['name']} says why"
            + ("; XNNPACK switches its sparse inference off on x86 with AVX." if board.get("machine") == "x86_64" else ".")
        )
    return found


def _is_wide(row: Row) -> bool:
    if row.interval_ms is None or not row.median_ms:
        return False
    return stats.half_width_share(row.median_ms, row.interval_ms) > WIDE_INTERVAL


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
