"""The kernels alone: runs the C microbenchmark and checks what it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgesparse.errors import MeasurementError, UsageError
from kernels.bench.files import BUILD

PROGRAM = BUILD / "host" / "es_bench"
KEYS = ("kernel", "shape", "density", "real_gflops", "dense_equivalent_gflops", "peak_gflops")
DEADLINE_S = 900.0


def run_micro(program: Path = PROGRAM, arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What each kernel reaches on each shape and density, beside the core's measured peak.

    Raises:
        UsageError: it is not built. MeasurementError: it failed, hung, or printed something else.
    """
    if not program.is_file():
        raise UsageError(f"Expected the microbenchmark at {program}, found nothing.", hint="Build it: make -C kernels")
    try:
        done = subprocess.run(
            [str(program), "--json", *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"{program.name} gave no answer within {DEADLINE_S:g} s.") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MeasurementError(f"{program.name} ended with exit code {done.returncode} and said: {said}")
    return parse(done.stdout)


def parse(text: str) -> list[dict[str, Any]]:
    """The program's JSON list.

    Raises:
        MeasurementError: it is none, or an entry lacks a key.
    """
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise MeasurementError(f"Expected JSON of the microbenchmark, found something else: {error}.") from None
    if not isinstance(rows, list):
        raise MeasurementError(f"Expected a JSON list of the microbenchmark, found {type(rows).__name__}.")
    for row in rows:
        missing = [key for key in KEYS if not isinstance(row, dict) or key not in row]
        if missing:
            raise MeasurementError(f"An entry of the microbenchmark lacks {', '.join(missing)}: {row!r:.80}.")
    return rows
