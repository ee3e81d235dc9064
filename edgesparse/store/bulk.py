"""The bulk of a run's records as columns: samples, readings of sensors, conditions. Nothing is lost: what a table takes
out of a record it puts back, value for value and type for type; what it cannot, it leaves in the record.

Each table takes records in order (`take`), which gives a note of what it took or None, and puts the same back with a
`Restorer` given these notes in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgesparse.store.paths import Record

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES, SENSORS, CONDITIONS = "samples", "sensors", "conditions"
WARMUP, TIMED = "warmup", "timed"
# A record's key -> the phase that its samples are of.
_PHASES = {"warmup_ns": WARMUP, "latency_ns": TIMED}
_INT32, _INT64 = 2**31, 2**63

Note = dict[str, Any]


class Rows(Protocol):
    """One table being filled."""

    def take(self, record: Record) -> Note | None:
        """Take the bulk of a record, whose keys named in the note's `keys` are in the table from then on."""

    def table(self) -> pa.Table:
        """What was taken."""


class SampleRows:
    """A row per inference, of `samples` and `slice` records. `clock_ns` is what the board's clock counted: nanoseconds,
    but instructions on an emulated board in counting mode.

    Args:
        run: the run's id, which is in every row.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._blocks: list[tuple[int, tuple[str, str, int], int, int, int]] = []  # seq, cell, round, phase, number
        self._values: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        self._sliced: dict[str, int] = {}

    def take(self, record: Record) -> Note | None:
        if record["type"] not in ("samples", "slice"):
            return None
        cell, number = _cell(record.get("cell")), record.get("round", 0)
        if cell is None or type(number) is not int or not 0 <= number < _INT32:
            return None
        counts = {}
        for key, phase in _PHASES.items():
            values = record.get(key)
            if not isinstance(values, list) or not _whole_numbers(values):
                continue
            first = self._sliced.get(record["cell"], 0) if record["type"] == "slice" else 0
            if record["type"] == "slice":
                self._sliced[record["cell"]] = first + len(values)
            self._blocks.append((record["seq"], cell, number, list(_PHASES.values()).index(phase), first))
            self._values.append(np.array(values, np.int64))
            counts[key] = len(values)
        return {"keys": list(counts), "counts": list(counts.values())} if counts else None

    def table(self) -> pa.Table:
        import pyarrow as pa

        counts = np.array([len(values) for values in self._values], np.int64)
        seq, cells, rounds, phases, firsts = zip(*self._blocks, strict=True) if self._blocks else ((), (), (), (), ())
        before = np.cumsum(counts) - counts
        numbers = np.arange(counts.sum()) - np.repeat(before - np.array(firsts, np.int64), counts)
        variants, backends, threads = zip(*cells, strict=True) if cells else ((), (), ())
        return pa.table(
            {
                "run": _constant(self._run, int(counts.sum())),
                "seq": pa.array(np.repeat(np.array(seq, np.int64), counts)),
                "variant": _repeated(variants, counts),
                "backend": _repeated(backends, counts),
                "threads": pa.array(np.repeat(np.array(threads, np.int32), counts)),
                "round": pa.array(np.repeat(np.array(rounds, np.int32), counts)),
                "phase": _repeated([list(_PHASES.values())[phase] for phase in phases], counts),
                "number": pa.array(numbers.astype(np.int32)),
                "clock_ns": pa.array(np.concatenate([*self._values, np.array([], np.int64)])),
            }
        )


class SensorRows:
    """A row per reading and channel, of `sensors` records. `value` is in `unit`, null where the reading failed.

    Args:
        run: the run's id, which is in every row.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._facts: dict[tuple[str, str], tuple[str, str, bool]] = {}  # source, channel -> scope, unit, simulated
        self._blocks: list[tuple[int, str, str, str, str, bool]] = []
        self._stamps: list[list[int]] = []
        self._values: list[float | None] = []
        self._errors: list[str | None] = []

    def take(self, record: Record) -> Note | None:
        if record["type"] == "sensors_found":
            self._facts.update(_channels(record))
        if record["type"] != "sensors":
            return None
        source, stamps, values = record.get("source"), record.get("t_ns"), record.get("values")
        if not (isinstance(source, str) and isinstance(stamps, list) and isinstance(values, dict) and values):
            return None
        columns = list(values.values())
        if not _whole_numbers(stamps) or not all(_readings(column, len(stamps)) for column in columns):
            return None
        errors = {(stamp, name): _text(reason) for stamp, name, reason in record.get("errors") or ()}
        for channel, column in values.items():
            facts = self._facts.get((source, channel), ("", "", False))
            self._blocks.append((record["seq"], _text(source), _text(channel), *facts))
            self._stamps.append(stamps)
            self._values += column
            self._errors += [
                errors.get((stamp, channel)) if value is None else None
                for stamp, value in zip(stamps, column, strict=True)
            ]
        return {"keys": ["t_ns", "values"], "channels": list(values), "count": len(stamps)}

    def table(self) -> pa.Table:
        import pyarrow as pa

        counts = np.array([len(stamps) for stamps in self._stamps], np.int64)
        columns: Sequence[Sequence[Any]] = list(zip(*self._blocks, strict=True)) if self._blocks else [()] * 6
        seq, sources, channels, scopes, units, simulated = columns
        stamps = [np.array(each, np.int64) for each in self._stamps]
        return pa.table(
            {
                "run": _constant(self._run, int(counts.sum())),
                "seq": pa.array(np.repeat(np.array(seq, np.int64), counts)),
                "source": _repeated(sources, counts),
                "channel": _repeated(channels, counts),
                "scope": _repeated(scopes, counts),
                "unit": _repeated(units, counts),
                "simulated": pa.array(np.repeat(np.array(simulated, bool), counts)),
                "t_ns": pa.array(np.concatenate([*stamps, np.array([], np.int64)])),
                "value": pa.array(self._values, pa.float64()),
                "error": pa.array(self._errors, pa.string()),
            }
        )


