"""Run directories as a board fills them: four variants under two backends, with samples from a generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.agent.order import launch_order
from edgesparse.convert.bundle import Bundle, File, Manifest, Variant, read_bundle, write_manifest
from edgesparse.files import sha256_of
from edgesparse.store import AGAIN, RunRecord, create_run, new_run_id

Record = dict[str, Any]

# name, pattern, sparsity, bytes, accuracy, speed-up under XNNPACK
VARIANTS = (
    ("dense", "dense", None, 412_340, 0.9886, 1.0),
    ("unstructured-80", "unstructured", 0.8, 148_920, 0.9824, 1.32),
    ("block-4x1-80", "block 4x1", 0.8, 131_072, 0.9841, 2.05),
    ("two-four", "2:4", None, 306_176, 0.9879, 1.0),
)
BACKENDS = ("builtin", "xnnpack")
CONDITIONS: Record = {
    "governor": "performance",
    "frequency_mhz": [2400.0, 2400.0, 2400.0, 2400.0],
    "temperature_c": {"cpu-thermal": 51.2},
    "throttled": [],
    "load_1m": 0.08,
    "other_cpu_percent": 1.4,
    "memory_available_bytes": 6_900_000_000,
}


Variants = tuple[tuple[str, str, float | None, int, float, float], ...]


def make_bundle(directory: Path, variants: Variants = VARIANTS) -> Bundle:
    """A bundle whose files have the right sizes and hold nothing."""
    directory.mkdir(parents=True)

    def file(path: str, size: int) -> File:
        (directory / path).write_bytes(path.encode().ljust(size, b"\0")[:size])
        return File(path=path, sha256=sha256_of(directory / path), bytes=size)

    described = []
    for name, pattern, sparsity, size, accuracy, _ in variants:
        density = 0.5 if pattern == "2:4" else 1 - (sparsity or 0.0)
        described.append(
            Variant(
                name=name,
                file=file(f"{name}.tflite", size),
                golden=file(f"{name}.npz", 64),
                recipe=None,
                twin=None if name == "dense" else file(f"{name}.dense.tflite", 412_340),
                pattern=pattern,
                sparsity=sparsity,
                density=density,
                accuracy=accuracy,
                accuracy_samples=360,
                layers=[],
                host_parity=[],
            )
        )
    manifest = Manifest(
        version=1, name="digits", edgesparse="0.1.0", created="2026-11-22T23:00:00Z", key="k", toolchain={},
        inputs=file("inputs.npz", 64), variants=described,
    )  # fmt: skip
    write_manifest(directory, manifest)
    return read_bundle(directory)


def make_run(
    directory: Path,
    *,
    emulated: bool = False,
    threads: tuple[int, ...] = (1,),
    rounds: int = 6,
    board: str = "kitchen-pi",
    backends: tuple[str, ...] = BACKENDS,
    variants: Variants = VARIANTS,
    bundle: Bundle | None = None,
    counts_instructions: bool = False,
    sustained_s: float = 0.0,
    aa: bool = False,
) -> RunRecord:
    """A new run without records."""
    cells = [
        {"id": f"{variant[0]}/{backend}/{count}", "variant": variant[0], "backend": backend, "threads": count}
        for count in threads
        for backend in backends
        for variant in variants
    ]
    names = dict.fromkeys(cell["variant"] for cell in cells)
    spec = {"cells": cells, "files": {name: {} for name in names}, "sustained_s": sustained_s, "min_rounds": 6,
            "max_rounds": rounds, "time_limit_s": 300.0, "interval_target": 0.02}  # fmt: skip
    about = {"name": board, "type": "raspberrypi5", "transport": "ssh", "host": "10.0.0.5",
             "address": "pi@10.0.0.5:22", "emulated": emulated,
             "counts_instructions": counts_instructions}  # fmt: skip
    made = bundle or make_bundle(directory / f"bundle-{len(list(directory.glob('bundle-*')))}", variants)
    return create_run(new_run_id(board), board=about, bundle=made, spec=spec, owner="me@desk", aa=aa)


def fill(
    run: RunRecord,
    *,
    rounds: int = 6,
    samples: int = 70,
    noise: float = 0.004,
    seed: int = 0,
    parity_fails: str | None = None,
    crashes: tuple[str, int] | None = None,
    cancelled_in: int | None = None,
    before: Record = CONDITIONS,
    after: Record = CONDITIONS,
    virtual: str | None = None,
    powered: bool = False,
    simulated: bool = False,
    sustained_slices: int = 0,
) -> RunRecord:
    """Write the journal of a run.

    Args:
        run: a run without records.
        rounds: launches of every cell.
        samples: timed inferences in a launch.
        noise: standard deviation of launches' medians, as a share of them.
        seed: of all noise.
        parity_fails: the cell that fails its check.
        crashes: the cell that crashes, and in which round.
        cancelled_in: the round in whose middle the run is cancelled.
        before, after: the conditions.
        virtual: the hypervisor's name.
        powered: there is a sensor, and the board was looked at every second; `simulated` is what the sensor says of
            itself.
        sustained_slices: instead of rounds, one launch of so many seconds, which grows slower by a fifth.
    """
    records = _records(
        run, rounds, samples, noise, seed, parity_fails, crashes, cancelled_in, before, after, virtual, sustained_slices
    )
    if powered:
        records = iter(_with_power(list(records), simulated))
    run.append([{"seq": seq, "t_ns": seq * 10**6, **record} for seq, record in enumerate(records, start=1)])
    return run


def _records(
    run: RunRecord, rounds: int, samples: int, noise: float, seed: int, parity_fails: str | None,
    crashes: tuple[str, int] | None, cancelled_in: int | None, before: Record, after: Record, virtual: str | None,
    slices: int,
) -> Iterator[Record]:  # fmt: skip
    rng = np.random.default_rng(seed)
    runtime = {"name": "ai-edge-litert", "version": "2.3.0"}
    facts = {"hostname": "kitchen", "machine": "aarch64", "cpu": "Cortex-A76 (Raspberry Pi 5 Model B Rev 1.0)",
             "cores": 4, "memory_bytes": 8_000_000_000, "kernel": "6.6.31", "python": "3.11.2",
             "virtual": virtual}  # fmt: skip
    yield {"type": "run", "run": run.id, "protocol": 1, "agent": {"version": "0.1.0", "sha256": "a" * 64},
           "board": facts, "wall_time": "2026-11-22T23:15:02Z"}  # fmt: skip
    yield {"type": "conditions", "when": "before", **before}
    working = []
    for cell in run.spec["cells"]:
        ok = cell["id"] != parity_fails
        yield _check(cell, ok, runtime)
        if ok:
            working.append(cell)
    for cell in working if slices else ():
        yield {"type": "launch", "cell": cell["id"], "round": 0, "init_ms": 4.2, "first_inference_ms": 3.1, "pid": 4000,
               "runtime": runtime, "parity": None, "cpus": [0, 1, 2, 3]}  # fmt: skip
        for number in range(slices):
            center_ms = _latency_ms(cell) * (1 + 0.2 * min(1.0, 2 * number / slices)) * rng.lognormal(0, noise)
            latency_ns = (center_ms * (1 + 0.01 * rng.lognormal(-1, 1, samples)) * 1e6).astype(int).tolist()
            yield {"type": "slice", "cell": cell["id"], "latency_ns": latency_ns}
    for number in range(0 if slices else rounds):
        for place, cell in enumerate(launch_order(working, "run", number)):
            if number == cancelled_in and place == 3:
                yield {"type": "stopped", "reason": "cancelled", "detail": ""}
                yield {"type": "finished", "status": "cancelled", "reason": "cancelled"}
                return
            parity = {"ok": True, "max_abs_error": 1.2e-7, "tolerance": 1.1e-4, "reason": "", "samples": 8}
            yield {"type": "launch", "cell": cell["id"], "round": number, "init_ms": float(rng.normal(4.2, 0.1)),
                   "first_inference_ms": float(rng.normal(3.1, 0.1)), "pid": 4000 + number, "runtime": runtime,
                   "parity": parity, "cpus": [0, 1, 2, 3]}  # fmt: skip
            if crashes == (cell["id"], number):
                working.remove(cell)
                yield {"type": "cell_failed", "cell": cell["id"], "round": number, "kind": "crash",
                       "reason": "the worker was killed by signal 11 (SIGSEGV)", "stderr_tail": ""}  # fmt: skip
                continue
            center_ms = _latency_ms(cell) * rng.lognormal(0, noise) * (1 + 0.01 * number / rounds)
            latency_ms = center_ms * (1 + 0.01 * rng.lognormal(-1, 1, samples + 5))
            latency_ns = (latency_ms * 1e6).astype(int).tolist()
            yield {"type": "samples", "cell": cell["id"], "round": number, "warmup_ns": latency_ns[:5],
                   "latency_ns": latency_ns[5:]}  # fmt: skip
    yield {"type": "stopped", "reason": "narrow", "detail": f"every median is known within 0.6% after {rounds} rounds"}
    yield {"type": "conditions", "when": "after", **after}
    yield {"type": "finished", "status": "finished", "reason": ""}


def _check(cell: Record, ok: bool, runtime: Record) -> Record:
    reason = "" if ok else "output 0 is off by 0.31 where 0.00011 is allowed"
    dense = cell["variant"].split(AGAIN)[0] == "dense"
    sparse = cell["backend"] == "xnnpack" and cell["variant"] in ("unstructured-80", "block-4x1-80")
    if dense:
        evidence = "nothing in the file is stored sparse"
    elif sparse:
        evidence = "outputs are 1.2e-07 apart from the dense-stored twin's on 8 inputs"
    else:
        evidence = "outputs are bit-equal to the dense-stored twin's on 8 inputs"
    taken = (
        {"taken": "sparse" if sparse else "dense", "evidence": evidence} if ok else {"taken": "unknown", "evidence": ""}
    )
    parity = {"ok": ok, "max_abs_error": 1.2e-7 if ok else 0.31, "tolerance": 1.1e-4, "reason": reason, "samples": 8}
    delegate = None
    if cell["backend"] == "csr" and ok:
        nodes = [_node(number, not dense and number % 2 == 0) for number in range(6)]
        delegate = {"format": 1, "version": "0.3.0", "isa": "neon", "claim": "auto", "threads": 1, "plan_for": None,
                    "packing_ms": 1.25, "packed_bytes": 123_456, "nodes": nodes}  # fmt: skip
        if not dense:
            taken = {"taken": "sparse", "evidence": "3 of 6 operators: es_f32_bsr_4x1_ukernel_8__neon x3"}
    path = {"requested": "dense" if dense else "sparse", **taken}
    return {"type": "check", "cell": cell["id"], "status": "ok" if ok else "failed", "kind": None if ok else "parity",
            "reason": reason, "parity": parity, "path": path, "runtime": runtime, "cached": False,
            "delegate": delegate}  # fmt: skip


def _node(number: int, claimed: bool) -> Record:
    return {
        "node": number, "op": "CONV_2D", "output": f"net/relu_{number}/Relu6;net/conv_{number}/Conv2D",
        "claimed": claimed, "kernel": "es_f32_bsr_4x1_ukernel_8__neon" if claimed else None,
        "format": "bsr4x1" if claimed else None, "density": 0.2 if claimed else 1.0,
        "sparse_us": 12.0 + number if claimed else None, "dense_us": 33.4 + number,
        "reason": "predicted to be 2.6 times as fast as dense" if claimed else "its weights hold no zeros",
    }  # fmt: skip


def _latency_ms(cell: Record) -> float:
    speed_up = next((each[5] for each in VARIANTS if each[0] == cell["variant"].split(AGAIN)[0]), 1.5)
    single = {"xnnpack": 1.234 / speed_up, "csr": 1.3 / speed_up**1.2}.get(cell["backend"], 3.456)
    return float(single / cell["threads"] ** 0.7)


# Of the sensor that `powered` runs have.
IDLE_W, BUSY_W, READINGS_A_SECOND = 2.0, 5.0, 20


def _with_power(records: list[Record], simulated: bool) -> Iterator[Record]:
    """The same with an idle second before and after, launches of a second each with a pause behind, and the readings of
    one channel meanwhile: IDLE_W while nothing runs, BUSY_W in a launch."""
    channel = {"name": "VDD_IN", "scope": "board-input", "counts": "power", "resolution": 0.001, "wraps_at": None,
               "total": True}  # fmt: skip
    source = {"source": "ina3221", "simulated": simulated, "channels": [channel], "period_s": 1 / READINGS_A_SECOND,
              "update_s": 1 / READINGS_A_SECOND, "rate_seen": True, "cost_s": 0.0001}  # fmt: skip
    busy: list[tuple[int, int]] = []
    clock_ns = 4_000_000_000
    for record in records:
        if record["type"] in ("samples", "slice"):
            window = (clock_ns, clock_ns + 1_000_000_000)
            busy.append(window)
            clock_ns += 1_000_000_000 if record["type"] == "slice" else 1_500_000_000
            inferences = round(1e9 / float(np.median(record["latency_ns"])))
            record |= {"window_ns": list(window), "inferences": inferences}
    end_ns = clock_ns + 4_000_000_000
    stamps = np.arange(1_000_000_000, end_ns, 1_000_000_000 // READINGS_A_SECOND)
    watts = np.full(len(stamps), IDLE_W)
    for begin, end in busy:
        watts[(stamps >= begin) & (stamps <= end)] = BUSY_W
    looks = [
        {"t_ns": int(at), "temperature_c": {"cpu-thermal": 48 + at / 4e9}, "frequency_mhz": [2400.0, 2350.0],
         "throttled": [], "other_cpu_percent": 1.5}
        for at in np.arange(1_000_000_000, end_ns, 1_000_000_000)
    ]  # fmt: skip
    yield records[0]
    yield {"type": "sensors_found", "sources": [source], "energy": True, "reason": ""}
    yield {"type": "idle", "when": "before", "window_ns": [1_500_000_000, 3_500_000_000]}
    yield from records[1:-1]
    yield {"type": "sensors", "source": "ina3221", "t_ns": stamps.tolist(), "values": {"VDD_IN": watts.tolist()},
           "errors": []}  # fmt: skip
    yield {"type": "conditions_during", "readings": looks}
    yield {"type": "idle", "when": "after", "window_ns": [clock_ns + 500_000_000, clock_ns + 2_500_000_000]}
    yield records[-1]
