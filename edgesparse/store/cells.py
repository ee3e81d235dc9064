"""A row per cell of a run, as its comparison has it: variant, backend and threads, with all that can be said of them.

Comparing takes some hundredths of a second a run, which a question over a thousand of them would wait for. So the rows
of a packed run are kept, with the hash of all that they come from: its files and the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from edgesparse.convert.bundle import MANIFEST
from edgesparse.files import write_whole
from edgesparse.store.paths import RUN, Record, data_dir
from edgesparse.store.record import RunRecord

# The columns and their Arrow types.
CELL_COLUMNS = {
    "run": "string", "created": "timestamp[s]", "board": "string", "board_type": "string", "bundle": "string",
    "variant": "string", "backend": "string", "threads": "int64", "precision": "string", "pattern": "string",
    "sparsity": "double", "density": "double", "bytes": "int64", "accuracy": "double", "status": "string",
    "kind": "string", "reason": "string", "path_requested": "string", "path_taken": "string", "launches": "int64",
    "count": "int64", "median_ms": "double", "low_ms": "double", "high_ms": "double", "p90_ms": "double",
    "p99_ms": "double", "init_ms": "double", "ratio_to_dense": "double", "ratio_low": "double",
    "ratio_high": "double", "p_adjusted": "double", "verdict": "string", "instructions": "double",
    "instructions_of_dense": "double", "energy_mj": "double", "energy_low_mj": "double", "energy_high_mj": "double",
    "power_w": "double",
}  # fmt: skip

# All that a row is computed by.
_CODE = (
    "edgesparse.agent.sensors.told", "edgesparse.energy", "edgesparse.quantity", "edgesparse.report.outliers",
    "edgesparse.report.power", "edgesparse.report.summary", "edgesparse.report.sustained", "edgesparse.stats",
    "edgesparse.store.bulk", "edgesparse.store.cells", "edgesparse.store.packed",
)  # fmt: skip


def cells_of(record: RunRecord) -> list[Record]:
    """The rows of a run, in the order of its comparison. Raises UsageError where it is damaged."""
    if not record.packed:
        return list(_computed(record))
    kept, key = _kept(record.id), _key(record.path)
    try:
        found = json.loads(kept.read_bytes())
        if found["key"] == key:
            return list(found["cells"])
    except (OSError, ValueError, KeyError, TypeError):  # never asked before, or not by this code
        pass
    cells = list(_computed(record))
    with suppress(OSError):  # a full disk makes the next question slower, and this one no worse
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, json.dumps({"key": key, "cells": cells}).encode())
    return cells


def forget_cells(run: str) -> None:
    """Of a run that is removed."""
    _kept(run).unlink(missing_ok=True)


def _computed(record: RunRecord) -> Iterator[Record]:
    """A row per cell of a run's comparison."""
    from edgesparse.report.summary import summarise

    comparison = summarise(record)
    for variant in comparison.variants:
        for row in variant.backends:
            ratio, counted, used = row.ratio_to_dense, row.instructions, row.energy
            low_ms, high_ms = row.interval_ms or (None, None)
            ratio_low, ratio_high = (ratio.interval if ratio else None) or (None, None)
            energy_low_mj, energy_high_mj = used.interval_mj or (None, None)
            yield {
                "run": record.id, "created": comparison.created, "board": record.board.get("name"),
                "board_type": record.board.get("type"), "bundle": comparison.bundle.get("name"),
                "variant": variant.name, "backend": row.backend, "threads": row.threads,
                "precision": variant.precision, "pattern": variant.pattern, "sparsity": variant.sparsity,
                "density": variant.density, "bytes": variant.bytes, "accuracy": variant.accuracy,
                "status": row.status, "kind": row.kind, "reason": row.reason,
                "path_requested": row.path["requested"], "path_taken": row.path["taken"], "launches": row.launches,
                "count": row.count, "median_ms": row.median_ms, "low_ms": low_ms, "high_ms": high_ms,
                "p90_ms": row.p90_ms, "p99_ms": row.p99_ms, "init_ms": row.init_ms,
                "ratio_to_dense": ratio.value if ratio else None, "ratio_low": ratio_low, "ratio_high": ratio_high,
                "p_adjusted": ratio.p_adjusted if ratio else None, "verdict": ratio.verdict if ratio else None,
                "instructions": counted.per_inference if counted else None,
                "instructions_of_dense": counted.of_dense if counted else None, "energy_mj": used.mj,
                "energy_low_mj": energy_low_mj, "energy_high_mj": energy_high_mj, "power_w": used.power_w,
            }  # fmt: skip


def _kept(run: str) -> Path:
    return data_dir() / "cells" / f"{run}.json"


def _key(path: Path) -> str:
    """run.json has the hashes of all files of records."""
    hashed = hashlib.sha256((path / RUN).read_bytes())
    hashed.update((path / MANIFEST).read_bytes())
    hashed.update(_code())
    return hashed.hexdigest()


@lru_cache(maxsize=1)
def _code() -> bytes:
    specs = [find_spec(name) for name in _CODE]
    return b"".join(Path(spec.origin).read_bytes() for spec in specs if spec and spec.origin)
