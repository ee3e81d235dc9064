"""A run's samples, sensors and conditions as pandas DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesparse.quantity import Quantity, quantity_of
from edgesparse.store.bulk import CONDITIONS, SAMPLES, SENSORS, TIMED, WARMUP

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from edgesparse.store.record import RunRecord


def samples_frame(record: RunRecord) -> pd.DataFrame:
    """See `Run.samples`."""
    import pandas as pd

    frame: pd.DataFrame = _frame(record.tables()[SAMPLES])
    measured: Quantity = quantity_of(record.board)
    clock = frame.pop("clock_ns")
    frame["phase"] = frame["phase"].cat.set_categories([WARMUP, TIMED])
    frame["latency_ms"] = clock / 1e6 if measured == "latency" else float("nan")
    uncounted = pd.Series(pd.NA, index=frame.index, dtype="Int64")
    frame["instructions"] = clock.astype("Int64") if measured == "instructions" else uncounted
    return frame.drop(columns="seq")


def sensors_frame(record: RunRecord) -> pd.DataFrame:
    """See `Run.sensors`."""
    frame: pd.DataFrame = _frame(record.tables()[SENSORS])
    value, unit = frame.pop("value"), frame.pop("unit")
    frame.insert(len(frame.columns) - 1, "power_w", value.where(unit == "W"))
    frame.insert(len(frame.columns) - 1, "energy_j", value.where(unit == "J"))
    return frame.drop(columns="seq")


def conditions_frame(record: RunRecord) -> pd.DataFrame:
    """See `Run.conditions`."""
    return _frame(record.tables()[CONDITIONS]).drop(columns=["seq", "reading"])


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(use_threads=False)  # see packed.py
    return frame
