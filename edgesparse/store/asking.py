"""Questions in SQL over all runs, answered by DuckDB.

Views: `runs` (a row per run), `samples` (per inference), `sensors` (per reading of a channel), `conditions` (per look
at a board) and `cells` (per variant, backend and threads, as the run's comparison has them). A view that a question
does not name costs nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesparse.errors import UsageError
from edgesparse.store.bulk import CONDITIONS, SAMPLES, SENSORS
from edgesparse.store.catalogue import UNREADABLE, entries
from edgesparse.store.packed import split
from edgesparse.store.paths import Record
from edgesparse.store.record import RunRecord

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

VIEWS = ("runs", SAMPLES, SENSORS, CONDITIONS, "cells")
_OF_RUN = "r.run, r.created, r.board, r.board_type, r.bundle"
_COLUMNS = {
    SAMPLES: """t.variant, t.backend, t.threads, t.round, t.number, t.phase,
        CASE WHEN r.measured = 'latency' THEN t.clock_ns / 1e6 END AS latency_ms,
        CASE WHEN r.measured = 'instructions' THEN t.clock_ns END AS instructions""",
    SENSORS: """t.source, t.channel, t.scope, t.simulated, t.t_ns,
        CASE WHEN t.unit = 'W' THEN t.value END AS power_w,
        CASE WHEN t.unit = 'J' THEN t.value END AS energy_j, t.error""",
    CONDITIONS: """t."when", t.t_ns, t.temperature_c, t.frequency_mhz, t.throttled, t.governor, t.load_1m,
        t.other_cpu_percent, t.memory_available_bytes, t.memory_pressure_percent""",
}
_HINT = f"The views are {', '.join(VIEWS)}; `edgesparse runs sql 'DESCRIBE samples'` lists the columns of one."


@dataclass(frozen=True)
class Answer:
    """The columns and rows that a question gave; values are Python's own."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def to_dicts(self) -> list[Record]:
        """Each row by the names of the columns; of two with one name the second gets a number."""
        names: list[str] = []
        for name in self.columns:
            count = sum(each == name or re.fullmatch(rf"{re.escape(name)}_\d+", each) is not None for each in names)
            names.append(f"{name}_{count}" if name in names else name)
        return [dict(zip(names, map(_plain, row), strict=True)) for row in self.rows]


