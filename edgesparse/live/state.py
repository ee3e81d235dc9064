"""What is known of a run while it goes on, from its messages alone. Pure: no terminal, no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from edgesparse import wire
from edgesparse.agent.line import remaining_s
from edgesparse.quantity import Quantity, millions

# Nanoseconds in a millisecond, instructions in a million.
PER_UNIT = 1e6


@dataclass
class CellState:
    """One cell so far. `figures` has a number for each launch by its round: nanoseconds, the median of a launch, or the
    fewest instructions of one."""

    variant: str
    backend: str
    threads: int
    status: Literal["waiting", "checked", "launched", "failed"] = "waiting"
    kind: str = ""
    figures: dict[int, float] = field(default_factory=dict)
    slices: list[float] = field(default_factory=list)

    def figure(self) -> float | None:
        """The median of its launches so far; of its last slices while it runs without a pause."""
        if self.figures:
            return median(self.figures.values())
        return median(self.slices[-5:]) if self.slices else None


class RunState:
    """A run as far as its messages tell.

    Attributes:
        quantity: what the board's clock counts.
        most_rounds: how many there will be at most, where that is known.
        cells: by id, in the order of the run's spec, or of their checks.
        current: the cell that was launched last and has not told its samples yet.
        said: the last event, in a few words.
        left_s: how long the agent said that it takes at most; used where no spec is known.
    """

    def __init__(self) -> None:
        self.quantity: Quantity = "latency"
        self.run = ""
        self.most_rounds: int | None = None
        self.spec: wire.RunSpec | None = None
        self.cells: dict[str, CellState] = {}
        self.current = self.said = ""
        self.round = self.launches = 0
        self.ended = False
        self.waiting = ""
        self.left_s: float | None = None
        self.temperature_c: float | None = None
        self.frequency_mhz: float | None = None
        self.other_cpu_percent: float | None = None
        self.throttled: list[str] = []
        self.power_w: float | None = None
        self.power_simulated = False
        self._main: list[tuple[str, Mapping[str, Any]]] = []
        self._powers: dict[tuple[str, str], float] = {}
        self._began_ns: int | None = None
        self._last_ns = 0
        self._last_s = 0.0

    def plan(self, run: str, spec: Mapping[str, Any]) -> None:
        """What was asked of the board: every cell, and how long it may take."""
        self.run, self.most_rounds = run, spec.get("max_rounds") or self.most_rounds
        for cell in spec["cells"]:
            self.cells.setdefault(cell["id"], CellState(cell["variant"], cell["backend"], cell["threads"]))
        try:
            self.spec = wire.RunSpec.from_message(dict(spec))
        except wire.WireError:  # of another version: it can be followed, but not how long it takes
            self.spec = None

    def take(self, message: wire.Message, now_s: float) -> None:
        """Take one message.

        Args:
            message: a `place`, a `record`, or `planned` of this host.
            now_s: when, on this host's monotonic clock.
        """
        if message["type"] == "planned":
            self.plan(message["run"], message["spec"])
        elif message["type"] == "place":
            self.waiting = waiting(message)
        elif message["type"] == "record":
            record = message["record"]
            self._last_ns, self._last_s = record.get("t_ns", self._last_ns), now_s
            handler = getattr(self, f"_on_{record['type']}", None)
            if handler:
                handler(record)

    @property
    def began(self) -> bool:
        """Whether the board has begun with it."""
        return self._began_ns is not None

    def elapsed_s(self, now_s: float) -> float:
        """Since the board began, by its own clock, and by this host's since its last record."""
        if self._began_ns is None:
            return 0.0
        since_s = 0.0 if self.ended else max(0.0, now_s - self._last_s)
        return (self._last_ns - self._began_ns) / 1e9 + since_s

    def remaining_s(self, now_s: float) -> float | None:
        """How long it takes at most; None where nothing is known of that, or it has ended."""
        if self.ended or self._began_ns is None:
            return None
        if self.spec is not None:
            return remaining_s(self.spec, self.elapsed_s(now_s), self.launches)
        if share := self.share():
            return self.elapsed_s(now_s) * (1 - share) / share
        return None if self.left_s is None else max(0.0, self.left_s - (now_s - self._last_s))

    def share(self) -> float | None:
        """How much of the most launches is done; None where that is not known."""
        working = sum(cell.status != "failed" for cell in self.cells.values())
        if self.spec is not None and self.spec.sustained_s:
            seconds = sum(len(cell.slices) for cell in self.cells.values())
            return min(1.0, seconds / (self.spec.sustained_s * max(1, working)))
        if not self.most_rounds or not working:
            return None
        return min(1.0, self.launches / (working * self.most_rounds))

    def of_dense(self, cell: CellState) -> float | None:
        """Dense's latency over this cell's, the median over rounds; of instructions this cell's over dense's."""
        first = next(iter(self.cells.values()), None)
        if first is None or cell.variant == first.variant:
            return None
        dense = self.cells.get(f"{first.variant}/{cell.backend}/{cell.threads}")
        rounds = sorted(dense.figures.keys() & cell.figures.keys()) if dense else []
        if not rounds or dense is None:
            return None
        ratio = median(dense.figures[number] / cell.figures[number] for number in rounds)
        return 1 / ratio if self.quantity == "instructions" else ratio

    def to_dict(self) -> dict[str, Any]:
        """What was seen of the run, in JSON types; figures in the unit of `measured`, by round."""
        cells = {
            name: {
                "status": cell.status,
                "kind": cell.kind or None,
                "figures": {str(number): figure / PER_UNIT for number, figure in cell.figures.items()}
                if self.quantity != "nothing"
                else {},
                "of_dense": None if self.quantity == "nothing" else self.of_dense(cell),
            }
            for name, cell in self.cells.items()
        }
        return {"version": 1, "run": self.run, "measured": self.quantity, "unit": self.unit, "ended": self.said,
                "cells": cells}  # fmt: skip

    def shown(self, figure: float | None) -> str:
        """A cell's figure in the unit of the quantity, without it; "" where the board has none."""
        if figure is None or self.quantity == "nothing":
            return ""
        return f"{figure / PER_UNIT:.3f}" if self.quantity == "latency" else millions(figure)

    @property
    def unit(self) -> str:
        """Of `shown`."""
        return {"latency": "ms", "instructions": "million instructions", "nothing": ""}[self.quantity]

    # -- records -----------------------------------------------------------------------------------------------------

    def _on_run(self, record: wire.Message) -> None:
        self.run, self._began_ns, self.waiting = record.get("run", self.run), record.get("t_ns"), ""
        self.said = "begun"

    def _on_conditions(self, record: wire.Message) -> None:
        self._look(record)

    def _on_conditions_during(self, record: wire.Message) -> None:
        for reading in record["readings"][-1:]:
            self._look(reading)

    def _look(self, reading: Mapping[str, Any]) -> None:
        heats, clocks = reading.get("temperature_c") or {}, reading.get("frequency_mhz") or []
        self.temperature_c = max(heats.values(), default=None)
        self.frequency_mhz = max(clocks, default=None)
        self.other_cpu_percent = reading.get("other_cpu_percent")
        self.throttled = [flag for flag in reading.get("throttled") or [] if not flag.endswith("since boot")]

    def _on_sensors_found(self, record: wire.Message) -> None:
        from edgesparse.agent.sensors.told import main_channels

        self._main = list(main_channels(record["sources"]))
        names = {name for name, _ in self._main}
        self.power_simulated = any(each["simulated"] for each in record["sources"] if each["source"] in names)

    def _on_sensors(self, record: wire.Message) -> None:
        for source, channel in self._main:
            if source == record["source"]:
                watts = _watts(record["t_ns"], record["values"].get(channel["name"], []), channel["counts"] == "energy")
                if watts is not None:
                    self._powers[source, channel["name"]] = watts
        if self._powers:
            self.power_w = sum(self._powers.values())

    def _on_check(self, record: wire.Message) -> None:
        cell = self._cell(record["cell"])
        if record["status"] == "ok":
            cell.status, self.said = "checked", f"checked {record['cell']}: {record.get('path', {}).get('taken', '')}"
        else:
            cell.status, cell.kind = "failed", record.get("kind") or "failed"
            self.said = f"{record['cell']} fails its check"

    def _on_launch(self, record: wire.Message) -> None:
        self.current, self.round = record["cell"], record["round"]
        self._cell(record["cell"]).status = "launched"

    def _on_samples(self, record: wire.Message) -> None:
        cell, latencies = self._cell(record["cell"]), record["latency_ns"]
        cell.figures[record["round"]] = self.figure_of(latencies)
        cell.status, self.current, self.round = "launched", "", record["round"]
        self.launches += 1
        shown = self.shown(self.figure_of(latencies))
        self.said = f"{record['cell']}  {shown} {self.unit}".rstrip()

    def _on_slice(self, record: wire.Message) -> None:
        cell, self.current = self._cell(record["cell"]), record["cell"]
        cell.status = "launched"
        cell.slices.append(self.figure_of(record["latency_ns"]))
        self.said = f"{record['cell']}  {len(cell.slices)} s  {self.shown(cell.slices[-1])} {self.unit}".rstrip()

    def _on_cell_failed(self, record: wire.Message) -> None:
        cell = self._cell(record["cell"])
        cell.status, cell.kind, self.current = "failed", record["kind"], ""
        self.said = f"{record['cell']} failed in round {record['round'] + 1}"

    def _on_cooled_down(self, record: wire.Message) -> None:
        self.said = f"cooled down for {record['waited_s']:.0f} s"

    def _on_stopped(self, record: wire.Message) -> None:
        self.current, self.said = "", f"stopped: {record['reason']}"

    def _on_finished(self, record: wire.Message) -> None:
        self.ended, self.current = True, ""
        self.said = f"{record['status']}: {record['reason']}" if record["reason"] else str(record["status"])

    def figure_of(self, samples_ns: list[int]) -> float:
        """What stands for a launch: the median latency; of instructions the fewest, which are the inference's own."""
        return float(min(samples_ns)) if self.quantity == "instructions" else median(samples_ns)

    def _cell(self, name: str) -> CellState:
        if name not in self.cells:
            variant, _, rest = name.partition("/")
            backend, _, threads = rest.partition("/")
            self.cells[name] = CellState(variant, backend, int(threads or 1))
        return self.cells[name]


def waiting(message: wire.Message) -> str:
    """What a run waits for, by a `place` message; "" for nothing."""
    if place := message.get("place"):
        runs = "1 run is" if place == 1 else f"{place} runs are"
        return f"{runs} before this one; waiting for {message['wait_s']:.0f} s at most"
    return f"{message['held_by']} measures on this machine; waiting" if message.get("held_by") else ""


def _watts(stamps_ns: list[int], values: list[float | None], counter: bool) -> float | None:
    """The mean over one record's readings: of power, or of what a counter rose by; None where it cannot be told."""
    good = [(stamp, value) for stamp, value in zip(stamps_ns, values, strict=False) if value is not None]
    if not counter:
        return sum(value for _, value in good) / len(good) if good else None
    if len(good) < 2 or good[-1][0] <= good[0][0] or good[-1][1] < good[0][1]:  # it began again meanwhile
        return None
    return (good[-1][1] - good[0][1]) / ((good[-1][0] - good[0][0]) / 1e9)