class ConditionRows:
    """A row per look at the board: before, after, and second by second between (`when`). `temperature_c` and
    `frequency_mhz` are of the hottest zone and the fastest core; `reading` is the look as JSON.

    Args:
        run: the run's id, which is in every row.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._rows: list[Record] = []

    def take(self, record: Record) -> Note | None:
        if record["type"] == "conditions" and _whole_numbers([record.get("t_ns")]):
            self._rows.append({"seq": record["seq"], "when": _text(str(record.get("when"))), **_looked(record)})
        readings = record.get("readings")
        if record["type"] != "conditions_during" or not isinstance(readings, list) or not readings:
            return None
        if not all(isinstance(each, dict) and _whole_numbers([each.get("t_ns")]) for each in readings):
            return None
        for each in readings:
            self._rows.append({"seq": record["seq"], "when": "during", **_looked(each), "reading": json.dumps(each)})
        return {"keys": ["readings"], "count": len(readings)}

    def table(self) -> pa.Table:
        import pyarrow as pa

        types = {
            "seq": pa.int64(), "t_ns": pa.int64(), "when": pa.string(), "temperature_c": pa.float64(),
            "frequency_mhz": pa.float64(), "throttled": pa.list_(pa.string()), "governor": pa.string(),
            "other_cpu_percent": pa.float64(), "memory_available_bytes": pa.int64(),
            "memory_pressure_percent": pa.float64(), "load_1m": pa.float64(), "reading": pa.string(),
        }  # fmt: skip
        columns = {name: pa.array([row.get(name) for row in self._rows], kind) for name, kind in types.items()}
        return pa.table({"run": _constant(self._run, len(self._rows)), **columns})


class Restorer:
    """Puts back what the tables took.

    Args:
        tables: by name, as `Rows.table` gave them.
    """

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self._clock = _plain(tables[SAMPLES], "clock_ns")
        self._stamps, self._values = _plain(tables[SENSORS], "t_ns"), _plain(tables[SENSORS], "value")
        self._looks = [json.loads(text) for text in tables[CONDITIONS]["reading"].to_pylist() if text is not None]
        self._at = dict.fromkeys((SAMPLES, SENSORS, CONDITIONS), 0)

    def restore(self, table: str, record: Record, note: Note) -> None:
        """Fill in the keys that the note names."""
        if table == SAMPLES:
            for key, count in zip(note["keys"], note["counts"], strict=True):
                record[key] = self._next(self._clock, table, count)
        elif table == SENSORS:
            at, count = self._at[table], note["count"]
            record["t_ns"] = self._stamps[at : at + count]
            record["values"] = {channel: self._next(self._values, table, count) for channel in note["channels"]}
        else:
            record["readings"] = self._next(self._looks, table, note["count"])

    def _next(self, values: list[Any], table: str, count: int) -> list[Any]:
        at = self._at[table]
        self._at[table] = at + count
        return values[at : at + count]


def _plain(table: pa.Table, column: str) -> list[Any]:
    """A column of numbers as Python's own, None for null; numpy does it ten times as fast as pyarrow."""
    found = table[column].combine_chunks()
    values: list[Any] = found.to_numpy(zero_copy_only=False).tolist()
    if found.null_count:
        for place in np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False)):
            values[place] = None
    return values


def _cell(cell: Any) -> tuple[str, str, int] | None:
    """Variant, backend and threads of a cell's id."""
    parts = cell.rsplit("/", 2) if isinstance(cell, str) else []
    if len(parts) != 3 or not parts[2].isdecimal() or int(parts[2]) >= _INT32:
        return None
    return _text(parts[0]), _text(parts[1]), int(parts[2])


def _whole_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and set(map(type, values)) == {int} and min(values) >= -_INT64 and max(values) < _INT64


def _readings(column: Any, count: int) -> bool:
    return isinstance(column, list) and len(column) == count and set(map(type, column)) <= {float, type(None)}


def _channels(record: Record) -> Iterator[tuple[tuple[str, str], tuple[str, str, bool]]]:
    for source in record["sources"]:
        for channel in source["channels"]:
            unit = "J" if channel["counts"] == "energy" else "W"
            yield (source["source"], channel["name"]), (channel["scope"], unit, source["simulated"])


def _looked(look: Record) -> Record:
    """The columns of a look at the board."""
    temperatures, frequencies = look.get("temperature_c") or {}, look.get("frequency_mhz") or []
    return {
        **{key: look.get(key) for key in ("t_ns", "governor", "load_1m", "other_cpu_percent")},
        **{key: look.get(key) for key in ("memory_available_bytes", "memory_pressure_percent")},
        "temperature_c": max(temperatures.values(), default=None),
        "frequency_mhz": max(frequencies, default=None),
        "throttled": [_text(flag) for flag in look.get("throttled") or []],
    }


def _text(text: str) -> str:
    """What a file of UTF-8 can hold: a board's own words may hold bytes that are none, as lone surrogates."""
    return text.encode(errors="replace").decode()


def _constant(value: str, count: int) -> pa.DictionaryArray:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


def _repeated(values: Sequence[str], counts: np.ndarray[Any, np.dtype[np.int64]]) -> pa.DictionaryArray:
    """Each value so many times, as a column of categories."""
    import pyarrow as pa

    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    indices = np.repeat(np.array([places[value] for value in values], np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(list(places), pa.string()))
