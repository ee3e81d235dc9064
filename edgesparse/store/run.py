"""A run as its user has it: what was measured, as a comparison, as DataFrames and as figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgesparse.store.record import RunRecord

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from edgesparse.report.summary import Comparison


class Run:
    """A run and what its samples say.

    Args:
        record: the run on disk.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    @classmethod
    def load(cls, run: str | Path) -> Run:
        """A run by its id or directory. Raises UsageError."""
        return cls(RunRecord.load(run))

    @property
    def id(self) -> str:
        """The run's id."""
        return self.record.id

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.record.path

    @property
    def samples(self) -> pd.DataFrame:
        """A row per inference, warm-up included: run, variant, backend, threads, round, phase ("warmup" or "timed"),
        number (from 0 in its launch and phase), latency_ms, instructions. An emulated board has no latency_ms; it has
        instructions in counting mode. Read from the disk each time."""
        from edgesparse.store.frames import samples_frame

        return samples_frame(self.record)

    @property
    def sensors(self) -> pd.DataFrame:
        """A row per reading of a power sensor's channel: run, source, channel, scope, simulated, t_ns (the board's
        monotonic clock), power_w, or energy_j of a source that counts, and error where the reading failed."""
        from edgesparse.store.frames import sensors_frame

        return sensors_frame(self.record)

    @property
    def conditions(self) -> pd.DataFrame:
        """A row per look at the board, before, during and after: run, t_ns (the board's monotonic clock), when,
        temperature_c (the hottest zone), frequency_mhz (the fastest core), throttled (flags), governor,
        other_cpu_percent, memory_available_bytes, memory_pressure_percent, load_1m."""
        from edgesparse.store.frames import conditions_frame

        return conditions_frame(self.record)

    def comparison(self) -> Comparison:
        """Every variant under every backend, with intervals; computed from the raw samples."""
        from edgesparse.report.summary import summarise

        return summarise(self.record)

    def figure(self, name: str) -> alt.TopLevelMixin:
        """One of the report's charts, for a notebook; `edgesparse.report.charts.FIGURES` names them.

        Raises:
            UsageError: there is no such chart; names those that there are.
        """
        from edgesparse.report.charts import figure

        chart: alt.TopLevelMixin = figure([self.comparison()], name)
        return chart
