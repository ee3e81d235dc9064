"""Questions in SQL over all runs, answered by DuckDB.

Views: `runs` (a row per run), `samples` (per inference), `sensors` (per reading of a channel), `conditions` (per look
at a board) and `cells` (per variant, backend and threads, as the run's comparison has them). A view that a question
does not name costs nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesparse.errors import EdgesparseError, UsageError
from edgesparse.store.bulk import CONDITIONS, SAMPLES, SENSORS
from edgesparse.store.catalogue import UNREADABLE, Entry, entries
from edgesparse.store.cells import CELL_COLUMNS, cells_of
from edgesparse.store.packed import split, table_file
from edgesparse.store.paths import Record
from edgesparse.store.place import StoreError, reading
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
    """The columns and rows that a question gave; values are Python's own.

    Attributes:
        left_out: runs whose records could not be read, so that only `runs` has them, and why.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    left_out: dict[str, str] = field(default_factory=dict)

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
        # MULTI: a PIVOT whose columns have to be looked up first.
        allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
        if len(kinds) != 1 or kinds[0] not in allowed:
            raise UsageError(
                f"Expected one SELECT, found {' and '.join(kind.name for kind in kinds) or 'nothing'}: "
                "runs can be asked, not changed.",
                hint=_HINT,
            )
        wanted = _views_in(sql)
        with reading() if wanted else nullcontext():
            left_out = _make_views(connection, wanted)
            found = connection.execute(statements[0])
            return Answer([column[0] for column in found.description or ()], found.fetchall(), left_out)
    except duckdb.Error as error:
        raise UsageError(f"The question cannot be answered: {_first_sentence(error)}", hint=_HINT) from None
    finally:
        connection.close()


def _views_in(sql: str) -> list[str]:
    """The views whose rows a question may need."""
    if re.match(r"\s*(describe|desc|show)\b", sql, re.IGNORECASE):
        return []
    return [view for view in VIEWS if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]


@dataclass(frozen=True)
class _Part:
    """What one run has of the views that a question names: tables while it is a journal, else files."""

    tables: dict[str, pa.Table]
    files: dict[str, Path]
    cells: list[Record]


def _part_of(run: str, wanted: Sequence[str]) -> _Part:
    """Raises UsageError where the run is damaged."""
    record = RunRecord.load(run)
    tables = [name for name in _COLUMNS if name in wanted]
    cells = cells_of(record) if "cells" in wanted else []
    if not tables or record.packed:
        return _Part({}, {name: table_file(record.path, record.about, name) for name in tables}, cells)
    return _Part(record.tables(), {}, cells)


def _parts_of(found: Sequence[Entry], wanted: Sequence[str]) -> tuple[list[_Part], dict[str, str]]:
    """What all runs have, and which are left out for what: damage to one keeps no other from being asked."""
    if not {*_COLUMNS, "cells"} & {*wanted}:
        return [], {}
    parts, left_out = [], {}
    for entry in found:
        if entry.status == UNREADABLE:
            left_out[entry.run] = entry.reason
            continue
        try:
            parts.append(_part_of(entry.run, wanted))
        except StoreError:  # then it is not this run that is at fault
            raise
        except EdgesparseError as error:
            left_out[entry.run] = error.message
        except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:  # records, but not a run's
            left_out[entry.run] = f"{type(error).__name__}: {error}"
    return parts, left_out


def _make_views(connection: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> dict[str, str]:
    """All of them; those that nobody asked for without rows. Returns the runs that are left out, and why."""
    import pyarrow as pa

    found = entries() if wanted else []
    connection.register("runs", _table([entry.to_dict() for entry in found], _RUNS))
    runs, left_out = _parts_of(found, wanted)
    connection.execute("CREATE SCHEMA behind")  # the views, so that SHOW TABLES lists these alone
    for name, columns in _COLUMNS.items():
        empty = split("", [])[2][name]
        parts = [empty, *(run.tables[name] for run in runs if name in wanted and name in run.tables)]
        connection.register("_rows", pa.concat_tables(parts, promote_options="permissive"))
        connection.execute(f"CREATE TABLE behind.{name} AS FROM _rows")
        connection.unregister("_rows")
        files = [run.files[name] for run in runs if name in run.files]
        packed = f"UNION ALL BY NAME FROM read_parquet({_quoted(files)}, union_by_name = true)" if files else ""
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {_OF_RUN}, {columns} "
            f"FROM (FROM behind.{name} {packed}) t JOIN runs r USING (run)"
        )
    connection.register("cells", _table([row for run in runs for row in run.cells], CELL_COLUMNS))
    return left_out


_RUNS = {
    "run": "string", "created": "timestamp[s]", "status": "string", "reason": "string", "board": "string",
    "board_type": "string", "transport": "string", "host": "string", "emulated": "bool", "measured": "string",
    "bundle": "string", "bundle_id": "string", "owner": "string", "edgesparse": "string", "runtime": "string",
    "runtime_version": "string", "aa": "bool", "cell_count": "int64", "sample_count": "int64", "form": "string",
    "where": "string",
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