def ask(sql: str) -> Answer:
    """Answer one question over all runs, those that go on included.

    Args:
        sql: one SELECT, in DuckDB's dialect. DESCRIBE, SUMMARIZE, SHOW and EXPLAIN are questions, too.

    Raises:
        UsageError: it is no question, or cannot be answered; says where.
    """
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET python_enable_replacements = false")
        statements = connection.extract_statements(sql)
        kinds = [statement.type for statement in statements]
        if len(kinds) != 1 or kinds[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise UsageError(
                f"Expected one SELECT, found {' and '.join(kind.name for kind in kinds) or 'nothing'}: "
                "runs can be asked, not changed.",
                hint=_HINT,
            )
        _make_views(connection, _views_in(sql))
        found = connection.execute(statements[0])
        return Answer([column[0] for column in found.description or ()], found.fetchall())
    except duckdb.Error as error:
        raise UsageError(f"The question cannot be answered: {_first_sentence(error)}", hint=_HINT) from None
    finally:
        connection.close()


def _views_in(sql: str) -> list[str]:
    """The views whose rows a question may need."""
    if re.match(r"\s*(describe|desc|show)\b", sql, re.IGNORECASE):
        return []
    return [view for view in VIEWS if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]


def _make_views(connection: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> None:
    """All of them; those that nobody asked for without rows."""
    import pyarrow as pa

    found = entries() if wanted else []
    connection.register("runs", _table([entry.to_dict() for entry in found], _RUNS))
    readable = [entry for entry in found if entry.status != UNREADABLE]
    tables = [name for name in _COLUMNS if name in wanted]
    records = {entry.run: RunRecord.load(entry.run) for entry in readable} if {*tables, "cells"} & {*wanted} else {}
    journals = [record.tables() for record in records.values() if not record.packed] if tables else []
    connection.execute("CREATE SCHEMA behind")  # the views, so that SHOW TABLES lists these alone
    for name, columns in _COLUMNS.items():
        empty = split("", [])[2][name]
        parts = [empty, *(each[name] for each in journals if name in wanted)]
        connection.register("_rows", pa.concat_tables(parts, promote_options="permissive"))
        connection.execute(f"CREATE TABLE behind.{name} AS FROM _rows")
        connection.unregister("_rows")
        files = [record.path / f"{name}.parquet" for record in records.values() if record.packed and name in wanted]
        packed = f"UNION ALL BY NAME FROM read_parquet({_quoted(files)}, union_by_name = true)" if files else ""
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {_OF_RUN}, {columns} "
            f"FROM (FROM behind.{name} {packed}) t JOIN runs r USING (run)"
        )
    rows_of_cells = [row for record in records.values() for row in _cells(record)] if "cells" in wanted else []
    connection.register("cells", _table(rows_of_cells, _CELLS))


_TEXT, _NUMBER, _WHOLE, _TRUTH = "string", "double", "int64", "bool"
_RUNS = {
    "run": _TEXT, "created": "timestamp[s]", "status": _TEXT, "reason": _TEXT, "board": _TEXT, "board_type": _TEXT,
    "transport": _TEXT, "host": _TEXT, "emulated": _TRUTH, "measured": _TEXT, "bundle": _TEXT, "bundle_id": _TEXT,
    "owner": _TEXT, "edgesparse": _TEXT, "runtime": _TEXT, "runtime_version": _TEXT, "aa": _TRUTH,
    "cell_count": _WHOLE, "sample_count": _WHOLE, "form": _TEXT, "where": _TEXT,
}  # fmt: skip
_CELLS = {
    "run": _TEXT, "created": "timestamp[s]", "board": _TEXT, "board_type": _TEXT, "bundle": _TEXT, "variant": _TEXT,
    "backend": _TEXT, "threads": _WHOLE, "precision": _TEXT, "pattern": _TEXT, "sparsity": _NUMBER,
    "density": _NUMBER, "bytes": _WHOLE, "accuracy": _NUMBER, "status": _TEXT, "kind": _TEXT, "reason": _TEXT,
    "path_requested": _TEXT, "path_taken": _TEXT, "launches": _WHOLE, "count": _WHOLE, "median_ms": _NUMBER,
    "low_ms": _NUMBER, "high_ms": _NUMBER, "p90_ms": _NUMBER, "p99_ms": _NUMBER, "init_ms": _NUMBER,
    "ratio_to_dense": _NUMBER, "ratio_low": _NUMBER, "ratio_high": _NUMBER, "p_adjusted": _NUMBER, "verdict": _TEXT,
    "instructions": _NUMBER, "instructions_of_dense": _NUMBER, "energy_mj": _NUMBER, "energy_low_mj": _NUMBER,
    "energy_high_mj": _NUMBER, "power_w": _NUMBER,
}  # fmt: skip


def _cells(record: RunRecord) -> Iterator[Record]:
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


def _table(rows: Sequence[Record], types: dict[str, str]) -> pa.Table:
    import pyarrow as pa

    def values(name: str) -> list[Any]:
        found = [row[name] for row in rows]
        return [_moment(each) for each in found] if name == "created" else found

    return pa.table({name: pa.array(values(name), pa.type_for_alias(kind)) for name, kind in types.items()})


def _moment(created: str | None) -> Any:
    """When a run was made, in UTC and without a zone: DuckDB would need another package for one."""
    from datetime import datetime

    return datetime.fromisoformat(created.replace("Z", "+00:00")).replace(tzinfo=None) if created else None


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _quoted(paths: Sequence[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"


def _first_sentence(error: Exception) -> str:
    """Of DuckDB's words, which go on with the place and candidates; a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
