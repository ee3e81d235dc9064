"""Run directories as a board fills them: four variants under two backends, with samples from a generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgesparse.convert.bundle import Bundle, File, Manifest, Variant, read_bundle, write_manifest
from edgesparse.files import sha256_of
from edgesparse.store import RunRecord, create_run, new_run_id

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


def make_bundle(directory: Path) -> Bundle:
    """A bundle whose files have the right sizes and hold nothing."""
    directory.mkdir(parents=True)

    def file(path: str, size: int) -> File:
        (directory / path).write_bytes(path.encode().ljust(size, b"\0")[:size])
        return File(path=path, sha256=sha256_of(directory / path), bytes=size)

    variants = []
    for name, pattern, sparsity, size, accuracy, _ in VARIANTS:
        density = 0.5 if pattern == "2:4" else 1 - (sparsity or 0.0)
        variants.append(
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
        inputs=file("inputs.npz", 64), variants=variants,
    )  # fmt: skip
    write_manifest(directory, manifest)
    return read_bundle(directory)


def make_run(directory: Path, *, emulated: bool = False, threads: tuple[int, ...] = (1,), rounds: int = 6) -> RunRecord:
    """A new run without records."""
    cells = [
        {"id": f"{variant[0]}/{backend}/{count}", "variant": variant[0], "backend": backend, "threads": count}
        for count in threads
        for backend in BACKENDS
        for variant in VARIANTS
    ]
    spec = {"cells": cells, "min_rounds": 6, "max_rounds": rounds, "time_limit_s": 300.0, "interval_target": 0.02}
    board = {"name": "kitchen-pi", "type": "raspberrypi5", "transport": "ssh", "host": "10.0.0.5",
             "address": "pi@10.0.0.5:22", "emulated": emulated}  # fmt: skip
    bundle = make_bundle(directory / f"bundle-{len(list(directory.glob('bundle-*')))}")
    return create_run(new_run_id("kitchen-pi"), board=board, bundle=bundle, spec=spec, owner="me@desk")


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
    """
    records = _records(run, rounds, samples, noise, seed, parity_fails, crashes, cancelled_in, before, after, virtual)
    run.append([{"seq": seq, "t_ns": seq * 10**6, **record} for seq, record in enumerate(records, start=1)])
    return run


def _records(
    run: RunRecord, rounds: int, samples: int, noise: float, seed: int, parity_fails: str | None,
    crashes: tuple[str, int] | None, cancelled_in: int | None, before: Record, after: Record, virtual: str | None,
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
    for number in range(rounds):
        shift = number % len(working)
        for place, cell in enumerate(working[-shift:] + working[:-shift] if shift else list(working)):
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
    dense = cell["variant"] == "dense"
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
    path = {"requested": "dense" if dense else "sparse", **taken}
    return {"type": "check", "cell": cell["id"], "status": "ok" if ok else "failed", "kind": None if ok else "parity",
            "reason": reason, "parity": parity, "path": path, "runtime": runtime, "cached": False}  # fmt: skip


def _latency_ms(cell: Record) -> float:
    speed_up = next(variant[5] for variant in VARIANTS if variant[0] == cell["variant"])
    single = 1.234 / speed_up if cell["backend"] == "xnnpack" else 3.456
    return float(single / cell["threads"] ** 0.7)
