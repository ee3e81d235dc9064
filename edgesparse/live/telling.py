"""A run in lines: what is said of it whether or not there is a terminal, and what only where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgesparse import wire
from edgesparse.live.state import RunState, waiting

# How often a long launch is told of.
_SLICE_LINES_NS = 30_000_000_000


class Telling:
    """Turns messages into lines.

    Args:
        state: has taken each message before.
        every_step: a line for each round and each half minute of a long launch as well.
    """

    def __init__(self, state: RunState, *, every_step: bool) -> None:
        self._state, self._every_step = state, every_step
        self._latest: dict[str, str] = {}
        self._round = 0
        self._slices_since: dict[str, int] = {}

    def lines(self, message: wire.Message) -> Iterator[str]:
        """What to say of it."""
        if message["type"] == "place":
            if text := waiting(message):
                yield text
        elif message["type"] == "record":
            record = message["record"]
            handler: Callable[[wire.Message], Iterator[str]] | None = getattr(self, f"_on_{record['type']}", None)
            if handler:
                yield from handler(record)

    @staticmethod
    def _on_check(record: wire.Message) -> Iterator[str]:
        if record["status"] != "ok":
            yield f"{record['cell']} fails its check and is not timed: {record['reason']}"

    def _on_samples(self, record: wire.Message) -> Iterator[str]:
        if record["round"] != self._round:
            yield from self._end_round()
            self._round = record["round"]
        self._latest[record["cell"]] = self._state.shown(self._state.figure_of(record["latency_ns"]))

    def _on_slice(self, record: wire.Message) -> Iterator[str]:
        begin_ns, end_ns = record["window_ns"]
        since_ns = self._slices_since.setdefault(record["cell"], begin_ns)
        if self._every_step and (end_ns - since_ns) // _SLICE_LINES_NS > (begin_ns - since_ns) // _SLICE_LINES_NS:
            shown = self._state.shown(self._state.figure_of(record["latency_ns"]))
            yield f"{record['cell']}  {(end_ns - since_ns) / 1e9:.0f} s  {shown} {self._state.unit}".rstrip()

    @staticmethod
    def _on_cooled_down(record: wire.Message) -> Iterator[str]:
        if record["waited_s"] >= 1:
            again = "" if record["reached"] else ", and is still warmer than at first"
            yield f"the board cooled down for {record['waited_s']:.0f} s before {record['cell']}{again}"

    @staticmethod
    def _on_sensors_found(record: wire.Message) -> Iterator[str]:
        if names := [source["source"] for source in record["sources"]]:
            yield f"reading power beside the workers: {', '.join(names)}"
        if record["reason"]:
            yield f"no power is read: {record['reason']}" if not names else str(record["reason"])

    @staticmethod
    def _on_tuned(record: wire.Message) -> Iterator[str]:
        before = ", ".join(sorted(set(record["before"].values())))
        yield f"governor {record['governor']} for this run; {before} is put back after it"

    @staticmethod
    def _on_cell_failed(record: wire.Message) -> Iterator[str]:
        yield f"{record['cell']} failed in round {record['round'] + 1} ({record['kind']}): {record['reason']}"

    def _on_stopped(self, record: wire.Message) -> Iterator[str]:
        yield from self._end_round()
        yield f"stopped: {record['reason']}; {record['detail']}" if record["detail"] else f"stopped: {record['reason']}"

    def _end_round(self) -> Iterator[str]:
        if self._every_step and self._latest:
            medians = ", ".join(f"{cell} {value}".rstrip() for cell, value in self._latest.items())
            unit = self._state.unit
            yield f"round {self._round + 1}{', ' * bool(unit)}{unit}: {medians}"
        self._latest = {}
